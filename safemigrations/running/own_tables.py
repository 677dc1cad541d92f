"""Which tables are this package's own, and whether somebody else may write them.

What stands in some of them is run with the rights of whoever migrates, so it must not be anybody else's.
"""

from __future__ import annotations

from django.db.backends.base.base import BaseDatabaseWrapper

from ..errors import StepFailed
from ..postgres.privileges import foreign_owner, others_who_write

OF_CONTRACTS = ("safemigrations_contract",)
OF_BACKFILLS = ("safemigrations_backfill", "safemigrations_backfill_section")
RECORDS = (
    "safemigrations_history",
    "safemigrations_history_step",
    "safemigrations_act",
    "safemigrations_reversal",
)
OURS = (*OF_CONTRACTS, "safemigrations_release", *OF_BACKFILLS)  # what they hold decides what is run
ALL = (*OURS, *RECORDS)


def refuse_others(connection: BaseDatabaseWrapper) -> None:
    """Raise StepFailed where somebody else may write one of our tables: what stands there may be anybody's."""
    problems = [problem for table in OURS for problem in _of_others(connection, table)]
    if problems:
        raise StepFailed(
            "Tables whose content is run with the rights of this role may be written by others. Nothing was changed. "
            f"Look whether what they hold is yours, and type: {' '.join(problems)} Then run the same command again."
        )


def _of_others(connection: BaseDatabaseWrapper, table: str) -> list[str]:
    """The statements after which nobody else may write the table."""
    with connection.cursor() as cursor:
        cursor.execute(others_who_write(table))
        statements = [f"REVOKE {what} ON {table} FROM {who};" for what, who in cursor.fetchall()]
        cursor.execute(foreign_owner(table, "django_migrations"))
        owners = cursor.fetchall()
    return statements + [f"ALTER TABLE {table} OWNER TO CURRENT_USER; -- it is {owner}'s" for (owner,) in owners]
