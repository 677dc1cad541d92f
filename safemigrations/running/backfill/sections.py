"""How a table is divided: sections, passes over a section, batches.

An update leaves a dead row behind. PostgreSQL can put the next version of a row on the same page (HOT: no index is
written, and half the WAL) only where the page has room. So the worker goes over a section in several passes, each of
which fills every tenth row: PostgreSQL prunes the dead rows of one pass when the next pass comes to the page. A section
is small enough to stay in memory meanwhile. Where nothing would be pruned, because an index has the column or an old
snapshot is open, one pass is quicker.

The fences of a section are keys that exist, or numbers of pages, so a gap of billions between two keys costs nothing.
"""

from __future__ import annotations

from django.db.backends.base.base import BaseDatabaseWrapper

from ...plans.steps import Backfill
from .progress import Progress, Section
from .table import PASSES, Key, Part, columns_set, fetch, is_gone, is_indexed, row_of, texts

FENCES = 50  # in a section
BATCHES = 4  # in a pass; other transactions have to end during a pass, else nothing can be pruned
MOST_ROWS = 200_000  # in a section
SHARE = 4  # a section may take a fourth of shared_buffers
SHARES = 5  # a section is a fifth of what is left where two connections take turns
LEAST_ROWS = 20_000  # in such a section


