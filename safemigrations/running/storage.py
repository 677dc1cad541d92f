"""Tables of this package's own, made on first use as MigrationRecorder makes django_migrations.

A later version may know more columns than the one that made a table. Whoever reads or writes the table adds them first.
So a column that comes later is nullable or has a default in the database: a process of the version before goes on
inserting rows without it.

What stands in these tables is run with the rights of whoever migrates. So nobody else may write them, whatever the
default privileges of the schema say; reading is left to those who may.
"""

from __future__ import annotations

from typing import Any

from django.db import DatabaseError, models, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from ..errors import StepFailed
from ..postgres.blocks import for_each
from ..postgres.names import Name, regclass
from ..postgres.privileges import others_who_write
from ..postgres.values import literal
from ..typed import schema_of
from .run import current_run
from .signed import Signed

PATIENCE = "2s"  # for the lock: nobody but commands of ours and a probe uses these tables


class Own:
    """The Meta of a table of this package's own.

    Rows are written and deleted without signals, as those of a table between two others are. A receiver that listens to
    every sender may look for something that only models of an app have.
    """

    app_label = "safemigrations"
    auto_created = True


def has_table(connection: BaseDatabaseWrapper, model: type[models.Model]) -> bool:
    """Does the table exist? Also adds the columns that only this version knows. A run asks until the table exists."""
    found, table = current_run().own_tables, (connection.alias, schema_of(connection), model._meta.db_table)
    if table in found:
        return True
    there = _columns(connection, model)
    if there:
        _add_columns(connection, model, [field for field in _fields(model) if field.column not in there])
        if not connection.in_atomic_block:  # what was made in it may be rolled back
            found.add(table)
    return bool(there)


def is_up_to_date(connection: BaseDatabaseWrapper, model: type[models.Model]) -> bool:
    """Does the table exist with all columns that this version knows? Only asks, and adds no column."""
    there = _columns(connection, model)
    return bool(there) and all(field.column in there for field in _fields(model))


def ensure_table(connection: BaseDatabaseWrapper, model: type[models.Model]) -> None:
    if has_table(connection, model):
        return
    try:
        with transaction.atomic(using=connection.alias), connection.schema_editor(atomic=False) as editor:
            editor.execute(_BESIDE_DJANGO_MIGRATIONS, None)
            editor.create_model(model)
            editor.execute(_for_the_owner_alone(model._meta.db_table), None)
    except DatabaseError:
        if not has_table(connection, model):  # else somebody else made it at the same moment
            raise


# The first schema of the search_path may be another one, or PostgreSQL's own.
_BESIDE_DJANGO_MIGRATIONS = (
    "SELECT set_config('search_path', format('%I, %s', relnamespace::regnamespace, current_setting('search_path')),"
    f" true) FROM pg_class WHERE oid = {regclass('django_migrations')}"
)


def _for_the_owner_alone(table: str) -> str:
    revoke = f"EXECUTE format('REVOKE %s ON %s FROM %s', found.what, {literal(Name(table))}, found.who);"
    return for_each(others_who_write(table), revoke)


def _columns(connection: BaseDatabaseWrapper, model: type[models.Model]) -> set[str]:
    """Empty where the table isn't there."""
    table = model._meta.db_table
    with connection.cursor() as cursor:
        # Beside django_migrations: a schema further down the search_path may have tables of its own.
        cursor.execute(
            f"SELECT attname FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid WHERE relname = '{table}'"
            " AND attnum > 0 AND NOT attisdropped AND relnamespace = (SELECT relnamespace FROM pg_class"
            f" WHERE oid = coalesce(to_regclass('django_migrations'), to_regclass('{table}')))"
        )
        return {column for (column,) in cursor.fetchall()}


def _fields(model: type[models.Model]) -> list[Any]:
    return list(model._meta.local_concrete_fields)


def _add_columns(connection: BaseDatabaseWrapper, model: type[models.Model], missing: list[Any]) -> None:
    if not missing:
        return
    try:
        with transaction.atomic(using=connection.alias), connection.schema_editor(atomic=False) as editor:
            editor.execute(f"SET LOCAL lock_timeout = '{PATIENCE}'")
            for field in missing:
                definition, params = editor.column_sql(model, field)
                editor.execute(
                    f"ALTER TABLE {Name.from_django(model._meta.db_table)} ADD COLUMN IF NOT EXISTS"
                    f" {Name.from_django(field.column)} {definition}",
                    params or None,
                )
            if issubclass(model, Signed):
                model.columns_added(connection, [field.column for field in missing])
    except DatabaseError as error:
        names = ", ".join(field.column for field in missing)
        raise StepFailed(
            f"The table {model._meta.db_table} was made by an earlier version of safemigrations and has no {names}, and"
            f" this role could not add that: {str(error).strip()}\nRun migrate once, as the owner of that table, on the"
            " primary."
        ) from error
