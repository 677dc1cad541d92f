"""Which tables are this package's own, and whether somebody else may write them.

What stands in some of them is run with the rights of whoever migrates, so it must not be anybody else's.
"""

from __future__ import annotations

from django.db.backends.base.base import BaseDatabaseWrapper

from ..errors import StepFailed
from ..postgres.privileges import foreign_owner, others_who_write
from ..postgres.values import literal

OF_CONTRACTS = ("safemigrations_contract",)
OF_BACKFILLS = ("safemigrations_backfill", "safemigrations_backfill_section")
OF_WAYS_BACK = ("safemigrations_reversal",)
RECORDS = ("safemigrations_history", "safemigrations_history_step", "safemigrations_act", *OF_WAYS_BACK)
OURS = (*OF_CONTRACTS, "safemigrations_release", *OF_BACKFILLS)  # what they hold decides what is run
ALL = (*OURS, *RECORDS)


def refuse_others(connection: BaseDatabaseWrapper) -> None:
    """Raise StepFailed where somebody else may write one of our tables: what stands there may be anybody's."""
    if problems := open_to_others(connection):
        raise StepFailed(
            "Tables whose content is run with the rights of this role may be written by others. Nothing was changed. "
            f"Look whether what they hold is yours, and type: {' '.join(problems)} Then run the same command again."
        )


def open_to_others(connection: BaseDatabaseWrapper) -> list[str]:
    """The statements after which nobody else may write one of these tables."""
    writers, owners = (" UNION ALL ".join(map(query, OURS)) for query in (_writers, _owners))
    with connection.cursor() as cursor:
        cursor.execute(writers)
        statements = [f"REVOKE {what} ON {table} FROM {who};" for table, what, who in cursor.fetchall()]
        cursor.execute(owners)
        found = cursor.fetchall()
    return statements + [f"ALTER TABLE {table} OWNER TO CURRENT_USER; -- it is {who}'s" for table, who in found]


def _writers(table: str) -> str:
    return f"SELECT {literal(table)}, found.* FROM ({others_who_write(table)}) AS found"


def _owners(table: str) -> str:
    return f"SELECT {literal(table)}, found.* FROM ({foreign_owner(table, 'django_migrations')}) AS found"
