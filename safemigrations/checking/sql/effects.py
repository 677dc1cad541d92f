"""What a statement does to those who use the table: its lock, its work, and what it does to the old release.

One table for every kind of statement that is recognised. The facts were measured on PostgreSQL 13 to 18.
https://www.postgresql.org/docs/current/sql-altertable.html#SQL-ALTERTABLE-NOTES
https://www.postgresql.org/docs/current/explicit-locking.html
"""

from __future__ import annotations

from ...data import Data
from ...operations.rule import Level
from ..scene import ACCESS_EXCLUSIVE

EXCLUSIVE, SHARE_ROW_EXCLUSIVE = "EXCLUSIVE", "SHARE ROW EXCLUSIVE"
SHARE, SHARE_UPDATE_EXCLUSIVE, ROW = "SHARE", "SHARE UPDATE EXCLUSIVE", ""
STOPS_WRITERS = {ACCESS_EXCLUSIVE, EXCLUSIVE, SHARE_ROW_EXCLUSIVE, SHARE}

INDEX, TRANSACTION, REWRITE = "safemigrations.E200", "safemigrations.E201", "safemigrations.E202"
SCAN, FOREIGN_KEY, GOES = "safemigrations.E203", "safemigrations.E204", "safemigrations.E205"
REFUSES, DROP_INDEX = "safemigrations.E206", "safemigrations.E207"
LOCK, ROWS, HELD = "safemigrations.E208", "safemigrations.E209", "safemigrations.E210"
INVALID = "safemigrations.W212"

WRITERS_WAIT = "while nobody can write to {table}"
ALL_WAIT = "while nobody can read or write {table}"
OLD = "the release that is still running"
ONLINE_INDEX = "Use CREATE INDEX CONCURRENTLY, alone in its RunSQL, with atomic = False on the migration."
NEW_COLUMN = (
    "Change the field in models.py and run makemigrations: it writes the way that fills a second column in batches. Or "
    "add a nullable column, keep it filled with a trigger, and fill the rows with Backfill."
)
TWO_STEPS = (
    "Add it NOT VALID, and validate it with ALTER TABLE ... VALIDATE CONSTRAINT in a transaction of its own: that lets "
    "others read and write."
)
LATER = (
    "Let it go after the rollout: take the field or model out of models.py and run makemigrations, which writes the "
    "operation that drops it with the contract."
)


class Cost(Data):
    """`id` is empty where the statement alone hurts nobody. `work` is what takes long, or goes wrong, in words."""

    id: str
    lock: str
    work: str = ""
    remedy: str = ""
    level: Level = "error"
    long: bool = True  # does it take longer the larger the table is?


