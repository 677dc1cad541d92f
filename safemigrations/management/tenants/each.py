"""A subcommand of `safemigrations` in one schema after the other."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django_tenants.utils import get_tenant_database_alias

from safemigrations.management.tenants import schemas
from safemigrations.management.tenants.failures import Failure, refuse

Handle = Callable[[dict[str, Any]], None]


def in_schemas(command: BaseCommand, options: dict[str, Any], handle: Handle) -> None:
    """Run the command in the schema that --schema names or that is chosen, else in all; one that fails doesn't keep the
    others.
    """
    alias, only, failed = get_tenant_database_alias(), options["schema"], list[Failure]()
    if options["database"] not in (alias, [], [alias]) or (only is None and schemas.is_chosen(alias)):
        handle(options)
    else:
        _refuse_what_means_one(options)
        for schema in _each(alias, only):
            try:
                with _named(command, schema, options.get("format") == "json"):
                    handle(options)
            except CommandError as error:
                if only is not None:
                    raise
                command.stderr.write(command.style.ERROR(f"{schema}: {error}"))
                failed.append(Failure.of(schema, error))
        refuse(failed)


def _each(alias: str, only: str | None) -> Iterator[str]:
    try:
        yield from schemas.each(alias, only)
    except LookupError as error:
        raise CommandError(f"No tenant has the schema {only}.") from error


def _refuse_what_means_one(options: dict[str, Any]) -> None:
    if options.get("tasks"):
        raise CommandError("A task knows no schema: run the backfills of tenants by this command, without --tasks.")
    if options["schema"] is None and (options.get("numbers") or options.get("number") is not None):
        raise CommandError("Each schema has numbers of its own, so say which one is meant: --schema SCHEMA.")


@contextmanager
def _named(command: BaseCommand, schema: str, is_json: bool) -> Iterator[None]:
    """Say which schema it is: in a line above, or in each object."""
    if not is_json:
        command.stdout.write(command.style.MIGRATE_HEADING(f"Schema {schema}:"))
        yield
        return
    out: Any = command.stdout
    inner, out._out = out._out, _Naming(out._out, schema)
    try:
        yield
    finally:
        out._out = inner


class _Naming:
    """Writes objects that come one after the other, each on a line, with the name of the schema."""

    def __init__(self, out: Any, schema: str) -> None:
        self.out, self.schema, self.text = out, schema, ""

    def write(self, text: str) -> None:
        self.text += text
        try:
            found = json.loads(self.text)
        except ValueError:  # the rest comes
            return
        self.text = ""
        self.out.write(json.dumps({"schema": self.schema, **found}) + "\n")

    def __getattr__(self, name: str) -> Any:
        return getattr(self.out, name)
