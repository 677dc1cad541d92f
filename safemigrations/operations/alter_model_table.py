"""AlterModelTable -> ExpandAlterModelTable.

ALTER TABLE ... RENAME is instant, but the old release goes on under the old name and fails. The same
happens to the tables of the many-to-many fields, which Django names after the model's table.
https://www.postgresql.org/docs/current/sql-altertable.html#SQL-ALTERTABLE-DESC-RENAME

So during expand each table is renamed in one short transaction together with an updatable view under its old name. The
contract drops the view.
"""

from __future__ import annotations

from django.db.migrations import AlterModelTable
from django.db.models import Model

from ..plans import old_table_name
from ..plans.carried import Carried, Renamed
from ..plans.column import table_of
from ..plans.steps import Plan
from .base import Change, Situation
from .rule import Context, Finding, Rule


class ExpandAlterModelTable(Change, AlterModelTable):
    """Rename a model's table now, with a view under the old name; drop the view when the old release has gone."""

    category = AlterModelTable.category

    def __init__(self, name: str, table: str | None) -> None:
        AlterModelTable.__init__(self, name, table)
        self.model_name = name
        self.wrap(AlterModelTable(name, table))

    def describe(self) -> str:
        return f"{AlterModelTable.describe(self)}; both names work until the contract"

    @property
    def identity(self) -> str:
        return f"ExpandAlterModelTable({self.name_lower}, {self.table})"

    def contract_label(self, at: Situation) -> str:
        return f"drop the old name of {self._models(at)[1]._meta.db_table}"

    def _models(self, at: Situation) -> tuple[type[Model], type[Model]]:
        return at.old(self.name), at.new(self.name)

    def expand(self, at: Situation) -> Plan:
        return old_table_name.expand(at.editor, old_table_name.renamed_with_table(*self._models(at)))

    def carries(self, at: Situation) -> tuple[Carried, ...]:
        return old_table_name.carries(at.editor, old_table_name.renamed_with_table(*self._models(at)))

    def renames(self, at: Situation) -> tuple[Renamed, ...]:
        return old_table_name.renames(old_table_name.renamed_with_table(*self._models(at)))

    def contract(self, at: Situation) -> Plan:
        return old_table_name.contract(at.editor, old_table_name.renamed_with_table(*self._models(at)))


def find(operation: AlterModelTable, context: Context) -> Finding | None:
    old = context.before.apps.get_model(context.app_label, operation.name)
    new = context.after.apps.get_model(context.app_label, operation.name)
    if old_table_name.moves_to_another_schema(table_of(old), table_of(new)):
        return Finding(
            f"AlterModelTable {operation.name} to {operation.table} fails in PostgreSQL.",
            way_by_hand=old_table_name.OTHER_SCHEMA,
        )
    moved = old_table_name.labels(old_table_name.renamed_with_table(old, new))
    if not moved:
        return None
    return Finding(
        f"AlterModelTable {operation.name} renames {moved} at once: the old release goes on under the old name.",
        (ExpandAlterModelTable(operation.name, operation.table),),
    )


rule = Rule("safemigrations.E052", AlterModelTable, find)
