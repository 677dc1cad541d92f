"""RenameModel -> ExpandRenameModel.

ALTER TABLE ... RENAME is instant, but the old release goes on under the old name and fails. The same
happens to its many-to-many fields: Django names their tables after the model, and also the columns of many-to-many
tables that point at the model.
https://www.postgresql.org/docs/current/sql-altertable.html#SQL-ALTERTABLE-DESC-RENAME

So during expand each table is renamed in one short transaction together with an updatable view under its old name. A
table that keeps its name while a column changes is set aside, and a view under its name has the column under both
names. The contract drops the views. Foreign keys that point at the table follow it by themselves. Django derives their
names from the name of the table, and so the contract changes them.

Django's RenameModel leaves the old name in the bases of proxies and children, and then can't make these models
(InvalidBasesError). Ours renames the base, too.
"""

from __future__ import annotations

from dataclasses import replace

from django.db.migrations import AlterModelTable, RenameModel
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ModelState, ProjectState
from django.db.models import Model

from ..errors import StepFailed
from ..plans import old_table_name, tables
from ..plans.carried import Carried, Renamed
from ..plans.steps import Plan
from ..typed import forget_classes, only_plans
from .base import Change, Situation
from .home import home_of, is_named_by_its_setting
from .rule import Context, Finding, Rule


class ExpandRenameModel(Change, RenameModel):
    """Rename a model's tables now, with views under the old names; drop the views when the old release has gone."""

    category = RenameModel.category

    def __init__(self, old_name: str, new_name: str) -> None:
        RenameModel.__init__(self, old_name, new_name)
        self.model_name = old_name
        self.wrap(RenameModel(old_name, new_name))

    def state_forwards(self, app_label: str, state: ProjectState) -> None:
        rename_bases(self, app_label, state)
        super().state_forwards(app_label, state)

    def describe(self) -> str:
        return f"{RenameModel.describe(self)}; both names work until the contract"

    @property
    def identity(self) -> str:
        return f"ExpandRenameModel({self.old_name_lower}, {self.new_name_lower})"

    def contract_label(self, at: Situation) -> str:
        return f"drop the old names of {self._models(at)[1]._meta.db_table}"

    def _models(self, at: Situation) -> tuple[type[Model], type[Model]]:
        return at.old(self.old_name), at.new(self.new_name)

    def expand(self, at: Situation) -> Plan:
        pairs = old_table_name.renamed_with_model(*self._models(at))
        far = [] if only_plans(at.connection) else [one for one in pairs if not self._is_here(at, one[0])]
        if far:
            what = f"{RenameModel.describe(self)} renames columns of {old_table_name.labels(far)}, too"
            raise StepFailed(f"{what}. {IN_ANOTHER_DATABASE} Nothing was changed.")
        return old_table_name.expand(at.editor, pairs)

    def _is_here(self, at: Situation, model: type[Model]) -> bool:
        return self.allow_migrate_model(at.connection.alias, model)

    def carries(self, at: Situation) -> tuple[Carried, ...]:
        return old_table_name.carries(at.editor, old_table_name.renamed_with_model(*self._models(at)))

    def renames(self, at: Situation) -> tuple[Renamed, ...]:
        return old_table_name.renames(old_table_name.renamed_with_model(*self._models(at)))

    def contract(self, at: Situation) -> Plan:
        return (
            *old_table_name.contract(at.editor, old_table_name.renamed_with_model(*self._models(at))),
            *old_table_name.names_of_foreign_keys(at.editor, *self._models(at)),
        )


IN_ANOTHER_DATABASE = (
    "Your routers put that into another database, where this migration doesn't come. Keep the name of the model. Or, "
    "in a release before, give the many-to-many field a through model, whose foreign key has that column as db_column."
)
KEEP_NAME = (
    "Keep the name {} in the class and in the setting; Python can have another one for it. Or see "
    "docs/rename_model.md, A swappable model."
)


def harm_of_setting(state: ModelState) -> str:
    return (
        f"every older migration that points at {state.options['swappable']} then points at a model that isn't there "
        "yet, and migrate ends in a ValueError."
    )


