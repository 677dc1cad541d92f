"""AddConstraint of an ExclusionConstraint, or of a class that nothing is known about: refused.

ALTER TABLE ... ADD CONSTRAINT EXCLUDE builds its index while nobody can read or write. PostgreSQL has no other way: an
exclusion constraint can't take over an index, and can't be NOT VALID.
https://www.postgresql.org/docs/current/sql-altertable.html#SQL-ALTERTABLE-DESC-ADD-TABLE-CONSTRAINT-USING-INDEX

So the rule says what can be done instead, and a person decides.
"""

from __future__ import annotations

from django.db.migrations.operations import AddConstraint
from django.db.models import BaseConstraint, CheckConstraint, UniqueConstraint

from .rule import Context, Finding, Rule


def find(operation: AddConstraint, context: Context) -> Finding | None:
    if isinstance(operation.constraint, CheckConstraint | UniqueConstraint):
        return None
    what = f"AddConstraint {operation.constraint.name} on {operation.model_name}"
    if not _is_exclusion(operation.constraint):
        return Finding(
            f"{what} adds a {type(operation.constraint).__name__}, and nothing is known about what it locks or reads.",
            way_by_hand=(
                "Look at its SQL with sqlmigrate; where it is harmless, or the table small, say so with allow_unsafe "
                "on the migration."
            ),
        )
    return Finding(
        f"{what} builds its index while nobody can read or write, and PostgreSQL has no online way to add an exclusion "
        "constraint. The old release fails where it writes what the constraint forbids.",
        way_by_hand=(
            "Measure it on a copy of the table. Where the wait can be borne, say so with allow_unsafe on the "
            "migration: migrate takes the lock without queueing anybody. Where it can't, make a new table with the "
            "constraint, let a release write to both, copy the rows in batches, and let the next release read the new "
            "one."
        ),
    )


def _is_exclusion(constraint: BaseConstraint) -> bool:
    """Told by the name of the class: to import it loads psycopg, which a laptop with SQLite doesn't have."""
    return any(cls.__module__ == "django.contrib.postgres.constraints" for cls in type(constraint).__mro__)


rule = Rule("safemigrations.E034", AddConstraint, find)
