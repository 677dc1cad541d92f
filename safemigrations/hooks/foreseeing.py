"""Finds everything that is going to stop a run, before the first step of its first migration."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any, TypeGuard

from django.db import migrations
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations import Migration
from django.db.migrations.operations import SeparateDatabaseAndState
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState

from ..checking.conflicts import conflict, held_later
from ..checking.left_backfills import Filling, filled_too_early, fills_at_once, taken_from_a_backfill
from ..contracts import loaded
from ..contracts.held import Holder, freed_by_all
from ..contracts.on_disk import Key
from ..operations.base import Change, Situation
from ..operations.of_migration import Placed, changes_back, created_by, unwrapped
from ..plans.carried import Carried
from ..plans.column import Column
from ..plans.narrowing import narrowing
from ..plans.steps import Backfill, Proof
from ..plans.steps import Plan as Steps
from ..plans.stock_claims import taken_by
from ..postgres.privileges import is_all_its_own
from ..running.foreseeing.ahead import Ahead
from ..running.own_tables import OF_CONTRACTS, OF_WAYS_BACK
from ..running.run import Run
from ..typed import field_of, field_should_be_altered
from .stock_names import carried_by_stock, fields_of, renamed_by_stock
from .stock_steps import stock_steps
from .triggers_of_stopped_runs import LeftBehind

Planned = Iterable[tuple[Migration, ProjectState]]


class Foreseeing:
    """Asks about migrations in the order in which they will run."""

    def __init__(self, connection: BaseDatabaseWrapper, run: Run) -> None:
        self.connection, self.run = connection, run
        self.asking = loaded().Asking(loaded().Session(connection, run.report))
        self.of_stock = matters_of_stock(connection)
        self.open_ones: list[Holder] = loaded().queue.holders(connection)
        self.coming: list[Holder] = []
        self.left: list[Filling] = loaded().unfinished.backfills(connection)
        self.left_behind = LeftBehind(connection)
        self.half_way: Collection[Key] = ()
        self.first: Placed | None = None  # of the first migration; keeping the states of all would take too much memory

    @property
    def is_anything_left(self) -> bool:
        """By earlier runs: contracts, backfills, or triggers."""
        return bool(self.open_ones or self.left or self.left_behind.triggers)

    @property
    def refusals(self) -> list[str]:
        return list(self.asking.refusals)

    @property
    def ahead(self) -> Ahead:
        ahead: Ahead = self.asking.ahead
        return ahead

    def refuse_to_turn_round(self, half_way: Collection[Key]) -> None:
        """`half_way`: what was taken back in part, and is going to be applied again."""
        self.half_way = half_way
        for refusal in loaded().reversals.refused(self.connection, half_way):
            self.asking.refuse(refusal)

    def forwards(self, planned: Planned) -> None:
        """The states are those before each migration."""
        for migration, state in planned:
            self.run.created.update(created_by(migration, self.run.created))
            self.run.migration = migration
            placed = self._placed(migration, state)
            self.run.fills_at_once = fills_at_once(placed)
            if (migration.app_label, migration.name) in self.half_way:
                self._ask_to_turn_round(placed)
            self._refuse_what_is_held(placed)
            self._refuse_what_backfills_need(placed)
            for operation, at in placed:
                if self._is_ours(operation, at):
                    self._ask(operation, at)
        for refusal in self.left_behind.refusals:
            self.asking.refuse(refusal)

    def _ask_to_turn_round(self, placed: Placed) -> None:
        for operation, at in changes_back(placed, self.run):
            plan = operation.way_back_to_expanded(at)
            self.left_behind.know(plan)
            self.asking.ask(plan)

    def _refuse_what_is_held(self, placed: Placed) -> None:
        holders = [*self.open_ones, *self.coming]
        self.run.freed = freed_by_all(holders)
        if found := conflict(placed, self.run, holders):
            found = replace(found, is_coming=found.holder in self.coming)
            self.asking.refuse(found.explain(self.connection))

    def _refuse_what_backfills_need(self, placed: Placed) -> None:
        for refusal in refused_by_backfills(self.connection, placed, self.run, self.left, self.asking.current.of):
            self.asking.refuse(refusal)

    def _ask(self, operation: Change, at: Situation) -> None:
        later = operation.leaves(at, self.run)
        if later:
            self.coming.append(held_later(operation, at, later))
            self.asking.ask_for_own(*OF_CONTRACTS)
        plan = operation.expand(at) if later else (*operation.expand(at), *operation.contract(at))
        waiting = loaded().unfinished.coming(self.connection, self.run, plan, current=self.asking.current.of)
        self.left_behind.know(plan)
        known = len(self.asking.refusals)
        left = [one.step for one in waiting]
        carries, renames = operation.carries(at), operation.renames(at)
        self.asking.ask(plan, carries=carries, renames=renames, left=left, later=later)
        self._say_who_fills(plan, known)
        self.left += waiting

    def _say_who_fills(self, plan: Steps, known: int) -> None:
        """Of rows that are refused since: who is going to fill them."""
        refusals = self.asking.refusals
        if new := refusals[known:]:
            for filling in [one for one in self.left if one.fills_what_is_in(plan)][:1]:
                said = loaded().unfinished.who_fills(self.connection, filling)
                refusals[known:] = [f"{refusal} {said}" for refusal in new]

    def backwards(self, planned: Planned) -> None:
        self.asking.asks_for_duplicates = True
        for migration, state in planned:
            if not migration.atomic:
                self.asking.ask_for_own(*OF_WAYS_BACK)
            for operation, at in reversed(list(self._placed(migration, state))):
                self.run.migration = migration
                if isinstance(operation, migrations.AlterField) and not isinstance(operation, Change):
                    self.asking.ask(narrowed_again(operation, at))
                if self._is_ours(operation, at, back=True):
                    carries, renames = reversed_carries(operation.carries(at)), operation.renames(at)
                    self.asking.ask(operation.way_back(at), carries=carries, renames=[one.back for one in renames])

    def _placed(self, migration: Migration, state: ProjectState) -> Placed:
        placed = Placed(migration, state, self.connection)
        self.first = self.first or placed
        return placed

    def _is_ours(self, operation: Operation, at: Situation, *, back: bool = False) -> TypeGuard[Change]:
        """Does the operation have plans? What other operations change is remembered."""
        if isinstance(operation, Change):
            return operation.has_plans(at, self.run)
        if _is_unknown(operation):
            self.asking.after_unknown_code = True
            self.asking.ahead.add_migration_of_others(str(at.migration))
        elif not alters_nothing(operation, at):
            self._note_stock(operation, at, back=back)
            if self.of_stock:
                self.asking.ask_for_rights(stock_steps(operation, at, back=back))
        return False

    def _note_stock(self, operation: Operation, at: Situation, *, back: bool) -> None:
        carries, renames = carried_by_stock(operation, at), renamed_by_stock(operation, at)
        if back:
            carries, renames = reversed_carries(carries), tuple(one.back for one in renames)
        claims = tuple(taken_by(operation, at.app_label, at.before))
        self.left_behind.touch(claims)
        self.asking.note_others(claims, carries=carries, renames=renames)


def refused_by_backfills(
    connection: BaseDatabaseWrapper,
    placed: Placed,
    run: Run,
    left: Sequence[Filling],
    current: Callable[[Any], Any] = lambda step: step,
) -> Iterator[str]:
    """What a migration takes from unfinished backfills, and what it fills before their turn.

    `current` gives a step the current names.
    """
    unfinished, migration = loaded().unfinished, placed.migration

    def is_left(step: Backfill) -> bool:
        return bool(unfinished.leaves(connection, run, current(step)))

    if taken := taken_from_a_backfill(placed, run, left):
        yield unfinished.refusal(connection, migration, *taken)
    if early := filled_too_early(placed, run, left, is_left=is_left):
        yield unfinished.out_of_order(connection, migration, *early)


def reversed_carries(carries: Iterable[Carried]) -> tuple[Carried, ...]:
    return tuple(back for one in carries for back in one.back)


def matters_of_stock(connection: BaseDatabaseWrapper) -> bool:
    """May the role lack a right that stock operations need, or must a subscriber know what they add?"""
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT NOT ({is_all_its_own()}) OR EXISTS (SELECT FROM pg_publication)")
        return bool(cursor.fetchone()[0])


def alters_nothing(operation: Operation, at: Situation) -> bool:
    """Does a field change in Python alone?"""
    if not (fields := fields_of(operation, at)):
        return False
    old, new = fields
    return not old.many_to_many and not field_should_be_altered(at.editor, old, new)


def narrowed_again(operation: migrations.AlterField, at: Situation) -> Iterator[Proof]:
    """The steps that ask whether rows fit when Django's own AlterField is taken back."""
    old, new = at.old(operation.model_name), at.new(operation.model_name)
    before, now = field_of(old, operation.name), field_of(new, operation.name)
    if before.column and now.column and operation.allow_migrate_model(at.connection.alias, new):
        yield from narrowing(Column(at.editor, new, now), Column(at.editor, old, before))


def is_unknown(migration: Migration) -> bool:
    """Does the migration run code or SQL of people?"""
    return any(_is_unknown(operation) and not isinstance(operation, Change) for operation in unwrapped(migration))


def _is_unknown(operation: Operation) -> bool:
    return isinstance(operation, UNKNOWN) or not type(operation).__module__.startswith("django.")


UNKNOWN = (migrations.RunPython, migrations.RunSQL, SeparateDatabaseAndState)