def heirs(app_label: str, name: str, state: ProjectState) -> list[ModelState]:
    """The proxies and child models of a model."""
    key = f"{app_label}.{name}".lower()
    return [
        model
        for model in state.models.values()
        if any(isinstance(base, str) and base.lower() == key for base in model.bases)
    ]


def rename_bases(operation: RenameModel, app_label: str, state: ProjectState) -> None:
    """Give the heirs of the model its new name as their base, before the model is renamed."""
    old, new = (f"{app_label}.{name}".lower() for name in (operation.old_name, operation.new_name))
    for model in heirs(app_label, operation.old_name, state):
        model.bases = tuple(new if isinstance(base, str) and base.lower() == old else base for base in model.bases)
        forget_classes(state)


def find(operation: RenameModel, context: Context) -> Finding | None:
    what = f"RenameModel {operation.old_name} to {operation.new_name}"
    state = context.model_before(operation.old_name)
    if is_named_by_its_setting(state, operation.new_name):
        return Finding(f"{what}: {harm_of_setting(state)}", way_by_hand=KEEP_NAME.format(operation.old_name))
    old = tables.name_of(state)
    inherit = heirs(context.app_label, operation.old_name, context.before)
    context = _with_bases(operation, context) if inherit else context
    ours = ExpandRenameModel(operation.old_name, operation.new_name)
    if _keeps_its_table(operation, context):
        # In this order nothing moves but what is called after the model.
        rename: Operation = ours if inherit else RenameModel(operation.old_name, operation.new_name)
        return Finding(f"{what} moves the table, and back.", (AlterModelTable(operation.old_name, old), rename))
    moved = _moved(operation, context)
    if not moved and inherit:
        names = ", ".join(sorted(model.name for model in inherit))
        return Finding(f"{what} leaves the old name in the bases of {names}: InvalidBasesError in migrate.", (ours,))
    if not moved:
        return None
    if far := _in_another_database(operation, context):
        return Finding(f"{what} renames columns of {far}, too.", way_by_hand=IN_ANOTHER_DATABASE)
    cheaper = (
        f"Where only the class gets another name, db_table = '{old}' in the Meta of {operation.new_name} leaves the "
        "table alone, which costs nothing."
    )
    return Finding(
        f"{what} renames {moved} at once: the old release goes on under the old name. {cheaper}",
        (ours,),
        notice=f"{what}: the database gets views under the old names, until the contract. {cheaper}",
    )


def _with_bases(operation: RenameModel, context: Context) -> Context:
    """The state that our operation leaves. From Django's own state nobody can create classes."""
    after = context.before.clone()
    forget_classes(after)
    ExpandRenameModel(operation.old_name, operation.new_name).state_forwards(context.app_label, after)
    return replace(context, after=after)


def _keeps_its_table(operation: RenameModel, context: Context) -> bool:
    """Does the same release give the model a db_table with the old name of its table?"""
    state = context.model_before(operation.old_name)
    return not state.options.get("db_table") and any(
        app_label == context.app_label
        and isinstance(other, AlterModelTable)
        and other.name_lower == operation.new_name_lower
        and other.table is not None
        and tables.bare_name(other.table) == tables.name_of(state)
        for app_label, other in context.release
    )


def _moved(operation: RenameModel, context: Context) -> str:
    """The tables that are renamed, or that have a column which is renamed."""
    return old_table_name.labels(_pairs(operation, context))


def _in_another_database(operation: RenameModel, context: Context) -> str:
    """Those of them that aren't where the model is."""
    home = home_of(context.model_before(operation.old_name))
    pairs = [(home_of(ModelState.from_model(pair[0])), pair) for pair in _pairs(operation, context)]
    return old_table_name.labels(pair for there, pair in pairs if home and there and there.alias != home.alias)


def _pairs(operation: RenameModel, context: Context) -> list[old_table_name.Pair]:
    old = context.before.apps.get_model(context.app_label, operation.old_name)
    new = context.after.apps.get_model(context.app_label, operation.new_name)
    return old_table_name.renamed_with_model(old, new)


rule = Rule("safemigrations.E051", RenameModel, find)
