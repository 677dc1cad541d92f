"""The reasons why rows of the contract wait, in words, with the commands to type."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from itertools import groupby
from textwrap import indent

from django.db.backends.base.base import BaseDatabaseWrapper

from ..durations import shown_age, shown_moment, shown_seconds
from ..errors import to_type
from ..running.backfill.standing import Standing, standings
from .gate import Wait, Why
from .judging import Judgement
from .releases import newer_that_knows
from .sessions import Seen
from .squashed import heir
from .table import Contract
from .unfinished import Unfinished, how_to_end

AT_MOST = 10  # sessions or migrations that are named


def listed(names: Sequence[str]) -> str:
    """The first names, and the number of the others."""
    more = f" and {len(names) - AT_MOST} more" if len(names) > AT_MOST else ""
    return f"{', '.join(names[:AT_MOST])}{more}"


class Refusing:
    """The sentences about rows that wait."""

    def __init__(
        self, connection: BaseDatabaseWrapper, contracts: Mapping[int, Contract], judgement: Judgement
    ) -> None:
        self.connection, self.contracts, self.judgement = connection, contracts, judgement

    def text(self, waits: Iterable[Wait]) -> str:
        """The reasons with their rows; rows that wait for the same reason share it."""
        lines = list[str]()
        for reason, group in groupby(((self.reason(wait), wait) for wait in waits), key=lambda pair: pair[0]):
            lines += [f"{self.contracts[wait.row.number]}" for _, wait in group]
            lines.append(indent(reason, "  "))
        return "\n".join(lines)

    def reason(self, wait: Wait) -> str:
        row, number = self.contracts[wait.row.number], wait.row.number
        match wait.why:
            case Why.SKIPPED:
                return f"skipped: {row.reason}. To take that back: {self._command('resume', number)}"
            case Why.POSTPONED:
                until = shown_moment(row.until) if row.until else "somebody resumes it"
                return f"postponed until {until}: {row.reason or 'no reason given'}"
            case Why.UNKNOWN:
                return self._unknown(row)
            case Why.UNFILLED:
                return self._unfilled(wait.row.unfilled)
            case Why.YOUNG:
                age, after = self.judgement.at - row.created_at, self.judgement.rules.after
                return f"left {shown_age(age)} ago, and CONTRACT_AFTER is {shown_age(after)}"
            case Why.SESSIONS:
                return f"sessions of a release that needs what would go:\n{self.sessions(wait.sessions)}"
            case Why.UNMARKED:
                return f"sessions without a mark, and GATE is 'strict':\n{self.sessions(wait.sessions)}"
            case Why.REMEMBERED:
                return "\n".join(self._remembered(mark) for mark in wait.marks)
            case Why.NEEDS:
                needed = "; ".join(str(self.contracts[needed]) for needed in wait.rows)
                return f"works on the same column or table as a row that waits: {needed}"

    def _unknown(self, row: Contract) -> str:
        newer = newer_that_knows(self.connection, row.app_label, row.migration)
        if newer:
            return (
                f"this code has no such migration: it belongs to {newer}, which is newer. Run the contract with the "
                "code of that release, or of a later one"
            )
        squash = heir(row.app_label, row.migration)
        adopt = f"{self._command('adopt', row.pk)} --as {squash} --reason 'pruned too early'" if squash else ""
        return (
            "this code has no such migration. If it is of a newer release, run the contract with the code of that "
            "release. "
            + (
                f"If its file was deleted after it was squashed: {adopt}"
                if adopt
                else "No release that has it was noted"
            )
        )

    def _unfilled(self, backfills: Sequence[Unfinished]) -> str:
        lines = [f"  backfill {self._standings[one.number]}" for one in backfills if one.number in self._standings]
        head = "backfills that this contract needs aren't finished:"
        return "\n".join([head, *lines, how_to_end(self.connection, backfills)])

    @cached_property
    def _standings(self) -> dict[int, Standing]:
        """The progress of the backfills, read once for all rows that wait for them."""
        numbers = {one.number for wait in self.judgement.verdict.waits for one in wait.row.unfilled}
        return {one.row.pk: one for one in standings(self.connection, pk__in=numbers)}

    def _command(self, act: str, number: int) -> str:
        return to_type(f"safemigrations contract {act} {number}", self.connection.alias)

    def _remembered(self, mark: str) -> str:
        ago = self.judgement.at - self.judgement.others.remembered[mark]
        quiet = int(self.judgement.rules.quiet.total_seconds())
        return f"{self._release(mark)} connected {shown_age(ago)} ago; GATE_QUIET waits until it was away for {quiet} s"

    def sessions(self, seen: Sequence[Seen]) -> str:
        lines = [f"  {self._session(session)}" for session in seen[:AT_MOST]]
        return "\n".join([*lines, *([f"  and {len(seen) - AT_MOST} more"] if len(seen) > AT_MOST else [])])

    def _session(self, session: Seen) -> str:
        who = ", ".join(filter(None, [session.name or session.role, session.address]))
        release = [self._release(session.mark)] if session.mark else []
        return "  ".join([f"pid {session.pid}", who, *release, *_times(session)])

    def _release(self, mark: str) -> str:
        known = self.judgement.others.releases.get(mark)
        return str(known) if known else f"release {mark}, which never migrated here"


def _times(session: Seen) -> list[str]:
    connected = [f"connected for {shown_seconds(session.connected)}"] if session.connected is not None else []
    state = [f"{session.state} for {shown_seconds(session.changed or 0)}"] if session.state else []
    return [", ".join([*connected, *state])] if connected or state else []
