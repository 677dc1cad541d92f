"""The schemas of a project with django-tenants, and whether they are still there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.db import connections
from django_tenants.postgresql_backend.base import FakeTenant
from django_tenants.utils import (
    get_multi_type_database_field_name,
    get_tenant_migration_order,
    get_tenant_model,
    has_multi_type_tenants,
    schema_exists,
)

from safemigrations.typed import public_schema, schema_of


def tenants() -> list[Any]:
    """Those of all tenants, in the order in which they are migrated; nothing but what tells them apart is read."""
    fields = ["schema_name", *([get_multi_type_database_field_name()] if has_multi_type_tenants() else [])]
    rows = get_tenant_model()._default_manager.only(*fields).exclude(schema_name=public_schema())
    return list(rows.order_by(*(get_tenant_migration_order() or ["schema_name"])))


def is_gone(alias: str, schema: str) -> bool:
    """Has its tenant been deleted?"""
    connections[alias].set_schema_to_public()  # type: ignore[attr-defined]
    return not get_tenant_model()._default_manager.filter(schema_name=schema).exists()


def is_there(alias: str, schema: str) -> bool:
    return bool(schema_exists(schema, database=alias))


def is_chosen(alias: str) -> bool:
    """Has somebody chosen a schema, such as tenant_command, all_tenants_command or a `with` block?"""
    connection: Any = connections[alias]
    return schema_of(connection) != public_schema() or not isinstance(connection.tenant, FakeTenant)


def each(alias: str, only: str | None = None) -> Iterator[str]:
    """Choose one schema after the other, the public one first, on the connection; the public one is chosen in the end.

    Raises LookupError where `only` is none of them.
    """
    connection: Any = connections[alias]
    connection.set_schema_to_public()
    found = [tenant for tenant in tenants() if only in (None, tenant.schema_name)]
    if only not in (None, public_schema()) and not found:
        raise LookupError(only)
    try:
        if only in (None, public_schema()):
            yield public_schema()
        for tenant in found:
            connection.set_tenant(tenant)
            yield tenant.schema_name
    finally:
        connection.set_schema_to_public()
