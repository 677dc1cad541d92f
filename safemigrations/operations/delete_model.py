"""DeleteModel -> DeleteModelLater.

DROP TABLE is quick, but the old release reads and writes the table. And as long as the table is
there, the release that no longer knows the model can't delete a parent that the table's foreign keys point at. Django
does in Python what ON DELETE says. So the rows would stay as orphans, or the foreign key forbids the delete at COMMIT.
https://www.postgresql.org/docs/current/ddl-constraints.html#DDL-CONSTRAINTS-FK

So during expand the foreign keys of the table, and those of its many-to-many tables, get an ON DELETE of the database's
own. The contract drops the tables, behind one LOCK of everything that DROP TABLE locks. Without that it deadlocks with
requests that touch the same tables in another order, and PostgreSQL may end *theirs*.
"""

from __future__ import annotations

from django.db.migrations import DeleteModel
from django.db.models import Model

from ..plans import stock_claims, tables
from ..plans.column import Column
from ..plans.foreign_key import ForeignKey, on_parent_delete
from ..plans.steps import Plan
from .base import Change, Situation
from .rule import Context, Finding, Rule


class DeleteModelLater(Change, DeleteModel):
    """Stop keeping parents alive now; drop the table when the old release has gone."""

    category = DeleteModel.category

    def __init__(self, name: str) -> None:
        DeleteModel.__init__(self, name)
        self.model_name = name
        self.wrap(DeleteModel(name))

    def describe(self) -> str:
        return f"{DeleteModel.describe(self)}; its table is dropped by the contract"

    @property
    def identity(self) -> str:
        return f"DeleteModelLater({self.name_lower})"

    def contract_label(self, at: Situation) -> str:
        return f"drop table {self._model(at)._meta.db_table}"

    def _model(self, at: Situation) -> type[Model]:
        return at.old(self.name)

    def expand(self, at: Situation) -> Plan:
        model = self._model(at)
        columns = tables.foreign_keys(at.editor, model, at.before)
        return (
            tables.nothing_uses(model, but_on_delete=tables.GIVEN),
            *(step for column in columns for step in _let_go(column)),
        )

    def contract(self, at: Situation) -> Plan:
        return tables.drop(at.editor, "drop the table", self._model(at), at.before)


def find(operation: DeleteModel, context: Context) -> Finding | None:
    what = f"DeleteModel {operation.name}"
    if successor := _taken_again(operation, context):
        return Finding(
            f"{what} drops a table whose name is taken in the same release ({successor}): the old release "
            "would read and write the new one.",
            way_by_hand=(
                "If the new model has the old one's rows, write both operations into SeparateDatabaseAndState, "
                "which leaves the table alone. If not, give the new model another db_table; or make two releases: "
                "first without the old model, then, when migrate --contract has dropped its table, with the new one."
            ),
        )
    return Finding(
        f"{what} drops the table at once: the old release reads and writes it.",
        (DeleteModelLater(operation.name),),
    )


def _taken_again(operation: DeleteModel, context: Context) -> str:
    """The operation of this release that creates a table under the name that is dropped, or renames a table to it."""
    going = set(stock_claims.tables_of(context.model_before(operation.name)))
    for app_label, other in context.release:
        if any(table.is_in(going) for table in stock_claims.tables_made_by(other, app_label, context.before)):
            return other.describe()
    return ""


rule = Rule("safemigrations.E021", DeleteModel, find)


def _let_go(column: Column) -> Plan:
    """Tables that stay must not keep rows whose parents the new release can no longer see."""
    return on_parent_delete(ForeignKey(column), tables.when_parent_goes(column))
