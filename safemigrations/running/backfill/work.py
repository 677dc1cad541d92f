"""The loop that fills a table: take a section, fill it batch by batch, until none is left.

Every batch is a short transaction. A lock timeout or a deadlock costs only that batch, which is tried again, smaller.
A row that somebody holds for long, or that a trigger or a constraint rejects, doesn't keep the others waiting: it is
remembered and comes last, on its own.
"""

from __future__ import annotations

import json
import math
import random
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

from django.conf import settings
from django.db import DatabaseError, OperationalError, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import F
from django.utils.timezone import localtime, now

from ... import conf
from ...errors import LockNotAcquired, StepFailed
from ...plans.steps import Backfill, Step
from .. import locks
from ..run import Report, Run, current_run
from ..session import Session
from . import progress as store
from . import second as second_connection
from .pace import SLOW, Pace, seconds_until_window
from .progress import Progress, Section, Status
from .rows import compression_of, patience_of, rows_of, short_transaction
from .second import Second
from .sections import condition_of, next_fence, next_section, passes_for, shared_batch
from .table import Key, Part, columns_set, condition, fetch, is_gone, parts_of, row_of
from .watch import Watch

POLL = 0.2  # seconds between looks at work that others do
SOON = 0.02  # where one of the same process does it
ABANDONED = 60  # seconds after which a section whose owner can't be seen is taken over
MOST_LEFT = 1000  # rows that may be left for the end
NAMED = 5  # of the rows that were rejected
CHUNK = 500  # keys that are filled together at the end
SWEPT = 100_000  # keys of rows that moved while their pages were gone over, remembered at a time
NAP = 1.0  # seconds of a long rest after which it is looked whether somebody changed the pace, or stopped it
TELL_EVERY = 10.0  # seconds between two lines about the same wait
TELL_SELDOM = 60.0  # where it goes on all the same
SHOW_EVERY = 1.0  # seconds between two looks at how far it is
SPARSE = 0.1  # of the rows looked at: where fewer had to be filled, one pass is enough

UNDEFINED_TABLE = "42P01"

Left = tuple[str, Key, str]  # part, key, error


def fill(session: Session, step: Backfill) -> str:
    """Fill every row that the guard selects, and return what there is to tell."""
    if not _is_large(session, step):
        return Work(session, step, None).at_once()
    run = current_run()
    of = {
        "app_label": run.migration.app_label if run.migration else "",
        "migration": run.migration.name if run.migration else "",
    }
    if store.is_through(session.connection, step, **of):
        return "filled before"
    if reason := _left_for_later(session, step, run):
        return reason
    found = store.begin(session.connection, step, **of, status=Status.RUNNING)
    return Work(session, step, found).run()


def _is_large(session: Session, step: Backfill) -> bool:
    """Is it worth, or necessary, to remember which rows were filled? Where the guard can't tell, it always is."""
    most = conf.backfill_batch_size() if step.clears else 0
    return bool(session.rows(f"SELECT 1 FROM {step.table} OFFSET {most} LIMIT 1"))


def _left_for_later(session: Session, step: Backfill, run: Run) -> str:
    """Where both releases can live with unfilled rows a large table needn't keep the deploy waiting."""
    if run.migration is None or run.contract == "immediately" or run.finish:
        return ""
    known = store.rows(session.connection, digest=store.digest(step), status__in=store.UNFINISHED).first()
    estimate = known.estimate if known else sum(part.rows for part in parts_of(session.connection, step))
    if estimate <= conf.backfill_inline_rows():
        return ""
    if not step.can_wait:
        reason = f"about {estimate:,} rows, filled now because the new release needs them"
        session.report.progress(step, reason)
        return ""
    if known is None:
        label, name = run.migration.app_label, run.migration.name
        store.begin(session.connection, step, app_label=label, migration=name, status=Status.PENDING)
    database = "" if session.connection.alias == "default" else f" --database {session.connection.alias}"
    return f"about {estimate:,} rows, left for: python manage.py safemigrations backfill run{database}"


