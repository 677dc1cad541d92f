"""migrate_schemas, and django-tenants' migrate: ours in every schema, and none keeps the others from their turn."""

from __future__ import annotations

import sys
from typing import Any

from django.core.management.base import CommandParser
from django.core.management.commands import makemigrations
from django.db import connections
from django.utils.module_loading import import_string
from django_tenants.management.commands.migrate_schemas import MigrateSchemasCommand
from django_tenants.migration_executors import base
from django_tenants.utils import get_tenant_base_migrate_command_class

from safemigrations.checking import checks
from safemigrations.contracts.sessions import remembering
from safemigrations.errors import StepFailed
from safemigrations.management import arguments
from safemigrations.management.interruptible import Interruptible
from safemigrations.management.tenants import schemas
from safemigrations.management.tenants.failures import Failures, collected
from safemigrations.typed import public_schema

OURS = "safemigrations.management.commands.migrate.Command"
KEPT_IN = "failures"  # the option that tells the executors where to write what failed


class MigrateSchemas(Interruptible, MigrateSchemasCommand):
    # A check of Django's compares it with that of makemigrations, which another app may have replaced by now.
    autodetector = property(lambda self: makemigrations.Command.autodetector)

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        arguments.add_to(parser)

    def check(self, *args: Any, **kwargs: Any) -> None:
        with checks.silenced():
            super().check(*args, **kwargs)

    def handle(self, *args: Any, **options: Any) -> None:
        options = {**options, "format": "text", "skip_checks": True}  # they say the same in every schema
        with remembering():
            if options["schema_name"]:
                super().handle(*args, **options)
                return
            with collected() as failures:
                super().handle(*args, **options, **{KEPT_IN: str(failures.path)})


def run_in_schema(
    args: Any, options: dict[str, Any], executor_codename: str, schema_name: str, *more: Any, **given: Any
) -> None:
    """django-tenants' run_migrations; what fails is kept for the end of the command.

    The tables of tenants point at those of the public schema. So where that isn't migrated, no tenant is.
    """
    options = dict(options)
    kept_in = options.pop(KEPT_IN, None)
    is_first = schema_name == public_schema() and not options.get("contract")
    try:
        _refuse_missing(options["database"], schema_name)
        base.run_migrations(args, options, executor_codename, schema_name, *more, **given)
    except (Exception, SystemExit) as error:
        if kept_in is None or is_first:
            raise
        _leave(options["database"])
        if schemas.is_gone(options["database"], schema_name) and not is_public(schema_name):
            sys.stderr.write(f"[{executor_codename}:{schema_name}] Its tenant has been deleted meanwhile.\n")
            return
        sys.stderr.write(f"[{executor_codename}:{schema_name}] {error}\n")
        Failures(kept_in).keep(schema_name, error)


def is_public(schema: str) -> bool:
    return schema == public_schema()


def _refuse_missing(alias: str, schema: str) -> None:
    if not schemas.is_there(alias, schema):
        raise StepFailed(f"The tenant {schema} has no schema; create_missing_schemas of django-tenants makes it.")


def _leave(alias: str) -> None:
    """What failed may have left a session that can't be used."""
    if not connections[alias].in_atomic_block:
        connections[alias].close()


def command_class() -> type[Any]:
    """Ours, also where TENANT_BASE_MIGRATE_COMMAND names one of the project's own."""
    ours, wanted = import_string(OURS), get_tenant_base_migrate_command_class()
    return wanted if issubclass(wanted, ours) else type("Command", (ours, wanted), {})
