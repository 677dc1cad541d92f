"""On the way back, operations with an open contract that a squash has merged into others.

squashmigrations makes one CreateModel of a model and of what was done to it later. Whoever takes back such a squash
drops the table, and not the functions of our triggers. The contract would stay open, for a table that is made anew.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations import Migration

from ..contracts import loaded
from ..errors import to_type
from ..operations.base import Change
from ..operations.of_migration import unwrapped


def refusals(connection: BaseDatabaseWrapper, migrations: Iterable[Migration]) -> Iterator[str]:
    for migration in migrations:
        if not migration.replaces:
            continue
        names = [migration.name, *(name for _, name in migration.replaces)]
        known = {one.identity for one in unwrapped(migration) if isinstance(one, Change)}
        rows = loaded().queue.holding(connection, app_label=migration.app_label, migration__in=names)
        if left := ", ".join(f"{row.migration} ({row.label})" for row in rows if row.operation not in known):
            yield (
                f"{migration.app_label}.{migration.name} can't be taken back while contracts of what was squashed into "
                f"it are open: {left}. The squash no longer has the operations that left them. Nothing was changed. "
                f"Run {to_type('migrate --contract', connection.alias)} first, or go back with the code from before "
                "the squash."
            )