class Stopped(StepFailed):
    """Somebody else stopped this backfill: it was cancelled, or it failed elsewhere."""


class Work:
    """One worker on one backfill; without `progress` on a table so small that it is filled in one batch."""

    def __init__(
        self,
        session: Session,
        step: Backfill,
        progress: Progress | None,
        *,
        until: float | None = None,
        only_in_window: bool = False,
        alone: bool = True,
        helps: Second | None = None,
    ) -> None:
        self.session, self.step, self.progress = session, step, progress
        self.connection = session.connection
        self.rows = rows_of(self.connection, step, session.apps)
        self.pace = Pace()
        self.patience = patience_of(self.connection)
        self.settings = compression_of(self.connection)
        self.until = until  # time.monotonic() at which to stop and leave the rest
        self.only_in_window = only_in_window
        self.alone = alone  # no other worker was started beside this one
        self.helps = helps  # this is the second connection's work
        self.second = helps
        self.number = random.SystemRandom().randrange(1, 2**63)
        self.began = time.monotonic()
        self.left: list[Left] = []  # where there is no progress to keep it in
        self.watch: Watch | None = None
        self.meter = _Meter()
        self.sparse = False
        self.horizon: int | None = None
        self.told: dict[str, float] = {}  # kind of news -> when

    # All in one batch.

    def at_once(self) -> str:
        filled = 0

        def then(count: int) -> None:
            nonlocal filled
            filled += count

        self._try(None, self.step.table, lambda: "TRUE", then, leaving=True)
        left, self.left = self.left, []
        for part, key, _ in left:
            self._try(None, part, lambda key=key: condition(self.step.key, [key]), then, leaving=False)  # type: ignore[misc]
        if self.left:
            raise StepFailed(_rejected(self.step, self.left))
        return self._summary(filled)

    # In sections.

    def run(self) -> str:
        """Work until the backfill is done, and return what there is to tell. Raises StepFailed and LockNotAcquired."""
        try:
            self.meter.first = store.totals(self.connection, self._progress)
            with ExitStack() as stack:
                self._watch(stack)
                for section in self._sections():
                    self._finish(section) if section.ending else self._fill_section(section)
        except Stopped:
            raise
        except (StepFailed, LockNotAcquired, DatabaseError) as error:
            if not is_lost(error):  # else others go on, and so does the next run
                running = store.rows(self.connection, pk=self._progress.pk, status=Status.RUNNING)
                running.update(status=Status.FAILED, last_error=str(error))
            raise
        finally:
            self._let_go()
        self._progress.refresh_from_db(using=self.connection.alias)
        return self._summary(self._progress.filled)

    def _watch(self, stack: ExitStack) -> None:
        helped = self._may_be_helped()
        self.watch = stack.enter_context(Watch(self.connection, self.step, early=helped))
        if helped:
            stack.callback(self._heed)  # what failed while it ended
            self.second = stack.enter_context(Second(self.connection, self.step, self.watch, self._help))

    def _may_be_helped(self) -> bool:
        return (
            self.alone
            and self.until is None
            and conf.backfill_second_connection()
            and self.step.function is None  # Python computes one at a time, and needn't expect another thread
            and self._progress.estimate >= second_connection.ROWS
            and not self.connection.in_atomic_block
        )

    def _help(self, connection: BaseDatabaseWrapper) -> bool:
        """What the second connection does, in its own thread."""
        assert self.second
        session = Session(connection, _Relay(self.second))
        work = Work(session, self.step, self._progress, only_in_window=self.only_in_window, helps=self.second)
        work.watch, work.pace.size = self.watch, self.pace.size
        with suppress(Stopped):  # the first finds the same
            try:
                for section in work._sections():
                    work._fill_section(section)
            finally:
                work._let_go()
        return work.is_over

    def _heed(self) -> None:
        """Tell what the second connection has to tell, and raise what it met."""
        if self.second is None or self.helps:
            return
        for text in self.second.news():
            self._tell(text, every=TELL_SELDOM)
        if (error := self.second.error) and not is_lost(error):
            raise error
        if error:
            self._tell(f"one connection: the second was lost ({str(error).strip().splitlines()[0]})", every=math.inf)

    def _let_go(self) -> None:
        """Somebody else may go on at once."""
        if self.connection.is_usable():
            store.sections(self.connection, self._progress).filter(worker=self.number).update(owner=0)

    def _update(self, **values: object) -> None:
        store.rows(self.connection, pk=self._progress.pk).update(**values)

    @property
    def _progress(self) -> Progress:
        assert self.progress
        return self.progress

    @property
    def is_over(self) -> bool:
        if self.helps and not (self.helps.may_work and self.pace.rate is None):
            return True
        if self.until is not None and time.monotonic() > self.until:
            return True
        return self.only_in_window and seconds_until_window(localtime(now()) if settings.USE_TZ else now()) > 0

    def _sections(self) -> Iterator[Section]:
        while not self.is_over:
            self._heed()
            section = self._take()
            if section == "finished":
                return
            if not isinstance(section, Section):
                if self.until is not None and self._progress.status == Status.PAUSED:
                    return  # a task holds no worker meanwhile
                time.sleep(SOON if self._is_shared and self._progress.status == Status.RUNNING else POLL)
            elif section.is_done:  # whoever did it was killed before it was counted
                self._close(section)
            else:
                yield section

    @property
    def _is_shared(self) -> bool:
        """Is there a second connection at work?"""
        return self.second is not None and self.second.is_at_work

    def _take(self) -> Section | str:
        """An open section that nobody works on, else a new one; "wait" while only others have work."""
        try:
            with short_transaction(self.connection, self.patience):
                query = store.rows(self.connection, pk=self._progress.pk).select_for_update(nowait=True)
                progress = query.first()
                if progress is None:
                    raise Stopped(f"{self.step.why}: the backfill was taken back while it ran.")
                self.progress = progress
                if not self._may_work():
                    return "wait"
                section = self._abandoned() or self._new(progress)
                if section is None:
                    return self._end(progress)
                self._own(section)
                return section
        except DatabaseError as error:
            if locks.is_retried(error):
                return "wait"
            raise

    def _may_work(self) -> bool:
        status, self.pace.given = self._progress.status, self._progress.pace
        if status == Status.CANCELLED:
            raise Stopped(
                f"{self.step.why}: this backfill was cancelled. Rows that are filled stay filled. To go on, run the "
                "same command again after: python manage.py safemigrations backfill resume"
            )
        if status == Status.FAILED:
            raise Stopped(self._progress.last_error)
        if status == Status.PAUSED:
            self._tell("paused; to go on: python manage.py safemigrations backfill resume")
        return status in (Status.RUNNING, Status.DONE)

    def _abandoned(self) -> Section | None:
        which = " AND NOT ending" if self.helps else ""
        ids = fetch(
            self.connection,
            f"SELECT id FROM safemigrations_backfill_section WHERE progress = {self._progress.pk}{which}"
            f" AND (worker = {self.number} OR owner NOT IN (SELECT pid FROM pg_stat_activity)"
            f" OR touched_at < now() - interval '{ABANDONED} s') ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED",
        )
        return store.sections(self.connection, self._progress).get(pk=ids[0][0]) if ids else None

    def _new(self, progress: Progress) -> Section | None:
        if progress.part >= len(progress.parts):
            return None
        section = next_section(
            self.connection,
            self.step,
            progress,
            self.pace.rows,
            passes=self._passes(progress),
            shared=self._is_shared,
        )
        progress.save(using=self.connection.alias, update_fields=["part", "after"])
        return section

    def _passes(self, progress: Progress) -> int:
        if self.sparse:
            return 1
        part = progress.all_parts[progress.part]
        passes, reason = passes_for(self.connection, part, columns_set(self.step), self.horizon)
        now_at = "pg_snapshot_xmax(pg_current_snapshot())::text::numeric % 4294967296"
        self.horizon = int(fetch(self.connection, f"SELECT {now_at}")[0][0])
        if reason:
            self._tell(reason, every=TELL_SELDOM)
        return passes

    def _end(self, progress: Progress) -> Section | str:
        if self.helps:
            return "finished"
        if store.sections(self.connection, progress).exists():
            return "wait"
        if progress.ending:
            return "finished"
        progress.ending = True
        progress.save(using=self.connection.alias, update_fields=["ending"])
        section = Section(progress=progress.pk, part=0, ending=True)
        self._own(section)
        return section

    def _own(self, section: Section) -> None:
        ((section.owner,),) = fetch(self.connection, "SELECT pg_backend_pid()")
        section.worker = self.number
        section.save(using=self.connection.alias)
        self._move(section, {})

    def _move(self, section: Section, values: Mapping[str, object]) -> None:
        """The time is the server's: clocks of machines that share the work may differ."""
        sets = "".join(f'"{name}" = {value!r}, ' for name, value in values.items())  # numbers
        with self.connection.cursor() as cursor:
            cursor.execute(
                f"UPDATE safemigrations_backfill_section SET {sets}touched_at = now() WHERE id = {section.pk}"
            )

    def _fill_section(self, section: Section) -> None:
        part = self._progress.all_parts[section.part]
        self.pace.size = section.size or self.pace.size
        while not section.is_done and self._yield():
            if not self._batch(section, part):
                return  # somebody else has it, or it was paused
        if section.is_done:
            self.sparse = section.filled < SPARSE * section.visited
            self._close(section)

    def _batch(self, section: Section, part: Part) -> bool:
        upto, began, moved = section.at, 0.0, {"filled": 0}

        def where() -> str:
            nonlocal upto, began
            most = shared_batch(section) if self._is_shared else math.inf
            upto, began = next_fence(section, min(self.pace.rows, most)), time.monotonic()
            return condition_of(self.step, part, section, upto)

        def then(filled: int) -> None:
            nonlocal moved
            visited = (upto - section.at) * section.rows / section.passes
            self.pace.took(time.monotonic() - began, visited)
            moved = _moved(section, upto, visited, filled, self.pace.size)
            self._move(section, moved)

        try:
            if not self._try(section, part.name, where, then, leaving=True):
                return False
        except DatabaseError as error:
            if locks.sqlstate(error) != UNDEFINED_TABLE or not is_gone(self.connection, part.name):
                raise
            self._move(section, moved := {"number": section.passes})  # nobody needs these rows any more
        took, filled = time.monotonic() - began, int(moved.get("filled", section.filled)) - section.filled
        for name, value in moved.items():  # only what is committed
            setattr(section, name, value)
        self._rest(took, filled)
        self._show()
        return True

    def _rest(self, took: float, filled: int) -> None:
        """After a batch; a long rest ends when somebody changes the pace, or stops it."""
        began = time.monotonic()
        while not self.is_over:
            share = self._rest_share()
            left = self.pace.rest_after(took, filled, share=share) - (time.monotonic() - began)
            if left <= 0:
                return
            if left > took * share:
                self._tell(f"slower: {self.pace.rate:,.0f} rows/s at most (BACKFILL_RATE)", every=math.inf)
            time.sleep(min(left, NAP))
            if left > NAP and not self._goes_on():
                return

    def _rest_share(self) -> float:
        """Seconds of rest for a second of work: none while nobody else is there."""
        if self.watch is None or self.watch.is_alone:
            return 0
        return max(self.pace.rest, SLOW) if self.watch.slowly() else self.pace.rest

    def _goes_on(self) -> bool:
        """Does nobody want it to stop? And what pace is wanted now?"""
        values = store.rows(self.connection, pk=self._progress.pk).values_list("status", "pace").first()
        if values is None or values[0] != Status.RUNNING:
            return False
        self.pace.given = values[1]
        return True

    def _close(self, section: Section) -> None:
        with transaction.atomic(using=self.connection.alias):
            deleted, _ = store.sections(self.connection, self._progress).filter(pk=section.pk).delete()
            if deleted:
                self._update(visited=F("visited") + round(section.visited), filled=F("filled") + section.filled)

    # One batch, until it succeeds.

    def _try(
        self,
        section: Section | None,
        part: str,
        where: Callable[[], str],
        then: Callable[[int], object],
        *,
        leaving: bool,
    ) -> bool:
        """Fill what `where` selects, and call `then` with the count, in one transaction; False: not ours any more.

        `leaving`: rows that somebody holds are left for the end; a rejected row is, in any case.
        """
        failures, rejected = 0, False
        deadline = time.monotonic() + conf.lock_retry_for()
        while True:
            try:
                with self._transaction(section) as is_ours:
                    if not is_ours:
                        return False
                    filled, left = self._fill(part, where(), one_by_one=rejected, unlocked=leaving and failures > 1)
                    if left:
                        self._leave(left)
                    then(filled)
                return True
            except (_TooManyLocked, DatabaseError) as error:
                if isinstance(error, DatabaseError) and not locks.is_retried(error):
                    if rejected or not is_rejection(error):
                        raise
                    rejected = True
                    continue
                failures += 1
                if self._is_dismissed():
                    return False
                self._halve(str(error).strip().splitlines()[0] if str(error) else "others hold many rows")
                self._give_up(deadline, error)
                time.sleep(random.uniform(0.05, 0.5))

    def _is_dismissed(self) -> bool:
        """Nobody else was there, so it was the other of the two that held the row: one of them goes."""
        if self._is_shared and self.second:
            self.second.send_away("two waited for each other")
        return self.helps is not None

    def _give_up(self, deadline: float, error: Exception) -> None:
        if time.monotonic() > deadline:
            raise LockNotAcquired(
                f"Rows stayed locked by another transaction for {conf.lock_retry_for():.0f} s. What was filled "
                "stays filled. End that transaction and run the same command again."
            ) from error

    def _halve(self, reason: str) -> None:
        self.pace.halve()
        self._tell(f"smaller batches: {reason}")

    @contextmanager
    def _transaction(self, section: Section | None) -> Iterator[bool]:
        """A short transaction that holds the section; is it still ours, and may go on?"""
        locked = (
            "SELECT p.status, p.pace FROM safemigrations_backfill_section s JOIN safemigrations_backfill p"
            f" ON p.id = s.progress WHERE s.id = {section.pk} AND s.worker = {self.number}"
            f" AND s.number = {section.number} AND s.at = {section.at} FOR UPDATE OF s SKIP LOCKED"
            if section
            else "SELECT 1"
        )
        with short_transaction(self.connection, self.patience, self.settings, first=locked) as found:
            if section and found:
                self.pace.given = json.loads(found[0][1]) if isinstance(found[0][1], str) else found[0][1]
            yield section is None or (bool(found) and found[0][0] == Status.RUNNING)

    def _fill(self, part: str, where: str, *, one_by_one: bool, unlocked: bool) -> tuple[int, list[Left]]:
        if one_by_one:
            return self._halves(part, self.rows.keys(part, where))
        if not unlocked:
            return self.rows.fill(part, where), []
        filled, keys = self.rows.fill_unlocked(part, where)
        if len(keys) + len(self._all_left) > MOST_LEFT:
            raise _TooManyLocked
        return filled, [(part, key, "") for key in keys]

    def _halves(self, part: str, keys: list[Key]) -> tuple[int, list[Left]]:
        """Find the rows that are rejected, by halves; the others are filled."""
        if not keys:
            return 0, []
        try:
            with transaction.atomic(using=self.connection.alias):
                return self.rows.fill(part, condition(self.step.key, keys)), []
        except DatabaseError as error:
            if not is_rejection(error):
                raise
            if len(keys) == 1:
                return 0, [(part, keys[0], str(error).strip().splitlines()[0])]
        middle = len(keys) // 2
        filled, left = self._halves(part, keys[:middle])
        if len(left) + len(self._all_left) > MOST_LEFT:
            raise StepFailed(
                f"The database rejects more than {MOST_LEFT:,} rows: {_named([*self._all_left, *left])}. Rows that are "
                "filled stay filled. Mend what rejects them, and run the same command again."
            )
        more, others = self._halves(part, keys[middle:])
        return filled + more, left + others

    # Rows that come last.

    @property
    def _all_left(self) -> list[Left]:
        return self._progress.left if self.progress else self.left

    def _leave(self, left: list[Left]) -> None:
        if self.progress is None:
            self.left += left
            return
        with self.connection.cursor() as cursor:
            cursor.execute(
                'UPDATE safemigrations_backfill SET "left" = "left" || %s::jsonb WHERE id = %s RETURNING "left"',
                [json.dumps(left), self.progress.pk],
            )
            ((found,),) = cursor.fetchall()
        self.progress.left = json.loads(found) if isinstance(found, str) else found

    def _finish(self, section: Section) -> None:
        parts = [part for part in self._progress.all_parts if not is_gone(self.connection, part.name)]
        for part in parts:
            if not part.by_key and not self._sweep(section, part.name):
                return
        there = {part.name for part in parts}
        known = [row for row in self._progress.left if row[0] in there]
        left = list({(part, tuple(key)): (part, key, error) for part, key, error in known}.values())
        rejected = self._come_back(section, left)
        if rejected is None:
            return
        status = Status.FAILED if rejected else Status.DONE
        with transaction.atomic(using=self.connection.alias):
            own = store.sections(self.connection, self._progress).filter(pk=section.pk, worker=self.number)
            if not own.delete()[0]:
                return  # somebody else took over, and looks once more
            # Where some were rejected the next run begins with the end again.
            self._update(
                status=status,
                left=[list(one) for one in rejected],
                ending=not rejected,
                finished_at=None if rejected else now(),
                last_error=_rejected(self.step, rejected) if rejected else "",
                filled=F("filled") + section.filled,
            )
        if rejected:
            raise StepFailed(_rejected(self.step, rejected))

    def _sweep(self, section: Section, part: str) -> bool:
        """Rows that were updated while their pages were gone over may have moved to a page that was behind already.

        What one look finds is all there is. If it is too much to remember, then in the order of the key, which no
        update changes.
        """
        keys = self._unfilled(section, part, "TRUE", ordered=False)
        if keys is not None and len(keys) == SWEPT:
            keys = self._unfilled(section, part, "TRUE", ordered=True)
        while keys:
            for at in range(0, len(keys), CHUNK):
                if not self._fill_keys(section, part, keys[at : at + CHUNK]):
                    return False
            if len(keys) < SWEPT:
                return True
            after = f"({', '.join(self.step.key)}) > {row_of(keys[-1])}"
            keys = self._unfilled(section, part, after, ordered=True)
        return keys is not None

    def _unfilled(self, section: Section, part: str, where: str, *, ordered: bool) -> list[Key] | None:
        """Keys of rows that aren't filled; None: the section isn't ours any more. Nobody takes it over meanwhile."""
        with self._transaction(section) as is_ours:
            return self.rows.keys(part, where, limit=SWEPT, ordered=ordered) if is_ours else None

    def _fill_keys(self, section: Section | None, part: str, keys: list[Key]) -> bool:
        before = section.filled if section else 0

        def then(filled: int) -> None:
            if section:
                section.filled = before + filled
                self._move(section, {"filled": section.filled})

        return self._try(section, part, lambda: condition(self.step.key, keys), then, leaving=False)

    def _come_back(self, section: Section | None, left: list[Left]) -> list[Left] | None:
        """Fill what was left, each row on its own; those that are rejected again. None: not ours any more."""
        known = len(self._all_left)
        for part, key, _ in left:
            if not self._fill_keys(section, part, [key]):
                return None
        return self._all_left[known:]

    # What a person sees.

    def _yield(self) -> bool:
        """Wait while replicas, slots or the archiver can't keep up; False: it is to stop here."""
        assert self.watch
        self._heed()
        if self.helps is None and self.watch.had_waiters():
            self._halve("somebody waited for one (BACKFILL_YIELD_TO_WAITERS)")
        while (reason := self.watch.stop()) and not self.is_over:
            self._tell(f"waiting: {reason}")
            time.sleep(NAP)
            if not self._goes_on():
                return False
        if reason := self.watch.slowly():
            self._tell(f"slower: {reason}")
        return not self.is_over

    def _tell(self, text: str, *, every: float = TELL_EVERY) -> None:
        kind = text.partition(":")[0] if every < math.inf else text
        if kind not in self.told or self.told[kind] < time.monotonic() - every:
            self.told[kind] = time.monotonic()
            self.session.report.progress(self.step, text)

    def _show(self) -> None:
        if self.meter.is_due():
            visited, filled = store.totals(self.connection, self._progress)
            self.session.report.meter(self.step, *self.meter.reading(visited, filled, self._progress.estimate))

    def _summary(self, filled: int) -> str:
        took = time.monotonic() - self.began
        return f"{filled:,} rows, {filled / took:,.0f} rows/s" if filled else "no row to fill"


