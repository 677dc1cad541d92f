"""What all changes share: when each half runs, where the contract waits, and how a change is taken back.

An operation is a stock operation (its state half, which it also is by inheritance, so that the optimizer and
other tools know it for what it is) and two plans. Subclasses say which; nothing here knows any change.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from inspect import signature
from typing import Any, ClassVar

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations import Migration
from django.db.migrations.operations import RenameModel, SeparateDatabaseAndState
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState
from django.db.models import Model

from ..contracts import loaded
from ..contracts.held import freed_by
from ..data import Data
from ..errors import NeedsAutocommit
from ..plans.carried import Carried, Renamed
from ..plans.claims import Claim, Claims, Kind
from ..plans.indexes import BuildIndex
from ..plans.steps import Backfill, Plan, Proof, Statement, Step, reverse
from ..plans.triggers import Kept
from ..postgres.names import Name
from ..running.at_once import contracts_at_once
from ..running.preview import lines_of, preview
from ..running.run import Report, Run, current_run
from ..running.session import Session
from ..typed import only_plans
from . import without_app

BUILDS, FILLS = "builds an index concurrently", "fills rows in batches"


class Situation(Data):
    """Where an operation stands: the states around it, and the builder of SQL."""

    app_label: str
    editor: BaseDatabaseSchemaEditor
    before: ProjectState
    after: ProjectState
    migration: Migration | None = None  # whose operation is planned; None outside of a run, as for sqlmigrate
    freed: Collection[Claim] = ()  # what open contracts are going to remove

    @property
    def connection(self) -> BaseDatabaseWrapper:
        return self.editor.connection

    @property
    def migration_name(self) -> str:
        return self.migration.name if self.migration else ""

    @property
    def replaced(self) -> list[str]:
        """The names of the migrations that were squashed into its migration."""
        return [name for _, name in self.migration.replaces] if self.migration else []

    def old(self, model_name: str) -> type[Model]:
        return self.before.apps.get_model(self.app_label, model_name)

    def new(self, model_name: str) -> type[Model]:
        return self.after.apps.get_model(self.app_label, model_name)


class Change(SeparateDatabaseAndState):
    """A stock operation whose database half is an expand plan for now and a contract plan for later."""

    # On a table that no release uses yet the stock operation does the same in less time.
    stock_when_alone: bool = True
    # Does it alter tables of any app that points at its own?
    reaches_others: ClassVar[bool] = False
    # What it does that takes too long for a transaction, for the comment on `atomic = False`.
    takes_time: ClassVar[str] = ""
    model_name: str

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        # Migration files are for ever: they know the package, not the module that it is divided into.
        if cls.__module__.startswith("safemigrations.operations."):
            cls.__module__ = "safemigrations.operations"

    def wrap(self, stock: Operation) -> None:
        """Give the operation its state half; each __init__ calls this last."""
        super().__init__(state_operations=[stock])

    @property
    def stock(self) -> Operation:
        (operation,) = self.state_operations
        return operation

    def deconstruct(self) -> tuple[str, Sequence[Any], dict[str, Any]]:
        """Each argument of __init__ is the attribute of the same name; an argument with its default isn't written."""
        (_, *arguments) = signature(type(self).__init__).parameters.values()
        values = {argument.name: (getattr(self, argument.name), argument.default) for argument in arguments}
        given = {name: value for name, (value, default) in values.items() if value != default}
        return type(self).__name__, [], given

    # Methods of subclasses.

    @property
    def identity(self) -> str:
        """A text that distinguishes the operation from the others of its migration, also after squashing."""
        raise NotImplementedError

    def contract_label(self, at: Situation) -> str:
        """What is left for the contract, in words."""
        raise NotImplementedError

    def expand(self, at: Situation) -> Plan:
        return ()

    def contract(self, at: Situation) -> Plan:
        return ()

    def kept(self, at: Situation) -> tuple[Kept, ...]:
        """The triggers that must exist from the expand to the contract."""
        return ()

    def carries(self, at: Situation) -> tuple[Carried, ...]:
        """The columns whose values the change computes from other columns."""
        return ()

    def renames(self, at: Situation) -> tuple[Renamed, ...]:
        """The tables that get another name."""
        return ()

    def reworks(self, at: Situation) -> Claims:
        """Claims that the change alters in a way which an open contract of an earlier migration would undo."""
        return ()

    def key_before(self, app_label: str) -> tuple[str, str]:
        """The app and the name of the model whose table it changes, before the change."""
        return app_label, self.model_name

    def migrated_model(self, at: Situation) -> type[Model]:
        """The model that routers are asked about."""
        return at.old(self.model_name)

    # Both directions.

    def database_forwards(
        self,
        app_label: str,
        schema_editor: BaseDatabaseSchemaEditor,
        from_state: ProjectState,
        to_state: ProjectState,
    ) -> None:
        run = current_run()
        at = Situation(app_label, schema_editor, from_state, to_state, run.migration, run.freed)
        if at.connection.vendor != "postgresql" or (self._is_alone(at, run) and self.stock_when_alone):
            self.stock.database_forwards(app_label, schema_editor, from_state, to_state)
        elif not self.is_migrated_here(at):
            return
        elif not without_app.is_installed():
            self._refuse_rows(at, at.before)
            self.stock.database_forwards(app_label, schema_editor, from_state, to_state)
        elif schema_editor.collect_sql:
            self._print(at, self.expand(at), self.contract(at))
        else:
            self._expand(at, run)

    def database_backwards(
        self,
        app_label: str,
        schema_editor: BaseDatabaseSchemaEditor,
        from_state: ProjectState,
        to_state: ProjectState,
    ) -> None:
        run = current_run()
        at = Situation(app_label, schema_editor, before=to_state, after=from_state, migration=run.migration)
        if at.connection.vendor != "postgresql":
            self.stock.database_backwards(app_label, schema_editor, from_state, to_state)
        elif not self.is_migrated_here(at):
            return
        elif not without_app.is_installed():
            self._refuse_rows(at, at.after)
            self.stock.database_backwards(app_label, schema_editor, from_state, to_state)
        elif schema_editor.collect_sql:
            self._print(at, reverse(self.contract(at)) + reverse(self.expand(at)), ())
        else:
            self.take_back(at, run)

    def _refuse_rows(self, at: Situation, state: ProjectState) -> None:
        """Refuse to run without the app on a table with rows; `state` is that of the database now."""
        there = [name for name in self._model_names if (at.app_label, name.lower()) in state.models]
        if there and not at.editor.collect_sql:
            without_app.refuse_rows(type(self).__name__, state.apps.get_model(at.app_label, there[0]), at.connection)

    @property
    def _model_names(self) -> tuple[str, ...]:
        """The names of the model before and after."""
        return (self.model_name, self.new_name) if isinstance(self, RenameModel) else (self.model_name,)

    def has_plans(self, at: Situation, run: Run) -> bool:
        """Does this run carry out the plans, rather than the stock operation or nothing?"""
        alone = self.is_alone(at.app_label, run) and self.stock_when_alone
        return not alone and self.is_migrated_here(at)

    def takes(self, at: Situation) -> Iterator[Claim]:
        """The claims that the expand takes, and the twins that it would change on one side only."""
        for step in self.expand(at):
            yield from step.takes
            if step.altered_column and not isinstance(step, Proof):
                yield step.altered_column.twin

    def leaves(self, at: Situation, run: Run) -> Plan:
        """The contract plan that this run would leave."""
        at_once = run.contract == "immediately" or self.is_alone(at.app_label, run)
        at_once = at_once or contracts_at_once(at.connection)  # Django's executor knows no run
        return () if at_once or not self.is_migrated_here(at) else self.contract(at)

    def is_migrated_here(self, at: Situation) -> bool:
        """May the model be migrated in this database?

        Yes while the checks only plan: nothing is connected, and a router may need to know the schema.
        """
        return only_plans(at.connection) or self.allow_migrate_model(at.connection.alias, self.migrated_model(at))

    def _is_alone(self, at: Situation, run: Run) -> bool:
        return not at.editor.collect_sql and self.is_alone(at.app_label, run)

    def is_alone(self, app_label: str, run: Run) -> bool:
        """Is it certain that no other release knows what it changes?"""
        return run.is_alone(*self.key_before(app_label))

    def _expand(self, at: Situation, run: Run) -> None:
        plan, later = self.expand(at), self.leaves(at, run)
        plan += () if later else self.contract(at)
        self._refuse_inside_transaction(at, plan)
        _send_deferred(at.editor)
        loaded().Runner(at.connection, run.report, at.after.apps).run(plan)
        if later:
            loaded().queue.put(at.connection, **self._row(at), label=self.contract_label(at), plan=later)
            run.freed.update(freed_by(later))

    def take_back(self, at: Situation, run: Run) -> None:
        plan = self.way_back(at)
        self._refuse_inside_transaction(at, plan)
        _send_deferred(at.editor)
        filled = [step for step in (*self.expand(at), *self.contract(at)) if isinstance(step, Backfill)]
        for step in filled:
            loaded().backfills.begin_to_take_back(at.connection, step, replaces=at.replaced)
        self.take_back_to_expanded(at, run)
        loaded().Runner(at.connection, run.report, at.after.apps).run(reverse(self.expand(at)))
        run.at_the_end_of_the_way_back(lambda: self._forget(at, filled))
        self._left(at).delete()

    def _forget(self, at: Situation, filled: Sequence[Backfill]) -> None:
        """Not before all of the migration is taken back: whoever turns round must not fill the rows again."""
        for step in filled:
            loaded().backfills.forget(at.connection, step, replaces=at.replaced)

    def way_back(self, at: Situation) -> Plan:
        """The plan of the way back, whether the contract waits, is done in part, or ran without waiting."""
        return (*self.way_back_to_expanded(at), *reverse(self.expand(at)))

    def way_back_to_expanded(self, at: Situation) -> Plan:
        """The part of it that takes back what the contract has done."""
        known = loaded().reversals.expanded(at.connection, at.app_label, at.migration_name)
        is_expanded = self.identity in known or self._left(at).filter(attempts=0).exists()
        return () if is_expanded else reverse(self.contract(at))

    def take_back_to_expanded(self, at: Situation, run: Run) -> None:
        """The second half would lose what the contract left, or collide with it, if it was done without the first."""
        if plan := self.way_back_to_expanded(at):
            reversals, of = loaded().reversals, (at.connection, at.app_label, at.migration_name)
            reversals.begin_to_expand(*of)
            loaded().Runner(at.connection, run.report, at.after.apps).run(plan)
            reversals.note_expanded(*of, self.identity)

    def is_index_of(self, at: Situation, changes: Iterable[tuple[Change, Situation]]) -> bool:
        """Does it do nothing but build indexes that refuse no row, of a column that one of these changes brings back?

        They come before it in the migration, and what they bring back is contracted. On the way back such an index is
        gone by then; otherwise it would stay with the former column.
        """
        plan = self.expand(at)
        if not plan or not all(isinstance(step, BuildIndex) and not step.unique for step in plan):
            return False
        definitions = [step.definition for step in plan if isinstance(step, BuildIndex)]
        columns = {Name.of(claim.name) for one, where in changes for claim in one._brought_back(where)}
        return any(column in definition for column in columns for definition in definitions)

    def _brought_back(self, at: Situation) -> Iterator[Claim]:
        for step in self.way_back_to_expanded(at):
            yield from (claim for claim in (*step.takes, *step.frees, *step.works_on) if claim.kind is Kind.COLUMN)

    def _left(self, at: Situation) -> Any:
        """The open rows of the queue that belong to this operation."""
        return loaded().queue.rows(at.connection, **self._rows(at))

    def _row(self, at: Situation) -> dict[str, str]:
        """The fields that identify the operation's row in the queue."""
        return {"app_label": at.app_label, "migration": at.migration_name, "operation": self.identity}

    def _rows(self, at: Situation) -> dict[str, Any]:
        """The rows of the operation, also if its migration was squashed meanwhile."""
        names = [at.migration_name, *at.replaced]
        return {"app_label": at.app_label, "migration__in": names, "operation": self.identity}

    def _refuse_inside_transaction(self, at: Situation, plan: Sequence[Step]) -> None:
        if plan and at.connection.in_atomic_block:
            raise NeedsAutocommit(
                f"The {type(self).__name__} operation cannot be executed inside a transaction "
                "(set atomic = False on the migration)."
            )

    def _print(self, at: Situation, plan: Plan, later: Plan) -> None:
        """Print the plan and its reasons for sqlmigrate; the statements of the contract as comments."""
        session, printed = Session(at.connection, Report()), at.editor.collected_sql
        printed += lines_of(preview(session, plan, after=_sent(printed)))
        later = tuple(step for step in later if not (isinstance(step, Statement) and step in plan))  # done by then
        left = list(lines_of(preview(session, later, after=_sent(printed))))
        if left:
            printed.append("-- Left for the contract:")
        printed += [f"--   {line.removeprefix('-- ')}" for line in left]

    # A subclass inherits its stock operation's reduce(); folding must never lose the safe form.

    def reduce(self, operation: Operation, app_label: str) -> bool | list[Operation]:
        """Let unrelated operations pass; never fold the operation into a stock one."""
        reduced = self.stock.reduce(operation, app_label)
        if reduced is True or reduced == []:
            return reduced
        return False


def _send_deferred(editor: BaseDatabaseSchemaEditor) -> None:
    """Send what stock operations of this migration left for its end: it names things as they are still called."""
    while editor.deferred_sql and not editor.connection.in_atomic_block:
        editor.execute(editor.deferred_sql.pop(0), None)


def _sent(printed: Sequence[str]) -> list[str]:
    """The printed statements of a migration that aren't left for the contract."""
    return [line for line in printed if not line.startswith("--")]
