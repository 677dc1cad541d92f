"""Applies migrations with the protection that plans have.

Stock operations and the migrations of other apps get it, too. Django's executor is replaced by this one when the app is
ready, so whoever drives it (migrate, a test, another package) gets the same.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from django.core.management.commands import migrate
from django.db import transaction
from django.db.migrations import AlterField, Migration, executor
from django.db.migrations.state import ProjectState

from ..checking.conflicts import Conflict, conflict
from ..checking.left_backfills import fills_at_once
from ..contracts import loaded
from ..contracts.held import freed_by_all
from ..errors import StepFailed
from ..operations.base import Change
from ..operations.of_migration import (
    Placed,
    changes_back,
    created_by,
    models_touched,
    steps_back_of,
    steps_of,
    stock_tables,
    tables_locked_by,
    unwrapped,
)
from ..running.at_once import contracts_at_once
from ..running.foreseeing.foreseen import refuse_foreseen
from ..running.locking.guard import Guard
from ..running.locking.watchdog import watching
from ..running.of_tenant import refuse_public_tables
from ..running.one_at_a_time import look
from ..running.run import Run, current_run, running
from ..typed import applied_state, migrate_all_backwards, set_on
from . import around, freshness, squashed_away
from .foreseeing import Foreseeing, is_unknown, refused_by_backfills
from .kept_triggers import counted_on, lost, put_triggers_back, refuse_lost
from .states import (
    Plan,
    States,
    name_before,
    reaches_others,
    rendered_before,
    state_without,
    states_after,
    states_before,
    with_later_ones,
)


class MigrationExecutor(executor.MigrationExecutor):
    """Django's executor with a run around it.

    It knows fresh databases, protects locks, and refuses what open contracts still hold.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.half_way: set[tuple[str, str]] = set()  # what was taken back in part, and is applied again
        self.before: States = {}  # on the way back: the states that were asked about
        self.first: Placed | None = None  # the first migration that was asked about

    def migrate(
        self,
        targets: Sequence[tuple[str, str | None]] | None,
        plan: Sequence[tuple[Migration, bool]] | None = None,
        state: ProjectState | None = None,
        fake: bool = False,
        fake_initial: bool = False,
    ) -> ProjectState:
        if self.connection.vendor != "postgresql":
            return super().migrate(targets, plan, state, fake, fake_initial)
        run = current_run()
        run.fresh = self.is_fresh() and plan != []
        run.at_once = run.at_once or contracts_at_once(self.connection)
        with running(run):
            if run.fresh:
                self.recorder.ensure_schema()
                freshness.mark_unfinished(self.connection)
            elif not fake:
                plan = self._keep_what_contracts_count_on(targets, plan, run)
            with (
                around.in_one_ledger(self.connection, run),
                around.saying_what_was_changed(run),
                around.suggesting_verify(self.connection),
            ):
                if not (run.fresh or fake or fake_initial):
                    plan = self.migration_plan(targets) if plan is None else plan
                    if state is None and plan and not plan[0][1]:
                        state = applied_state(self)  # as Django does; what is foreseen goes on from it
                    self._before_the_first(plan, run, state)
                state = super().migrate(targets, plan, state, fake, fake_initial)
            run.state = state
            if run.fresh:
                freshness.mark_finished(self.connection)
        return state

    def _keep_what_contracts_count_on(self, targets: Any, plan: Plan | None, run: Run) -> Plan | None:
        """Put back the triggers on which open contracts count. Refuse if somebody dropped their columns; a way back
        doesn't need them.
        """
        found = counted_on(self.connection, self.loader)
        if gone := lost(self.connection, found):
            plan = self.migration_plan(targets) if plan is None else plan
            if not _is_back(plan) and (refusals := list(refuse_lost(gone))):
                raise StepFailed("\n".join(refusals))
            run.remarks += [one.text for one in gone if not one.stops]
        put_triggers_back(self.connection, found, run.report)
        return plan

    def _before_the_first(self, plan: Plan, run: Run, state: ProjectState | None) -> None:
        if run.contract == "immediately" and not _is_back(plan):
            loaded().finish_open(self.connection, run.report)
        self._refuse_foreseen(plan, state)

    def _refuse_foreseen(self, plan: Plan, state: ProjectState | None) -> None:
        if not plan:
            return
        if refusals := self._squashed_away(plan):
            raise StepFailed("\n".join(refusals))
        foreseeing = self.foresee(plan, state)
        self.first = foreseeing.first
        current_run().before(foreseeing.ahead)
        if foreseeing.refusals:
            raise StepFailed("\n".join(foreseeing.refusals))

    def refusals(self, plan: Plan) -> list[str]:
        """What is going to stop the plan, as far as that can be found before its first step."""
        gone = [] if _is_back(plan) else lost(self.connection, counted_on(self.connection, self.loader))
        return [*refuse_lost(gone), *self._squashed_away(plan), *self.foresee(plan).refusals]

    def _squashed_away(self, plan: Plan) -> list[str]:
        return list(squashed_away.refusals(self.connection, [migration for migration, back in plan if back]))

    def foresee(self, plan: Plan, state: ProjectState | None = None) -> Foreseeing:
        """Foresee what stops the plan. Rendering its states takes as long as applying it, so that is done only where
        something has to be asked.

        `state` is the one that the database has, where it is known.
        """
        at_once = current_run().at_once or contracts_at_once(self.connection)
        foreseeing = Foreseeing(self.connection, Run(at_once=at_once))
        foreseeing.ahead.applies += [migration for migration, back in plan if not back]
        has_plans = any(isinstance(one, Change | AlterField) for migration, _ in plan for one in unwrapped(migration))
        if not (has_plans or self.half_way or (plan and (foreseeing.of_stock or foreseeing.is_anything_left))):
            foreseeing.ahead.of_others += [str(migration) for migration, _ in plan if is_unknown(migration)]
        elif _is_back(plan):
            self.before = rendered_before(self, plan)
            foreseeing.backwards(states_before(self, plan, self.before))
        else:
            foreseeing.refuse_to_turn_round(self.half_way)
            foreseeing.forwards(states_after(plan, state or applied_state(self)))
        return foreseeing

    def _migrate_all_backwards(self, plan: Plan, full_plan: Plan, fake: bool) -> ProjectState:
        """Django's method with the states that are there already: rendering them takes longer than unapplying."""
        before, self.before = self.before, {}
        if before.keys() != {migration for migration, _ in plan}:
            return migrate_all_backwards(super(), plan, full_plan, fake)
        for migration, _ in plan:
            self.unapply_migration(before[migration], migration, fake=fake)
        return state_without(self, plan, full_plan, before)

    def migration_plan(self, targets: Any, clean_start: bool = False) -> Any:
        """Django's; on the way forwards also with what was taken back half way, which isn't applied any more."""
        plan = super().migration_plan(targets, clean_start)
        applied = self.loader.applied_migrations
        if clean_start or not applied or _is_back(plan):
            return plan
        if half_way := loaded().reversals.keys(self.connection):
            self.half_way |= half_way
            self.loader.applied_migrations = {key: applied[key] for key in applied if key not in half_way}
            plan = super().migration_plan(targets, clean_start)
        return plan

    def is_fresh(self) -> bool:
        """Was nothing migrated when this run began? Then there is no old release."""
        if not self.loader.applied_migrations and not self.half_way:
            return True
        return freshness.is_unfinished(self.connection)

    def apply_migration(
        self, state: ProjectState, migration: Migration, fake: bool = False, fake_initial: bool = False
    ) -> ProjectState:
        with around.told(self.connection, migration, "forwards", fake=fake):
            return self._apply(state, migration, fake, fake_initial)

    def _apply(self, state: ProjectState, migration: Migration, fake: bool, fake_initial: bool) -> ProjectState:
        apply = super().apply_migration
        if self.connection.vendor != "postgresql":
            return apply(state, migration, fake, fake_initial)
        if fake:
            around.note_faked(self.connection, migration)
            return apply(state, migration, fake, fake_initial)
        run = current_run()
        look(self.connection)
        run.migration = migration
        if fake_initial and self.detect_soft_applied(state, migration)[0]:
            self._end_of_freshness(run)
            around.note_faked(self.connection, migration)
            return apply(state, migration, fake, fake_initial)
        if (migration.app_label, migration.name) in self.half_way:
            self._turn_round(migration, state, run)
        run.created.update(created_by(migration, run.created))
        with (
            running(run),
            around.in_one_transaction_if_possible(migration, run),
            around.in_the_ledger(self.connection, migration),
        ):
            if run.fresh:
                return apply(state, migration, fake, fake_initial)
            run.touched |= models_touched(migration, state)
            refuse_public_tables(self.connection, str(migration), stock_tables(migration, state, self.connection))
            self._refuse_what_is_in_the_way(migration, state, run)
            state = self._guarded(migration, state, lambda state: apply(state, migration, fake, fake_initial))
        self._record_backfills(migration)
        run.changed |= bool(migration.operations)
        return state

    def _turn_round(self, migration: Migration, state: ProjectState, run: Run) -> None:
        reversals = loaded().reversals
        reversals.remove_what_it_made(self.connection, migration, run.report)
        back = list(changes_back(Placed(migration, state, self.connection), run))
        for number, (operation, at) in enumerate(back, start=1):
            if operation.is_index_of(at, back[number:]):
                operation.take_back(at, run)
            else:
                operation.take_back_to_expanded(at, run)
        reversals.turn_round(self.connection, migration)

    def unapply_migration(self, state: ProjectState, migration: Migration, fake: bool = False) -> ProjectState:
        with around.told(self.connection, migration, "backwards", fake=fake):
            return self._unapply(state, migration, fake)

    def _unapply(self, state: ProjectState, migration: Migration, fake: bool) -> ProjectState:
        unapply = super().unapply_migration
        if self.connection.vendor != "postgresql":
            return unapply(state, migration, fake)
        if fake:
            around.note_faked(self.connection, migration, "backwards")
            return unapply(state, migration, fake)
        run = current_run()
        look(self.connection)
        run.migration = migration
        if reaches_others(migration):
            state = with_later_ones(self, state, migration, self.recorder.applied_migrations().keys())

        def together(state: ProjectState) -> ProjectState:
            # Django records it only after its transaction. Nothing could fix a crash between the two.
            alias = self.connection.alias
            with transaction.atomic(using=alias) if migration.atomic else contextlib.nullcontext():
                return unapply(state, migration, fake)

        run.touched |= models_touched(migration, state)
        refuse_foreseen(self.connection, steps_back_of(self._placed(migration, state), run))
        with running(run), self._remembered(migration), around.in_the_ledger(self.connection, migration, "backwards"):
            state = self._guarded(migration, state, together)
        self._record_backfills(migration)
        run.changed |= bool(migration.operations)
        return state

    @contextlib.contextmanager
    def _remembered(self, migration: Migration) -> Iterator[None]:
        """Remember a way back that takes several transactions until it has ended."""
        if migration.atomic:
            yield
            return
        reversals = loaded().reversals
        reversals.begin(self.connection, migration, back_to=name_before(self.loader, migration))
        run = current_run()
        run.taken_back = []
        try:
            yield
            for act in run.taken_back:
                act()
        finally:
            run.taken_back = None
        reversals.end(self.connection, migration)

    def _end_of_freshness(self, run: Run) -> None:
        """A migrate that finds its tables already there may have to spare a release that uses them."""
        if run.fresh:
            run.fresh = False
            freshness.mark_finished(self.connection)

    def _refuse_what_is_in_the_way(self, migration: Migration, state: ProjectState, run: Run) -> None:
        """Refuse the migration if what it changes is held by a contract, needed by a backfill, or foreseen to fail."""
        placed = self._placed(migration, state)
        found = self._conflict(placed, run)
        if found:
            raise StepFailed(found.explain(self.connection))
        self._leave_to_backfills(placed, run)
        refuse_foreseen(self.connection, steps_of(placed, run))

    def _placed(self, migration: Migration, state: ProjectState) -> Placed:
        """The situations that were computed before the run, if nothing has been run since."""
        first, self.first = self.first, None
        is_known = first and first.migration is migration and first.state is state
        return first if first and is_known else Placed(migration, state, self.connection)

    def _leave_to_backfills(self, placed: Placed, run: Run) -> None:
        """Refuse what takes from a backfill that isn't finished what it needs, or what comes before its turn."""
        run.fills_at_once = fills_at_once(placed)
        left = loaded().unfinished.backfills(self.connection)
        for refusal in refused_by_backfills(self.connection, placed, run, left):
            raise StepFailed(refusal)

    def _conflict(self, placed: Placed, run: Run) -> Conflict | None:
        holders = loaded().queue.holders(self.connection)
        run.freed = freed_by_all(holders)
        return conflict(placed, run, holders)

    def _guarded(
        self, migration: Migration, state: ProjectState, act: Callable[[ProjectState], ProjectState]
    ) -> ProjectState:
        """Call `act` under short lock timeouts; an atomic migration that lost a lock is done again as a whole."""
        run = current_run()
        guard = Guard(self.connection, str(migration), run.report, tables_locked_by(migration, state))
        with self._saying_once_that_it_starts(), watching(self.connection, str(migration), around.max_wait(migration)):
            # An attempt changes the state that it is given.
            return guard.run(lambda: act(state.clone()), atomic=migration.atomic)

    @contextlib.contextmanager
    def _saying_once_that_it_starts(self) -> Iterator[None]:
        tell, said = self.progress_callback, set[str]()

        def tell_once(action: str, *args: Any) -> None:
            if tell and not (action.endswith("_start") and action in said):
                said.add(action)
                tell(action, *args)

        self.progress_callback = tell_once
        try:
            yield
        finally:
            self.progress_callback = tell

    def _record_backfills(self, migration: Migration) -> None:
        if any(isinstance(operation, Change) for operation in migration.operations):
            loaded().backfills.record(self.connection, migration.app_label, migration.name)


def _is_back(plan: Plan) -> bool:
    return any(back for _, back in plan)


def install() -> None:
    """Put our executor in the place of Django's."""
    set_on(executor, MigrationExecutor=MigrationExecutor)
    set_on(migrate, MigrationExecutor=MigrationExecutor)
