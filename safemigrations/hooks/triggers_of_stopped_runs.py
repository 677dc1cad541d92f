"""Triggers that a run left which was stopped half way, and whose migration somebody then removed or edited.

Such a trigger goes on writing one column to another. A migration that adds a column of that name, or changes one of the
two, would take what is there for its own work: it would find a column, or a trigger, and keep them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from django.db.backends.base.base import BaseDatabaseWrapper

from ..contracts import loaded
from ..data import Data
from ..errors import to_type
from ..plans.claims import Claim, Kind
from ..plans.steps import Step, nested
from ..plans.triggers import makes_trigger
from ..postgres.left_over import triggers
from ..postgres.names import Name


class Trigger(Data):
    """A trigger that postgres/left_over.py has found; `columns` are those that its function reads or writes."""

    schema: str
    table: str
    is_visible: bool
    name: str
    function: str
    columns: list[str]

    def is_on(self, claim: Claim) -> bool:
        """A foreign key to another column of the table alters nothing that the trigger is about."""
        schemas = {self.schema, *([""] if self.is_visible else [])}
        is_aside = claim.kind is Kind.KEY and claim.name not in self.columns
        return claim.table == self.table and claim.schema in schemas and not is_aside

    def is_named_by(self, step: Step) -> bool:
        return any(Name.of(self.name) in sql for sql in step.statements)


class LeftBehind:
    """The triggers that neither an open contract nor a migration of the run knows."""

    def __init__(self, connection: BaseDatabaseWrapper) -> None:
        self.connection, self.session = connection, loaded().Session(connection)
        self.touched: list[Claim] = []
        found = [Trigger(*row) for row in self.session.rows(triggers())]
        waiting = loaded().queue.waiting_steps(connection) if found else []
        self.triggers = [one for one in found if not any(map(one.is_named_by, nested(waiting)))]

    def know(self, plan: Iterable[Step]) -> None:
        """The run begins this plan, or goes on with it."""
        if self.triggers:
            steps = list(nested(plan))
            self.triggers = [one for one in self.triggers if not any(self._is_made_by(step, one) for step in steps)]
            self.touch(claim for step in steps for claim in (*step.takes, *step.frees, *step.works_on))

    def touch(self, claims: Iterable[Claim]) -> None:
        self.touched += claims if self.triggers else ()

    def _is_made_by(self, step: Step, trigger: Trigger) -> bool:
        """Does this step make the trigger, and not one of the same name between other columns?"""
        if not (makes_trigger(step) and trigger.is_named_by(step)):
            return False
        return not step.done or bool(self.session.rows(step.done))

    @property
    def refusals(self) -> Iterator[str]:
        for one in self.triggers:
            if any(map(one.is_on, self.touched)):
                yield self._refusal(one)

    def _refusal(self, one: Trigger) -> str:
        table, columns = Name.of(one.table, one.schema), " and ".join(one.columns)
        return (
            f"{one.table} has the trigger {one.name}, which is about {columns}. A run of migrate that was stopped half "
            "way has left it, and the migration that it belongs to isn't part of this run, or was edited. Nothing was "
            "changed. Either migrate to that migration, as it was, and unapply it. Or, where "
            f"{to_type('safemigrations verify', self.connection.alias)} says that it is left over, type: DROP TRIGGER "
            f"{Name.of(one.name)} ON {table}; DROP FUNCTION {one.function}; and drop the column that it added, if it "
            "added one. Then run the same command again."
        )
