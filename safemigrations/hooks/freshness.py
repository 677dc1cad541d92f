"""Remembers that the first migrate of a database hasn't ended.

When it was killed, it left no old release behind. So the next one is the first, too, until one is through: a comment on
the table django_migrations says so.
"""

from __future__ import annotations

from django.db.backends.base.base import BaseDatabaseWrapper

UNFINISHED = "safemigrations: the first migrate has not finished"


def is_unfinished(connection: BaseDatabaseWrapper) -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT obj_description(to_regclass('django_migrations'), 'pg_class')")
        return bool(cursor.fetchone()[0] == UNFINISHED)


def mark_unfinished(connection: BaseDatabaseWrapper) -> None:
    _comment(connection, f"'{UNFINISHED}'")


def mark_finished(connection: BaseDatabaseWrapper) -> None:
    _comment(connection, "NULL")


def _comment(connection: BaseDatabaseWrapper, text: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"COMMENT ON TABLE django_migrations IS {text}")
