"""Keeps every step in the schema of its tenant, where django-tenants is installed.

The search_path is the tenant's schema, then the public one. So a name that the tenant's schema lacks, such as that of
a table that a killed run has dropped already, would be found in the public one wherever an app is in both.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Iterator

from django.db.backends.base.base import BaseDatabaseWrapper

from ..errors import NOTHING_WAS_CHANGED, StepFailed, to_type
from ..plans.claims import Claim, Kind
from ..plans.steps import Step
from ..postgres.names import Name
from ..postgres.tables import of_another_schema
from ..postgres.values import literal
from ..typed import schema_of, set_on, tenant_of

# An index, a table, a view or a function that may be gone already.
NAMED = (
    r'\A((?:DROP (?:INDEX|TABLE|VIEW|FUNCTION)(?: CONCURRENTLY)?|ALTER INDEX)(?: IF EXISTS)? )("(?:[^"]|"")+")(?!\.)'
)


def in_schema(connection: BaseDatabaseWrapper, sql: str) -> str:
    """The statement with the tenant's schema before the name of what it drops or renames."""
    tenant = tenant_of(connection)
    return re.sub(NAMED, lambda found: found[1] + Name.of(Name(found[2]).raw, tenant), sql) if tenant else sql


def lacking(connection: BaseDatabaseWrapper, step: Step) -> set[str]:
    """The tables of a step, raw, that the tenant's schema lacks and that the search_path finds in another schema."""
    if not tenant_of(connection):
        return set()
    return _elsewhere(
        connection, (claim.table for claim in (*step.takes, *step.frees, *step.works_on) if _is_own(claim))
    )


def _is_own(claim: Claim) -> bool:
    """Must the claim be in the tenant's schema? The key of a foreign key may be in a table that all tenants share."""
    return bool(claim.table) and not claim.schema and claim.kind is not Kind.KEY


def _elsewhere(connection: BaseDatabaseWrapper, tables: Iterable[str]) -> set[str]:
    names = sorted(set(tables))
    if not names:
        return set()
    with connection.cursor() as cursor:
        cursor.execute(of_another_schema(names, tenant_of(connection)))
        return {name for (name,) in cursor.fetchall()}


@contextlib.contextmanager
def seeing_only_its_own(connection: BaseDatabaseWrapper) -> Iterator[None]:
    """Let names that the tenant's schema lacks lead nowhere; the schemas of PG_EXTRA_SEARCH_PATHS still count."""
    before = getattr(connection, "include_public_schema", True)
    set_on(connection, include_public_schema=False, search_path_set_schemas=None)
    try:
        yield
    finally:
        set_on(connection, include_public_schema=before, search_path_set_schemas=None)


def refuse_the_public_one(connection: BaseDatabaseWrapper, step: Step, lacks: set[str]) -> None:
    """Raise StepFailed where the step would change a table of the public schema instead of the tenant's own."""
    needed = {claim.table for claim in (*step.frees, *step.works_on) if _is_own(claim)} & lacks
    if needed:
        raise StepFailed(f"{step.why}: {_said(connection, needed)}")


def refuse_public_tables(connection: BaseDatabaseWrapper, migration: str, tables: Iterable[Name]) -> None:
    """Refuse likewise for the stock operations of a migration, before the first of them."""
    if not tenant_of(connection):
        return
    if found := _elsewhere(connection, (table.raw for table in tables if not table.schema)):
        raise StepFailed(f"{migration}: {_said(connection, found)}")


def _said(connection: BaseDatabaseWrapper, tables: set[str]) -> str:
    look = to_type("safemigrations verify --sql", connection.alias)
    return (
        f"the schema {tenant_of(connection)} has no {', no '.join(sorted(tables))}, and the one of the public schema "
        f"isn't meant. {NOTHING_WAS_CHANGED} To see what the tenant lacks: {look}"
    )


def is_here(connection: BaseDatabaseWrapper, table: Name) -> bool:
    """Is the table in the schema of the tenant? Without django-tenants every table is."""
    return schema_of(connection) in (None, table.schema)


def refuse_lost_schema(connection: BaseDatabaseWrapper) -> None:
    """Raise StepFailed where somebody has dropped the tenant's schema: every name would lead to the public one."""
    tenant = tenant_of(connection)
    if not tenant:
        return
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT to_regnamespace({literal(Name.of(tenant))}) IS NULL")
        if cursor.fetchone()[0]:
            raise StepFailed(f"The schema {tenant} isn't there any more: somebody has dropped it during this run.")