def next_section(
    connection: BaseDatabaseWrapper,
    step: Backfill,
    progress: Progress,
    size: float,
    *,
    passes: int,
    shared: bool = False,
) -> Section | None:
    """The section after the one that was handed out last; None when all were. The caller has locked `progress`.

    `shared`: two connections take turns. Then the last sections are small, so that both end at about the same time.
    """
    parts = progress.all_parts
    while progress.part < len(parts):
        part = parts[progress.part]
        every = _rows_between_fences(connection, part, size, passes)
        if shared:
            every = min(every, max(LEAST_ROWS, _rows_left(part, progress.after) // SHARES) // FENCES)
        fences = _fences(connection, step, part, progress.after, every)
        if fences:
            progress.after = fences[-1]
            if not part.residue:
                passes = 1
            return Section(
                progress=progress.pk, part=progress.part, fences=fences, rows=every, passes=passes, size=size
            )
        progress.part, progress.after = progress.part + 1, []
    return None


def _rows_left(part: Part, after: Key) -> int:
    """About how many rows of this part are in no section yet; where sections follow the key, nobody knows."""
    if part.by_key or not part.last:
        return MOST_ROWS * SHARES
    return (int(part.last[0]) - (int(after[0]) if after else 0)) * part.rows_per_page


def _rows_between_fences(connection: BaseDatabaseWrapper, part: Part, size: float, passes: int) -> int:
    query = "SELECT setting::bigint FROM pg_settings WHERE name = 'shared_buffers'"
    buffers = int(fetch(connection, query)[0][0])
    most = max(1000, min(MOST_ROWS, buffers // SHARE * part.rows_per_page))
    return max(1, round(min(most, size * passes * BATCHES) / FENCES))


def _fences(connection: BaseDatabaseWrapper, step: Backfill, part: Part, after: Key, every: int) -> list[Key]:
    """The end of the section before this one, then what divides this one; nothing where no row is left."""
    if not part.last or is_gone(connection, step, part.name):
        return []
    if not part.by_key:
        return _fences_of_pages(part, after, every)
    found = _keys(connection, step, part, after, every)
    if not found:
        return []
    if len(found) < FENCES and found[-1] != part.last:
        found.append(part.last)  # the last few rows; somebody may have deleted the largest key since
    return [after, *found]


def _fences_of_pages(part: Part, after: Key, every: int) -> list[Key]:
    first, last, pages = int(after[0]) if after else 0, int(part.last[0]), max(1, every // part.rows_per_page)
    if first >= last:
        return []
    end = min(last, first + pages * FENCES)
    return [[str(page)] for page in (*range(first, end, pages), end)]


def _keys(connection: BaseDatabaseWrapper, step: Backfill, part: Part, after: Key, every: int) -> list[Key]:
    """One key in every so many rows; where fewer rows are left, the last key."""
    key, columns = step.key, ", ".join(step.key)
    inner = ", ".join(f"found.{column}" for column in key)
    below = f"({columns}) <= {row_of(part.last)}"

    def one(where: str, skip: int) -> str:
        return f"SELECT {columns} FROM {part.name} WHERE {where} AND {below} ORDER BY {columns} OFFSET {skip} LIMIT 1"

    start = f"({columns}) > {row_of(after)}" if after else "TRUE"
    if not fetch(connection, f"SELECT EXISTS ({one(start, 0)})")[0][0]:  # a key itself may be more than Python can hold
        return []
    query = (
        f"WITH RECURSIVE found (n, {columns}) AS ("
        f"(SELECT 1, first.* FROM ({one(start, every - 1)}) AS first)"
        f" UNION ALL SELECT found.n + 1, next.* FROM found CROSS JOIN LATERAL ("
        f"{one(f'({_of(part.name, key)}) > ({inner})', every - 1)}) AS next WHERE found.n < {FENCES})"
        f" SELECT {texts(key)} FROM found ORDER BY n"
    )
    return [list(row) for row in fetch(connection, query)] or [part.last]


def _of(name: str, key: tuple[str, ...]) -> str:
    return ", ".join(f"{name}.{column}" for column in key)


class Passes:
    """How many passes the next section gets."""

    def __init__(self, connection: BaseDatabaseWrapper, step: Backfill) -> None:
        self.connection, self.step = connection, step
        self.is_sparse = False  # few rows of the last section had to be filled
        self.horizon: int | None = None  # the transaction at which the last section was taken

    def for_next(self, part: Part) -> tuple[int, str]:
        """Return how many passes pay, and why if it is one for a reason that is to be told."""
        if self.is_sparse:
            return 1, ""
        passes, reason = passes_for(self.connection, part, columns_set(self.step), self.horizon)
        now_at = "pg_snapshot_xmax(pg_current_snapshot())::text::numeric % 4294967296"
        self.horizon = int(fetch(self.connection, f"SELECT {now_at}")[0][0])
        return passes, reason


def passes_for(connection: BaseDatabaseWrapper, part: Part, columns: list[str], horizon: int | None) -> tuple[int, str]:
    """How many passes pay, and why where it is only one.

    `horizon`: a transaction that is some time ago. Where a snapshot is still older, nothing since then can be pruned.
    """
    if not part.residue or part.rows_per_page < PASSES / 2:
        return 1, ""
    if is_indexed(connection, part.name, columns):
        return 1, "an index contains the column, so no update can be HOT: one pass"
    if horizon is not None and _oldest(connection) > age_of(connection, horizon):
        return 1, "an old snapshot keeps dead rows alive: one pass until it has gone"
    return PASSES, ""


def _oldest(connection: BaseDatabaseWrapper) -> int:
    """The age, in transactions, of the oldest snapshot that keeps dead rows of this database; VACUUM's keeps none."""
    query = (
        "SELECT coalesce(max(age(x)), 0) FROM ("
        "SELECT backend_xmin FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
        " AND (datname = current_database() OR backend_type = 'walsender')"
        " AND pid NOT IN (SELECT pid FROM pg_stat_progress_vacuum)"
        " UNION ALL SELECT xmin FROM pg_replication_slots"
        " UNION ALL SELECT transaction FROM pg_prepared_xacts WHERE database = current_database()) AS old (x)"
    )
    return int(fetch(connection, query)[0][0])


def age_of(connection: BaseDatabaseWrapper, xid: int) -> int:
    return int(fetch(connection, f"SELECT age('{xid}'::xid)")[0][0])


def condition_of(step: Backfill, part: Part, section: Section, upto: int) -> str:
    """The rows of the next batch: between two fences, those of this pass."""
    low, high = section.fences[section.at], section.fences[upto]
    if part.by_key:
        columns = ", ".join(step.key)
        where = f"({columns}) <= {row_of(high)}"
        where += f" AND ({columns}) > {row_of(low)}" if low else ""
    else:
        where = f"ctid >= '({low[0]},0)' AND ctid < '({high[0]},0)'"
    return where if section.passes == 1 else f"{where} AND {part.residue} = {section.number}"


def shared_batch(section: Section) -> float:
    """The rows of a batch where two connections work: dead rows of one stay until the next commit of the other."""
    return section.rows * (len(section.fences) - 1) / section.passes / BATCHES


def next_fence(section: Section, size: float) -> int:
    """The number of the fence at which a batch of about `size` rows ends."""
    steps = round(size * section.passes / max(1, section.rows))
    return min(len(section.fences) - 1, section.at + max(1, steps))
