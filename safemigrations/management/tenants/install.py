"""Put our commands where django-tenants looks for its own."""

from __future__ import annotations

from typing import Any

from django.core.management import get_commands
from django_tenants.management.commands import migrate, migrate_schemas
from django_tenants.migration_executors import base, multiproc, standard, subproc

from safemigrations.management.tenants import processes
from safemigrations.management.tenants.migrate_schemas import MigrateSchemas, command_class, run_in_schema
from safemigrations.typed import set_on


def install() -> None:
    for command in (migrate, migrate_schemas):
        set_on(command, MigrateSchemasCommand=MigrateSchemas, Command=MigrateSchemas)
    set_on(base, get_tenant_base_migrate_command_class=command_class)
    for executor in (standard, multiproc, subproc):
        set_on(executor, run_migrations=run_in_schema)
    processes.install()
    _prefer_theirs()


def _prefer_theirs() -> None:
    """`migrate` is about every schema in either order of INSTALLED_APPS."""
    found: dict[str, Any] = get_commands()
    if found["migrate"] == "safemigrations":
        found["migrate"] = "django_tenants"
