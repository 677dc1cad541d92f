"""Tables of this package's own, made on first use as MigrationRecorder makes django_migrations."""

from __future__ import annotations

from django.db import DatabaseError, models, transaction
from django.db.backends.base.base import BaseDatabaseWrapper


def has_table(connection: BaseDatabaseWrapper, model: type[models.Model]) -> bool:
    table = model._meta.db_table
    with connection.cursor() as cursor:
        # Beside django_migrations: a schema further down the search_path may have tables of its own.
        cursor.execute(
            f"SELECT 1 FROM pg_class WHERE relname = '{table}' AND relnamespace = (SELECT relnamespace FROM pg_class"
            f" WHERE oid = coalesce(to_regclass('django_migrations'), to_regclass('{table}')))"
        )
        return cursor.fetchone() is not None


def ensure_table(connection: BaseDatabaseWrapper, model: type[models.Model]) -> None:
    if has_table(connection, model):
        return
    try:
        with transaction.atomic(using=connection.alias), connection.schema_editor(atomic=False) as editor:
            editor.create_model(model)
    except DatabaseError:
        if not has_table(connection, model):  # else somebody else made it at the same moment
            raise
