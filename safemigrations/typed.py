"""Access to parts of Django that its type stubs lack, kept here so that no other module needs a `type: ignore`.

Each function calls what it is named for. The argument that the stubs know too little about is `Any`.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any, cast

from django.conf import settings
from django.db.backends.ddl_references import Statement as Reference
from django.db.migrations.state import ModelState, ProjectState
from django.db.models import Model

# Fields and models.


def field_of(model: type[Model], name: str) -> Any:
    """A field with the attributes that the stubs don't give to every field: column, target_field, remote_field."""
    return model._meta.get_field(name)


def column_of(model: type[Model], name: str) -> str:
    return str(field_of(model, name).column)


def through(field: Any) -> type[Model]:
    """The model of a many-to-many field's table."""
    return cast("type[Model]", field.remote_field.through)


def model_state(state: ProjectState, app_label: str, name: str) -> ModelState:
    return cast(ModelState, state.models[app_label, name.lower()])


def without_classes(state: ProjectState) -> ProjectState:
    """A copy in which no model is rendered as a class."""
    return ProjectState({key: model.clone() for key, model in state.models.items()}, state.real_apps)


def forget_classes(state: ProjectState) -> None:
    """Without this each later change of the state would render all related models anew, which takes longest."""
    state.__dict__.pop("apps", None)


def forget_relations(state: ProjectState) -> None:
    """They are found again when somebody asks which fields point at which model."""
    set_on(state, _relations=None)


def applied_state(executor: Any) -> ProjectState:
    """The state of all migrations that are applied."""
    return cast(ProjectState, executor._create_project_state(with_applied_migrations=True))


def migrate_all_backwards(executor: Any, plan: Any, full_plan: Any, fake: bool) -> ProjectState:
    """What Django's executor does, from states that it makes."""
    return cast(ProjectState, executor._migrate_all_backwards(plan, full_plan, fake))


# The connection.


def is_configured(connection: Any) -> bool:
    """Has it an engine? "default" of a project whose every database has another name has none."""
    return str(connection.vendor) != "unknown"


def schema_of(connection: Any) -> str | None:
    """The schema that django-tenants has chosen on this connection; None without django-tenants."""
    name = getattr(connection, "schema_name", None)
    return None if name is None else str(name)


def only_plans(connection: Any) -> bool:
    """Is it the connection of the checks, which never connects?"""
    return bool(getattr(connection, "only_plans", False))


def public_schema() -> str:
    """The schema that all tenants share."""
    return str(getattr(settings, "PUBLIC_SCHEMA_NAME", "public"))


def tenant_of(connection: Any) -> str:
    """The schema of the tenant that is chosen; empty for the public one, and without django-tenants."""
    name = schema_of(connection)
    return "" if name in (None, public_schema()) else str(name)


def follow(connection: Any, other: Any) -> None:
    """Choose the schema of the other connection on this one: a copy would start in the public one."""
    if schema_of(other) is not None:
        connection.set_tenant(other.tenant, include_public=other.include_public_schema)


def compose(connection: Any, sql: Any, params: Any) -> str:
    """The statement with its parameters written into it."""
    return str(connection.ops.compose_sql(sql, params))


def server_version(connection: Any) -> int:
    """The version as server_version_num of PostgreSQL has it: 180001 for 18.1."""
    return int(connection.pg_version)


# Tests.


def is_testing() -> bool:
    """Does this process run tests? Every runner, and each of its workers, sets up Django's test environment."""
    utils = sys.modules.get("django.test.utils")
    return hasattr(getattr(utils, "_TestState", None), "saved_data")


# What the schema editor names and builds.


def create_index_name(editor: Any, table: str, columns: Sequence[str], suffix: str) -> str:
    return str(editor._create_index_name(table, columns, suffix=suffix))


def create_fk_sql(editor: Any, model: type[Model], field: Any, suffix: str) -> Reference:
    return cast(Reference, editor._create_fk_sql(model, field, suffix))


def field_indexes_sql(editor: Any, model: type[Model], field: Any) -> list[Reference]:
    """The index of db_index=True, and for text the one for LIKE."""
    return list(editor._field_indexes_sql(model, field))


def like_index_sql(editor: Any, model: type[Model], field: Any) -> Reference | None:
    return cast("Reference | None", editor._create_like_index_sql(model, field))


def condition_sql(constraint: Any, model: type[Model], editor: Any) -> str:
    """The condition of a unique constraint that has one."""
    return str(constraint._get_condition_sql(model, editor))


def field_should_be_altered(editor: Any, old: Any, new: Any) -> bool:
    return bool(editor._field_should_be_altered(old, new))


def check_sql(constraint: Any, model: type[Model], editor: Any) -> str:
    return str(constraint._get_check_sql(model, editor))


# What the stubs take for a constant of the class or of the module, and Django, or an app such as this, sets.


def set_on(owner: Any, **values: Any) -> None:
    for name, value in values.items():
        setattr(owner, name, value)
