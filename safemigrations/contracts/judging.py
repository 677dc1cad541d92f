"""The gate at work: looks at who uses the database, and decides which rows run."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from django.db.backends.base.base import BaseDatabaseWrapper

from .. import conf
from ..data import Data
from ..running.at_once import contracts_at_once
from ..running.clock import server_time
from . import quiet
from .gate import Others, Row, Rules, Verdict, decide
from .marks import own_mark
from .releases import names_known_to, record, recorded
from .sessions import Seen, watch


class Judgement(Data):
    """The decision, the sessions that were seen, the rules that were applied, and when, by the server's clock."""

    verdict: Verdict
    others: Others
    rules: Rules
    at: datetime


def rules(*, forced: bool, is_open: bool) -> Rules:
    return Rules(
        after=timedelta(seconds=conf.contract_after()),
        strict=conf.gate() == "strict",
        quiet=timedelta(seconds=conf.gate_quiet()),
        is_open=is_open,
        forced=forced,
    )


def note(connection: BaseDatabaseWrapper) -> None:
    """Note that this release was here. With GATE_QUIET, every process notes its release from now on."""
    record(connection)
    if conf.gate_quiet():
        quiet.ensure(connection)


def judge(
    connection: BaseDatabaseWrapper, rows: Sequence[Row], *, forced: bool = False, watching: float | None = None
) -> Judgement:
    """Decide which rows run.

    It looks at nobody if no row may run anyway, and only once if the run is forced. `watching` seconds replace
    GATE_WATCH.
    """
    by = rules(forced=forced, is_open=contracts_at_once(connection))
    known, others, at = names_known_to(connection), Others((), {}, {}, own_mark()), server_time(connection)
    verdict = decide(rows, known, others, by, at)
    if not verdict.runs or by.is_open:
        return Judgement(verdict, others, by, at)
    others = Others((), quiet.remembered(connection) if by.quiet else {}, recorded(connection), own_mark())

    def says_no(seen: Sequence[Seen]) -> bool:
        return not decide(rows, known, others.with_sessions(seen), by, at).runs

    seconds = conf.gate_watch() if watching is None else watching
    seen = watch(connection, 0 if forced else seconds, says_no)
    others = others.with_sessions(seen)
    return Judgement(decide(rows, known, others, by, at), others, by, at)
