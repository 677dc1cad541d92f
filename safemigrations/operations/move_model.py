"""A model that moves to another app -> MoveModelIn there, and MoveModelOut in the app that it leaves.

Django sees a model that goes and another one that comes: it drops the table with all of its rows, and makes an empty
one. What is meant needs no work where the table keeps its name (db_table in the Meta of the model). Where it gets the
name that Django gives it in its new app, the old release goes on under the old name, as with any table that is renamed:
so the table is renamed together with an updatable view under its old name, and the contract drops the view.

A foreign key follows its table. So all of the move stands in one operation: the state of the model, that of the fields
and models that are built on it, the table, content type and permissions. The other operation has nothing to do. It
stands in the app that the model leaves, so that whatever comes later in that app comes after the move.

The row of the content type is one that generic relations and permissions point at, so the new release gets it, as with
Django's own RenameModel. The old release gets one of its own until the contract, with the same permissions, and those
who have them.
https://docs.djangoproject.com/en/stable/ref/contrib/contenttypes/#generic-relations
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.apps import apps
from django.db import router
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations import AlterModelTable, DeleteModel, SeparateDatabaseAndState
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState
from django.db.migrations.utils import get_references
from django.db.models import Model

from ..errors import StepFailed
from ..plans import content_types, old_table_name, stock_claims, tables
from ..plans.carried import Carried, Renamed
from ..plans.content_types import Link
from ..plans.steps import Plan
from ..typed import forget_classes, forget_relations, model_state
from .base import Change, Situation
from .rule import Context, Finding, Rule


class MoveModel(Operation):
    """The move without a second release: its state half, and its effect in other databases."""

    category = AlterModelTable.category

    def __init__(self, name: str, from_app: str, table: str | None = None) -> None:
        self.name, self.from_app, self.table = name, from_app, table

    def state_forwards(self, app_label: str, state: ProjectState) -> None:
        old, new = (self.from_app, self.name.lower()), (app_label, self.name.lower())
        if old not in state.models:
            raise StepFailed(
                f"{app_label}: {self.describe()}, where it isn't. The migration has to depend on one of "
                f"{self.from_app} after which the model is there."
            )
        state.models[new] = model_state(state, *old).clone()
        state.models[new].app_label, state.models[new].name = app_label, self.name
        self._set_table(state.models[new].options)
        _point_at(state, old, new)
        del state.models[old]
        forget_relations(state)
        forget_classes(state)

    def _set_table(self, options: dict[str, Any]) -> None:
        options.pop("db_table", None)
        if self.table is not None:
            options["db_table"] = self.table

    def database_forwards(
        self, app_label: str, schema_editor: BaseDatabaseSchemaEditor, from_state: ProjectState, to_state: ProjectState
    ) -> None:
        old = from_state.apps.get_model(self.from_app, self.name)
        new = to_state.apps.get_model(app_label, self.name)
        _rename_tables(schema_editor, old, new)

    def database_backwards(
        self, app_label: str, schema_editor: BaseDatabaseSchemaEditor, from_state: ProjectState, to_state: ProjectState
    ) -> None:
        old = from_state.apps.get_model(app_label, self.name)
        new = to_state.apps.get_model(self.from_app, self.name)
        _rename_tables(schema_editor, old, new)

    def describe(self) -> str:
        return f"Move model {self.name} here from {self.from_app}"

    @property
    def migration_name_fragment(self) -> str:
        return f"{self.name.lower()}_from_{self.from_app}"


def _point_at(state: ProjectState, old: tuple[str, str], new: tuple[str, str]) -> None:
    """Let the fields and models that refer to the model use its new app."""
    label = f"{new[0]}.{state.models[new].name}"
    for model, name, field, reference in list(get_references(state, old)):
        changed: Any = field.clone()
        if reference.to:
            changed.remote_field.model = label
        if reference.through:
            changed.remote_field.through = label
        model.fields[name] = changed
    for model in state.models.values():
        model.bases = tuple(label.lower() if _is(base, old) else base for base in model.bases)


def _is(base: Any, key: tuple[str, str]) -> bool:
    return isinstance(base, str) and base.lower() == ".".join(key)


def _rename_tables(editor: BaseDatabaseSchemaEditor, old: type[Model], new: type[Model]) -> None:
    if Operation().allow_migrate_model(editor.connection.alias, new):
        for before, after in old_table_name.renamed_with_table(old, new):
            editor.alter_db_table(after, before._meta.db_table, after._meta.db_table)


class MoveModelIn(Change):
    """Move a model here from another app, with its table; the old release goes on with what it knows."""

    category = MoveModel.category

    def __init__(self, name: str, from_app: str, table: str | None = None) -> None:
        self.name = self.model_name = name
        self.from_app, self.table = from_app, table
        self.wrap(MoveModel(name, from_app, table))

    def describe(self) -> str:
        return f"{self.stock.describe()}; the old release finds it in both until the contract"

    @property
    def migration_name_fragment(self) -> str:
        return str(self.stock.migration_name_fragment)

    @property
    def identity(self) -> str:
        return f"MoveModelIn({self.from_app}.{self.name.lower()})"

    def contract_label(self, at: Situation) -> str:
        return f"drop what the old release calls {self.from_app}.{self.name}"

    def key_before(self, app_label: str) -> tuple[str, str]:
        return self.from_app, self.name

    def migrated_model(self, at: Situation) -> type[Model]:
        return at.new(self.name)

    def _models(self, at: Situation) -> tuple[type[Model], type[Model]]:
        return at.before.apps.get_model(self.from_app, self.name), at.new(self.name)

    def is_migrated_here(self, at: Situation) -> bool:
        """A proxy or an unmanaged model counts, too: it has a content type although Django makes no table for it."""
        model = self.migrated_model(at)
        if _has_table(model):
            return super().is_migrated_here(at)
        return bool(router.allow_migrate_model(at.connection.alias, model))

    def _tables(self, at: Situation) -> list[old_table_name.Pair]:
        old, new = self._models(at)
        return old_table_name.renamed_with_table(old, new) if _has_table(new) else []

    def expand(self, at: Situation) -> Plan:
        return (
            *old_table_name.expand(at.editor, self._tables(at)),
            *(step.expand() for step in self._types(at)),
        )

    def carries(self, at: Situation) -> tuple[Carried, ...]:
        return old_table_name.carries(at.editor, self._tables(at))

    def renames(self, at: Situation) -> tuple[Renamed, ...]:
        return old_table_name.renames(self._tables(at))

    def contract(self, at: Situation) -> Plan:
        return (
            *old_table_name.contract(at.editor, self._tables(at)),
            *(step.contract() for step in self._types(at)),
        )

    def _types(self, at: Situation) -> Iterator[content_types.Moved]:
        """Nothing in a project without content types."""
        if apps.is_installed("django.contrib.contenttypes"):
            yield content_types.Moved(self.name.lower(), self.from_app, at.app_label, tuple(_who_has_permissions()))


def _has_table(model: type[Model]) -> bool:
    """Does Django create a table for the model?"""
    return bool(model._meta.managed and not model._meta.proxy)


def _who_has_permissions() -> Iterator[Link]:
    """The tables that say which groups and which users have a permission, as this code knows them."""
    if not apps.is_installed("django.contrib.auth"):
        return
    related: Any = apps.get_model("auth", "Permission")._meta.related_objects
    for field in sorted((each.field for each in related if each.many_to_many), key=str):
        if field.remote_field.through._meta.auto_created:
            yield Link(field.m2m_db_table(), field.m2m_column_name(), field.m2m_reverse_name())


class MoveModelOut(SeparateDatabaseAndState):
    """The model has moved to another app. All that was to do, MoveModelIn has done there."""

    category = MoveModel.category

    def __init__(self, name: str, to_app: str) -> None:
        self.name, self.to_app = name, to_app
        super().__init__()

    def deconstruct(self) -> tuple[str, list[Any], dict[str, Any]]:
        return type(self).__name__, [], {"name": self.name, "to_app": self.to_app}

    def state_forwards(self, app_label: str, state: ProjectState) -> None:
        if (app_label, self.name.lower()) in state.models:
            raise StepFailed(
                f"{app_label}: {self.describe()}, but it is still here. The migration has to depend on that of "
                f"{self.to_app} that has MoveModelIn."
            )

    def describe(self) -> str:
        return f"Model {self.name} has moved to {self.to_app}"

    @property
    def migration_name_fragment(self) -> str:
        return f"{self.name.lower()}_to_{self.to_app}"


MoveModelOut.__module__ = "safemigrations.operations"


# Written by hand: a model of another app that stands on the table which would go.


def find(operation: DeleteModel, context: Context) -> Finding | None:
    going = set(stock_claims.tables_of(context.model_before(operation.name)))
    for other in context.after.models.values():
        if not other.options.get("proxy") and next(stock_claims.tables_of(other)).is_in(going):
            user = f"{other.app_label}.{other.name}"
            return Finding(
                f"DeleteModel {operation.name} drops the table {tables.name_of(other)}, which {user} has: its rows "
                "would be lost, and both releases fail.",
                way_by_hand=(
                    f"Where {user} keeps the table, put DeleteModel into state_operations of a "
                    "SeparateDatabaseAndState, which leaves the table alone. makemigrations writes a model that moves "
                    "to another app by itself, as MoveModelIn and MoveModelOut: see docs/move_model.md."
                ),
            )
    return None


rule = Rule("safemigrations.E053", DeleteModel, find)
