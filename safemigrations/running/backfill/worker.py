"""Shares a backfill among workers: each owns the sections that it fills.

A worker takes a section that nobody works on, moves the section's position with each batch, and gives the section
back. It may be killed at any moment: whoever finds its section abandoned goes on where it was.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Literal

from django.db import DatabaseError, transaction
from django.db.models import F

from ...errors import to_type
from ...postgres.names import Name
from ..locking import locks
from . import progress as store
from .failures import Stopped
from .filler import Filler
from .news import TELL_SELDOM
from .progress import Progress, Section, Status
from .second import Second
from .sections import Passes, next_section
from .table import fetch, from_jsonb
from .transactions import short_transaction

ABANDONED = 60  # seconds after which a worker takes over a section that nobody has moved

NoSection = Literal["wait", "finished"]  # why there is no section: only others have work, or nobody has


class Worker:
    """Knows the progress of the backfill, and which sections are its own.

    `second` is the second connection, if one comes to help; `is_second`: this is the worker of that one.
    """

    def __init__(self, filler: Filler, progress: Progress, *, is_second: bool = False) -> None:
        self.filler, self.progress, self.is_second = filler, progress, is_second
        self.connection, self.step, self.pace = filler.connection, filler.step, filler.pace
        self.number = random.SystemRandom().randrange(1, 2**63)
        self.second: Second | None = None
        self.passes = Passes(self.connection, self.step)

    @property
    def is_shared(self) -> bool:
        """Do two connections of this process work at the moment?"""
        return self.second is not None and self.second.is_at_work

    def steps_aside(self) -> bool:
        """Where two connections wait for each other, send the second away; is it this one?"""
        if self.second and self.is_shared:
            self.second.send_away("two waited for each other")
        return self.is_second

    # Taking a section.

    def take(self) -> Section | NoSection:
        """Own an open section that nobody works on, else a new one."""
        try:
            with short_transaction(self.connection, self.filler.patience):
                self._lock_progress()
                if not self._may_work():
                    return "wait"
                section = self._abandoned() or self._new()
                if section is None:
                    return self._last()
                self._own(section)
                return section
        except DatabaseError as error:
            if locks.is_retried(error):
                return "wait"
            raise

    def _lock_progress(self) -> None:
        row = store.row(self.connection, self.progress).select_for_update(nowait=True)
        try:
            self.progress.refresh_from_db(using=self.connection.alias, from_queryset=row)
        except Progress.DoesNotExist:
            raise self._taken_back() from None

    def _taken_back(self) -> Stopped:
        return Stopped(f"{self.step.why}: the backfill was taken back while it ran.")

    def _may_work(self) -> bool:
        status, self.pace.given = self.progress.status, self.progress.pace
        if self.progress.is_taken_back:
            raise self._taken_back()
        if status == Status.CANCELLED:
            raise Stopped(
                f"{self.step.why}: this backfill was cancelled. Rows that are filled stay filled. To go on, run the "
                f"same command again after: {to_type('safemigrations backfill resume', self.connection.alias)}"
            )
        if status == Status.FAILED:
            raise Stopped(self.progress.last_error)
        if status == Status.PAUSED:
            self.filler.news.wait(
                f"paused; to go on: {to_type('safemigrations backfill resume', self.connection.alias)}"
            )
        return status in (Status.RUNNING, Status.DONE)

    def _abandoned(self) -> Section | None:
        which = " AND NOT ending" if self.is_second else ""
        ids = fetch(
            self.connection,
            f"SELECT id FROM safemigrations_backfill_section WHERE progress = {self.progress.pk}{which}"
            f" AND (worker = {self.number} OR owner NOT IN (SELECT pid FROM pg_stat_activity)"
            f" OR touched_at < now() - interval '{ABANDONED} s') ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED",
        )
        return store.sections(self.connection, self.progress).get(pk=ids[0][0]) if ids else None

    def _new(self) -> Section | None:
        progress = self.progress
        if progress.part >= len(progress.parts):
            return None
        passes, reason = self.passes.for_next(progress.all_parts[progress.part])
        if reason:
            self.filler.news.tell(reason, every=TELL_SELDOM)
        section = next_section(
            self.connection, self.step, progress, self.pace.rows, passes=passes, shared=self.is_shared
        )
        progress.save(using=self.connection.alias, update_fields=["part", "after"])
        return section

    def _last(self) -> Section | NoSection:
        """The section that ends the backfill: only one worker gets it, when all others are done."""
        if self.is_second:
            return "finished"
        if store.sections(self.connection, self.progress).exists():
            return "wait"
        if self.progress.ending:
            return "finished"
        self.progress.ending = True
        self.progress.save(using=self.connection.alias, update_fields=["ending"])
        section = Section(progress=self.progress.pk, part=0, ending=True)
        self._own(section)
        return section

    def _own(self, section: Section) -> None:
        ((section.owner,),) = fetch(self.connection, "SELECT pg_backend_pid()")
        section.worker = self.number
        section.save(using=self.connection.alias)
        self.move(section, {})

    # Owning a section.

    @contextmanager
    def hold(self, section: Section) -> Iterator[bool]:
        """A short transaction that locks the section; is it still ours, and may the work go on?"""
        locked = (
            "SELECT p.status, p.pace FROM safemigrations_backfill_section s JOIN safemigrations_backfill p"
            f" ON p.id = s.progress WHERE s.id = {section.pk} AND s.worker = {self.number}"
            f" AND s.number = {section.number} AND s.at = {section.at} FOR UPDATE OF s SKIP LOCKED"
        )
        with self.filler.transaction(first=locked) as found:
            if found:
                self.pace.given = from_jsonb(found[0][1])
            yield bool(found) and found[0][0] == Status.RUNNING

    def move(self, section: Section, values: Mapping[str, object]) -> None:
        """Store numbers of a section. The time is the server's: clocks of machines that share the work may differ."""
        sets = "".join(f"{Name.of(name)} = {value!r}, " for name, value in values.items())
        with self.connection.cursor() as cursor:
            cursor.execute(
                f"UPDATE safemigrations_backfill_section SET {sets}touched_at = now() WHERE id = {section.pk}"
            )

    def goes_on(self) -> bool:
        """May the work go on? Also reads the pace that is wanted now."""
        values = store.row(self.connection, self.progress).values_list("status", "pace").first()
        if values is None or values[0] != Status.RUNNING:
            return False
        self.pace.given = values[1]
        return True

    # Giving a section back.

    def close(self, section: Section) -> None:
        """Count a section that is finished."""
        with transaction.atomic(using=self.connection.alias):
            deleted, _ = store.sections(self.connection, self.progress).filter(pk=section.pk).delete()
            if deleted:
                store.row(self.connection, self.progress).update(
                    visited=F("visited") + round(section.visited), filled=F("filled") + section.filled
                )

    def end(self, section: Section, **values: object) -> bool:
        """Store how the backfill ended; return False where somebody else has taken over, who looks once more."""
        with transaction.atomic(using=self.connection.alias):
            own = store.sections(self.connection, self.progress).filter(pk=section.pk, worker=self.number)
            if not own.delete()[0]:
                return False
            store.row(self.connection, self.progress).update(filled=F("filled") + section.filled, **values)
        return True

    def let_go(self) -> None:
        """Give its sections back at once, so that another worker can go on."""
        if self.connection.is_usable():
            store.sections(self.connection, self.progress).filter(worker=self.number).update(owner=0)
