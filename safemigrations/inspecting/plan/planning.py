"""Goes through migrations in the order in which they will be applied, or taken back, and says what each will do."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

from django.db import DatabaseError, migrations
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations import Migration
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState

from ...checking.handwritten import texts_of
from ...checking.scene import Scene
from ...contracts.carrying_out import plans_of
from ...contracts.going import losses
from ...contracts.table import Contract
from ...hooks.executor import MigrationExecutor
from ...hooks.states import states_along
from ...operations.base import Change, Situation
from ...operations.of_migration import created_by, situations
from ...operations.split import is_split
from ...plans.steps import Plan
from ...plans.work import Work
from ...running.at_once import contracts_at_once
from ...running.lost import raise_lost
from ...running.run import Report, Run
from ...running.session import Session
from .asked import Asked
from .facts import MigrationFacts, OperationFacts, PlanFacts, StepFacts
from .of_sql import OfSql
from .of_steps import OfSteps
from .way import in_the_way, is_migrated, lost_on_the_way_back

FRESH = "Nothing is migrated here yet: nobody uses these tables, so nobody waits, and expand and contract run at once."
PYTHON = "Python, not known"
Targets = Sequence[tuple[str, str | None]]


class Planning:
    """A plan for one database; nothing that it asks leaves a trace."""

    def __init__(self, connection: BaseDatabaseWrapper) -> None:
        self.connection, self.run = connection, Run(at_once=contracts_at_once(connection))
        self.asked = Asked(Session(connection, Report()))
        self.of_steps = OfSteps(self.asked)
        self.made = set[str]()  # raw names of the tables that the plan makes

    def migrations(self, targets: Targets) -> PlanFacts:
        """What `migrate` is going to do."""
        executor = MigrationExecutor(self.connection)
        plan = executor.migration_plan(targets)
        if plan and executor.is_fresh():
            return PlanFacts(self.connection.alias, (), notes=(FRESH,))
        back = any(backwards for _, backwards in plan)
        found = [self._of(migration, state, back=back) for migration, state in states_along(executor, plan)]
        return PlanFacts(self.connection.alias, found, refused=executor.refusals(plan))

    def contracts(self, rows: Sequence[Contract]) -> list[MigrationFacts]:
        """What rows of the contract are going to do, each."""
        plans = plans_of(self.connection, rows)
        return [self._of_contract(row, plan) for row, plan in zip(rows, plans, strict=True)]

    def _of_contract(self, row: Contract, plan: Plan) -> MigrationFacts:
        steps = self.of_steps.facts(plan, may_be_done=True)
        return MigrationFacts(
            f"{row.app_label}.{row.migration}",
            "contract",
            [OperationFacts(row.label, steps)],
            goes=[str(loss) for loss in losses(self.connection, [plan])],
            blockers=in_the_way(self.connection, steps),
        )

    # One migration.

    def _of(self, migration: Migration, state: ProjectState, *, back: bool) -> MigrationFacts:
        self.run.migration = migration
        self.run.created.update(created_by(migration, self.run.created))
        one = _OneMigration(self, migration, state, back=back)
        operations = one.operations()
        steps = [step for operation in operations for step in operation.steps]
        return MigrationFacts(
            str(migration),
            "backwards" if back else "forwards",
            operations,
            later=one.later,
            goes=[str(loss) for loss in losses(self.connection, one.contracts)],
            back=one.back,
            no_way_back=one.no_way_back,
            blockers=in_the_way(self.connection, steps),
        )


class _OneMigration:
    """One migration of a plan."""

    def __init__(self, planning: Planning, migration: Migration, state: ProjectState, *, back: bool) -> None:
        self.planning, self.migration, self.is_back = planning, migration, back
        self.state = state
        # Going through the operations gives the models of the state away.
        self.scene = Scene(state.clone(), atomic=migration.atomic)
        self.sql = OfSql(planning.asked, self.scene, planning.made)
        self.later, self.contracts = list[str](), list[Plan]()
        self.back, self.no_way_back = list[str](), list[str]()

    def operations(self) -> list[OperationFacts]:
        """The operations as Django lists them, on the way back also in forward order."""
        rest = iter(list(situations(self.migration, self.state, self.planning.connection)))
        groups = [
            (operation, list(itertools.islice(rest, _parts(operation)))) for operation in self.migration.operations
        ]
        facts: dict[int, OperationFacts] = {}
        for number, (operation, parts) in self._in_order(list(enumerate(groups))):
            facts[number] = self._of_operation(operation, self._in_order(parts))
        self.planning.made |= self.scene.made
        return [facts[number] for number in sorted(facts)]

    def _in_order(self, found: list[Any]) -> list[Any]:
        return found[::-1] if self.is_back else found

    def _of_operation(self, operation: Operation, parts: list[tuple[Operation, Situation]]) -> OperationFacts:
        steps, notes = list[StepFacts](), list[str]()
        for part, at in parts:
            try:
                if is_migrated(part, at):
                    self._note_way_back(part)
                    steps += self._steps(part, at)
            except (DatabaseError, ValueError) as error:
                raise_lost(error)
                notes.append(f"can't be told yet: {str(error).strip().splitlines()[0]}")
        described = operation.describe()
        return OperationFacts(described, steps, "; ".join(dict.fromkeys(notes)))

    def _steps(self, operation: Operation, at: Situation) -> list[StepFacts]:
        run = self.planning.run
        if isinstance(operation, Change) and operation.has_plans(at, run):
            return self._of_ours(operation, at)
        if isinstance(operation, migrations.RunPython):
            is_noop = self._python(operation) in (migrations.RunPython.noop, None)
            return [] if is_noop else [StepFacts(PYTHON, (), {}, Work.UNKNOWN, note=PYTHON)]
        texts = self._texts(operation, at)
        return [facts for text in texts for facts in self.sql.facts(text)]

    def _python(self, operation: migrations.RunPython) -> Any:
        return operation.reverse_code if self.is_back else operation.code

    def _of_ours(self, operation: Change, at: Situation) -> list[StepFacts]:
        of_steps = self.planning.of_steps
        if self.is_back:
            return of_steps.facts(operation.way_back(at))
        later = operation.leaves(at, self.planning.run)
        if later:
            self.later.append(operation.contract_label(at))
            self.contracts.append(later)
        plan = operation.expand(at)
        return of_steps.facts(plan if later else (*plan, *operation.contract(at)), may_be_done=True)

    def _texts(self, operation: Operation, at: Situation) -> Iterator[str]:
        """What Django sends for the operation, one statement each."""
        if isinstance(operation, migrations.RunSQL) and not self.is_back:
            yield from (text for text in texts_of(operation) if text)
            return
        editor: Any = at.editor
        stock: Any = operation.stock if isinstance(operation, Change) else operation
        before = len(editor.collected_sql)
        if self.is_back:
            stock.database_backwards(at.app_label, editor, at.after, at.before)
        else:
            stock.database_forwards(at.app_label, editor, at.before, at.after)
        while editor.deferred_sql:
            editor.execute(editor.deferred_sql.pop(0), None)
        yield from (sql for sql in editor.collected_sql[before:] if not sql.startswith("--"))

    def _note_way_back(self, operation: Operation) -> None:
        if self.is_back:
            return
        if not operation.reversible:
            self.no_way_back.append(operation.describe())
        elif lost := lost_on_the_way_back(operation):
            self.back.append(lost)


def _parts(operation: Operation) -> int:
    """How many operations the database half of it is."""
    if is_split(operation):
        return sum(map(_parts, operation.database_operations))
    return 1