COSTS: dict[str, Cost] = {
    # Instant behind a lock.
    "brief": Cost("", ACCESS_EXCLUSIVE, long=False),
    "brief for writers": Cost("", SHARE_ROW_EXCLUSIVE, long=False),
    "online": Cost("", SHARE_UPDATE_EXCLUSIVE),
    "brief online": Cost("", SHARE_UPDATE_EXCLUSIVE, long=False),
    "rows": Cost("", ROW, long=False),
    "copied rows": Cost("", ROW),
    # Indexes.
    "CREATE INDEX": Cost(INDEX, SHARE, f"builds the index {WRITERS_WAIT}", ONLINE_INDEX),
    "REINDEX": Cost(INDEX, SHARE, f"builds indexes anew {WRITERS_WAIT}", "Use REINDEX ... CONCURRENTLY."),
    "ADD UNIQUE": Cost(
        INDEX,
        ACCESS_EXCLUSIVE,
        f"builds its index {ALL_WAIT}",
        "Build a unique index CONCURRENTLY first, and add the constraint with UNIQUE USING INDEX. Or write it into "
        "models.py and run makemigrations.",
    ),
    "ADD EXCLUDE": Cost(
        INDEX,
        ACCESS_EXCLUSIVE,
        f"builds its index {ALL_WAIT}",
        "PostgreSQL has no online way. Measure it on a copy; decide with allow_unsafe, or fill a new table.",
    ),
    "DROP INDEX": Cost(
        DROP_INDEX,
        ACCESS_EXCLUSIVE,
        "drops the index at once: everybody queues behind its ACCESS EXCLUSIVE lock, and the queries of "
        f"{OLD} may want the index",
        "After the rollout, use DROP INDEX CONCURRENTLY with atomic = False; or RemoveIndexLater for an index of "
        "Meta.indexes.",
        long=False,
    ),
    "IF NOT EXISTS": Cost(
        INVALID,
        SHARE_UPDATE_EXCLUSIVE,
        "accepts an index of that name that an earlier build left INVALID",
        "Use AddIndexConcurrently, which builds such an index again; or drop it first, with DROP INDEX CONCURRENTLY IF "
        "EXISTS.",
        "warning",
    ),
    # Work on every row.
    "SET NOT NULL": Cost(
        SCAN,
        ACCESS_EXCLUSIVE,
        f"reads every row {ALL_WAIT}",
        "Add CHECK (... IS NOT NULL) NOT VALID, validate it in another transaction, and then SET NOT NULL: the check "
        "proves it. Or run makemigrations, which writes SetNotNullLater.",
    ),
    "ADD CHECK": Cost(SCAN, ACCESS_EXCLUSIVE, f"reads every row {ALL_WAIT}", TWO_STEPS),
    "ATTACH PARTITION": Cost(
        SCAN,
        ACCESS_EXCLUSIVE,
        "reads every row of the new partition while nobody can read or write it",
        "First add a check NOT VALID to the new partition that says what its bounds say, and validate it.",
    ),
    "ALTER DOMAIN": Cost(SCAN, SHARE, "reads every table that uses the domain while nobody can write to it", TWO_STEPS),
    "ADD FOREIGN KEY": Cost(
        FOREIGN_KEY,
        SHARE_ROW_EXCLUSIVE,
        "reads every row of {table} while nobody can write to it or to the table that it points at",
        TWO_STEPS,
    ),
    "ALTER TYPE": Cost(REWRITE, ACCESS_EXCLUSIVE, f"rewrites the table and its indexes {ALL_WAIT}", NEW_COLUMN),
    "ALTER TYPE that makes anew": Cost(
        REWRITE,
        ACCESS_EXCLUSIVE,
        f"makes an index, a check or a foreign key anew that relies on the column, {ALL_WAIT}",
        NEW_COLUMN,
    ),
    "ADD COLUMN that rewrites": Cost(
        REWRITE,
        ACCESS_EXCLUSIVE,
        f"rewrites the table {ALL_WAIT}",
        "Add the column nullable and without that, set the default in a second statement, and fill the rows with "
        "Backfill.",
    ),
    "ADD COLUMN with a check": Cost(SCAN, ACCESS_EXCLUSIVE, f"reads every row {ALL_WAIT}", TWO_STEPS),
    "rewrite": Cost(
        REWRITE,
        ACCESS_EXCLUSIVE,
        f"rewrites the table {ALL_WAIT}",
        "Do it outside of a deploy, with a tool that works online (pg_repack, pg_squeeze); or decide with allow_unsafe "
        "that the table is small.",
    ),
    "REFRESH": Cost(
        REWRITE,
        ACCESS_EXCLUSIVE,
        "computes the view anew while nobody can read {table}",
        "Use REFRESH MATERIALIZED VIEW CONCURRENTLY; it needs a unique index.",
    ),
    # What the old release uses, or writes.
    "DROP": Cost(GOES, ACCESS_EXCLUSIVE, f"takes away what {OLD} uses in its queries", LATER, long=False),
    "RENAME": Cost(
        GOES,
        ACCESS_EXCLUSIVE,
        f"takes away a name that {OLD} uses in its queries",
        "Rename the field or model in models.py and run makemigrations: both names work until the contract. Or keep "
        "the name with db_column or db_table.",
        long=False,
    ),
    "TRUNCATE": Cost(
        GOES,
        ACCESS_EXCLUSIVE,
        f"takes away every row that {OLD} reads, behind an ACCESS EXCLUSIVE lock",
        "Delete in batches after the rollout; or decide with allow_unsafe that nobody uses the table.",
        long=False,
    ),
    "DROP CASCADE": Cost(
        GOES,
        ACCESS_EXCLUSIVE,
        "also drops whatever depends on it, which nobody listed",
        "Drop what depends on it by name, after the rollout.",
        "warning",
        long=False,
    ),
    "REVOKE": Cost(
        GOES,
        ROW,
        f"takes a right away that {OLD} may need",
        "Take it away after the rollout; or decide with allow_unsafe that no release works with that role.",
        "warning",
        long=False,
    ),
    "OWNER": Cost(
        GOES,
        ACCESS_EXCLUSIVE,
        f"takes every right from the owner of before, which may be the role of {OLD}",
        "First grant to the role of the releases what they need; or decide with allow_unsafe that it stays a member.",
        "warning",
        long=False,
    ),
    "RULE": Cost(
        GOES,
        ACCESS_EXCLUSIVE,
        f"does something else than what {OLD} asks for",
        "Create it after the rollout; or decide with allow_unsafe that no release needs what it takes the place of.",
        "warning",
        long=False,
    ),
    "row security": Cost(
        GOES,
        ACCESS_EXCLUSIVE,
        f"hides every row that no policy shows, and {OLD} knows of no policy",
        "First create a policy that shows it every row; or decide with allow_unsafe that it is the owner of the table, "
        "or has BYPASSRLS.",
        "warning",
        long=False,
    ),
    "DROP PRIMARY KEY": Cost(
        GOES,
        ACCESS_EXCLUSIVE,
        f"takes away what keeps rows apart, and what ON CONFLICT of {OLD} names",
        "Build the new key's index CONCURRENTLY, and let the old key go after the rollout.",
        "warning",
        long=False,
    ),
    "DISABLE TRIGGER": Cost(
        GOES,
        SHARE_ROW_EXCLUSIVE,
        "switches triggers off for everybody: what others write meanwhile isn't checked, nor filled",
        "Switch them on again in the same transaction; or leave them on.",
        "warning",
        long=False,
    ),
    "trigger that raises": Cost(
        REFUSES,
        SHARE_ROW_EXCLUSIVE,
        f"calls a function that raises an error, and {OLD} doesn't know what it must write",
        "Let the trigger fill what is missing. Or create it after the rollout; or decide with allow_unsafe that what "
        "the running release writes is never refused.",
        "warning",
        long=False,
    ),
    "NOT NULL without a default": Cost(
        REFUSES,
        ACCESS_EXCLUSIVE,
        f"fails if the table has a row, and every INSERT of {OLD} fails, as it doesn't know the column",
        "Give it a DEFAULT that stays until the release after next. Or write the field into models.py and run "
        "makemigrations.",
        long=False,
    ),
    "DROP DEFAULT": Cost(
        REFUSES,
        ACCESS_EXCLUSIVE,
        f"takes away the default that {OLD} relies on: its INSERT leaves the column out and fails on NOT NULL",
        "Keep the default until no release leaves the column out. Take db_default out of models.py and run "
        "makemigrations, which writes DropDefaultLater.",
        long=False,
    ),
    "RESTART": Cost(
        REFUSES,
        ROW,
        f"gives keys again that rows have: the next INSERT of {OLD} fails on them",
        "Set it behind the last key: SELECT setval('...', (SELECT max(id) FROM ...)).",
        long=False,
    ),
    # Locks and rows.
    "LOCK": Cost(
        LOCK,
        ACCESS_EXCLUSIVE,
        "keeps others waiting until the transaction ends",
        "Leave the lock to the statement that needs it; migrate takes it without queueing anybody.",
        long=False,
    ),
    "every row": Cost(
        ROWS,
        ROW,
        "locks every row that it changes until its transaction ends, and whoever writes these rows waits. When it is "
        "killed, all of it was in vain",
    ),
    "some rows": Cost(
        ROWS,
        ROW,
        "locks every row that it changes until its transaction ends; nothing here says that these are few",
        level="warning",
    ),
}
