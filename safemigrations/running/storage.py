"""Tables of this package's own, made on first use as MigrationRecorder makes django_migrations.

A later version may know more columns than the one that made a table. Whoever reads or writes the table adds them first.
So a column that comes later is nullable or has a default in the database: a process of the version before goes on
inserting rows without it.
"""

from __future__ import annotations

from typing import Any

from django.db import DatabaseError, models, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from ..errors import StepFailed

PATIENCE = "2s"  # for the lock: nobody but commands of ours and a probe uses these tables


def has_table(connection: BaseDatabaseWrapper, model: type[models.Model]) -> bool:
    """Is the table there? With all the columns that this version knows, then."""
    there = _columns(connection, model)
    if there:
        _add_columns(connection, model, [field for field in _fields(model) if field.column not in there])
    return bool(there)


def ensure_table(connection: BaseDatabaseWrapper, model: type[models.Model]) -> None:
    if has_table(connection, model):
        return
    try:
        with transaction.atomic(using=connection.alias), connection.schema_editor(atomic=False) as editor:
            editor.create_model(model)
    except DatabaseError:
        if not has_table(connection, model):  # else somebody else made it at the same moment
            raise


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
                    f"ALTER TABLE {editor.quote_name(model._meta.db_table)} ADD COLUMN IF NOT EXISTS"
                    f" {editor.quote_name(field.column)} {definition}",
                    params or None,
                )
    except DatabaseError as error:
        names = ", ".join(field.column for field in missing)
        raise StepFailed(
            f"The table {model._meta.db_table} was made by an earlier version of safemigrations and has no {names}, and"
            f" this role could not add that: {str(error).strip()}\nRun migrate once, as the owner of that table, on the"
            " primary."
        ) from error
