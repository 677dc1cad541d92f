"""Several files of one release: a later one says whose tables are new, so that they are judged together.

What Django cuts into several migrations, because models point at each other or because some operations need a
transaction, makes a table in one file and an index of it in another. No release uses the table yet.
"""

from __future__ import annotations

from typing import Any

from django.db.migrations import Migration

from ..checking.rules import model_named_by
from ..checking.same_release import ATTRIBUTE, created_by
from ..operations.base import Change
from ..typed import set_on


def name_new_tables(migrations: dict[str, list[Migration]]) -> None:
    """Let each migration name those of the same run whose tables it changes. The names come when they are written."""
    for parts in migrations.values():
        makers = dict[str, Migration]()
        for part in parts:
            changed = {model_named_by(each).lower() for each in part.operations if not isinstance(each, Change)}
            named = {id(maker): maker for name, maker in makers.items() if name in changed}
            if named and not part.initial:
                set_on(part, **{ATTRIBUTE: list(named.values())})
            makers |= dict.fromkeys(created_by(part), part)


def as_written(migration: Migration) -> str:
    """The line of the file; empty where the migration names none."""
    named: list[Any] = getattr(migration, ATTRIBUTE, [])
    keys = [(each.app_label, each.name) if isinstance(each, Migration) else each for each in named]
    return f"    {ATTRIBUTE} = {keys!r}  # no other release uses their tables\n\n" if keys else ""