def _moved(section: Section, upto: int, visited: float, filled: int, size: float) -> dict[str, Any]:
    """What a batch that ends at this fence changes in its section."""
    pass_is_done = upto == len(section.fences) - 1
    return {
        "number": section.number + pass_is_done,
        "at": 0 if pass_is_done else upto,
        "visited": section.visited + visited,
        "filled": section.filled + filled,
        "size": size,
    }


class _Relay(Report):
    """What the second connection has to say: the first tells it."""

    def __init__(self, second: Second) -> None:
        self.second = second

    def progress(self, step: Step, text: str) -> None:
        self.second.tell(text)


class _TooManyLocked(Exception):
    """More rows are held by others than can be remembered."""


def is_rejection(error: DatabaseError) -> bool:
    """Is it the row's fault: data that doesn't fit, two values for one, a constraint, a trigger's RAISE?"""
    return locks.sqlstate(error)[:2] in {"21", "22", "23", "44", "P0"}


def is_lost(error: BaseException | None) -> bool:
    """Is it the connection that broke, such as when the server is restarted? Django has a new one by now."""
    state = locks.sqlstate(error) if error else ""
    return isinstance(error, OperationalError) and (not state or state[:2] == "08" or state[:4] == "57P0")


def _rejected(step: Backfill, rows: list[Left]) -> str:
    where = f"{step.why.partition(':')[0]}, {', '.join(step.key)}"
    count = f"{len(rows):,} rows" if len(rows) > 1 else "a row"
    return (
        f"The database rejects {count} of {where} = {_named(rows)}."
        " The others are filled. Mend these rows, or what rejects them, and run the same command again."
    )


def _named(rows: list[Left]) -> str:
    named = ", ".join(f"{' '.join(key)} ({error})" for _, key, error in rows[:NAMED])
    return f"{named} and {len(rows) - NAMED:,} more" if len(rows) > NAMED else named


class _Meter:
    """How far it is, now and then."""

    def __init__(self) -> None:
        self.last = self.began = time.monotonic()
        self.first = (0, 0)

    def is_due(self) -> bool:
        return time.monotonic() - self.last > SHOW_EVERY

    def reading(self, visited: int, filled: int, estimate: int) -> tuple[float, str]:
        """What part of the whole is done, and that in words."""
        self.last = at = time.monotonic()
        took = max(at - self.began, 0.001)
        speed, rate = (visited - self.first[0]) / took, (filled - self.first[1]) / took
        fraction = min(1.0, visited / estimate) if estimate else 0.0
        left = f", {_duration((estimate - visited) / speed)} left" if speed > 0 and estimate > visited else ""
        return fraction, f"{fraction:.0%}, {filled:,} rows, {rate:,.0f} rows/s{left}"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"
