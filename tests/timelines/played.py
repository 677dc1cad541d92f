"""Plays a change: requests of both releases, somebody's long transaction, migrate, the rollout, the contract."""

from __future__ import annotations

import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
from django.db import DEFAULT_DB_ALIAS, DatabaseError, connection, connections
from django.db.migrations.state import ProjectState
from psycopg import sql

from safemigrations.hooks.executor import MigrationExecutor
from safemigrations.rehearsing.rows import Rows, label, seeds
from safemigrations.rehearsing.values import Numbers

from ..cases import LABEL, state_after
from ..conftest import create_database, forget, on_server
from ..forked import Servers
from ..releases import contract, fill, installed, migrate, models_of, write
from ..three_releases import dsn_of
from .pages import BUCKET
from .plays import Play, play_of

LONG = 0.1  # seconds after which somebody counts as waiting
PAUSE = 0.01  # seconds between two requests
HELD = 3.0  # seconds that the long transaction lasts
ALONE, BEFORE, BOTH, TAIL = 0.6, 0.4, 1.5, 1.0  # seconds: old release, transaction before migrate, both, new release

CHANGE = "UPDATE {table} SET {key} = {key} WHERE ctid = (SELECT min(ctid) FROM {table})"
Request = tuple[float, float, str]  # when it began, the seconds that it took, its error or nothing
Span = tuple[str, float, float]  # what, from, to


def played(page: str, side: str) -> dict[str, Any]:
    """What is drawn of a side: spans in seconds, and a letter for each twentieth of a second of a release.

    a: requests were answered; w: one waited for longer than a tenth of a second; f: one failed; a dot: none was sent.
    Where `migrate` ends with an error, which `refused` says, nothing is rolled out.
    """
    play = play_of(page)
    migrations = [play.before, *play.written[side]]
    with tempfile.TemporaryDirectory() as name, _database():
        folder = Path(name)
        with installed(folder, write(folder, migrations)):
            migrate(play.before.name)
            _fill(play)
            refused, spans, old, new = _rolled_out(page, play, side == "safemigrations", migrations[-1].name)
    began = old[0][0]
    spans.sort(key=lambda span: span[1])
    return {
        "refused": refused,
        "spans": [
            (what, round(start - began, 2), round(end - began, 2))
            for what, start, end in sorted(spans, key=lambda span: span[1])
        ],
        "old": _letters(old, began),
        "new": _letters(new, began),
        **_counted([*old, *new]),
    }


def _fill(play: Play) -> None:
    fill(state_after([play.before]))
    if play.rows:
        with connection.cursor() as cursor:
            cursor.execute(play.rows)


def _rolled_out(page: str, play: Play, safely: bool, last: str) -> tuple[str, list[Span], list[Request], list[Request]]:
    spans: list[Span] = []
    keys = seeds(models_of(state_after([play.before])), DEFAULT_DB_ALIAS)
    old = Release(page, "old", keys)
    time.sleep(ALONE)
    with _long_transaction(play, spans):
        time.sleep(BEFORE)
        with _span("migrate", spans):
            refused = _error_of(lambda: migrate(last) if safely else _migrate_alone(last))
    if refused:
        time.sleep(TAIL)
        return refused, spans, old.stop(), []
    new = Release(page, "new", keys)
    time.sleep(BOTH)
    by_old = old.stop()
    if safely:
        with _span("migrate --contract", spans):
            contract()
    time.sleep(TAIL)
    return "", spans, by_old, new.stop()


def _error_of(act: Callable[[], object]) -> str:
    try:
        act()
    except DatabaseError as error:
        return str(error).partition("\n")[0]
    return ""


def _migrate_alone(last: str) -> None:
    djangos: Any = MigrationExecutor.__base__
    djangos(connection).migrate([(LABEL, last)])


@contextmanager
def _database() -> Iterator[None]:
    name = f"safemigrations_timeline_{uuid4().hex}"
    create_database(name, "template1")
    connections.settings["default"]["NAME"] = name
    try:
        yield
    finally:
        forget("default")
        on_server("DROP DATABASE {} WITH (FORCE)", name)


@contextmanager
def _span(what: str, spans: list[Span]) -> Iterator[None]:
    began = time.monotonic()
    yield
    spans.append((what, began, time.monotonic()))


@contextmanager
def _long_transaction(play: Play, spans: list[Span]) -> Iterator[None]:
    """Somebody has changed a row of each table, and commits after a while; nobody else wants these rows."""
    tables = [sql.Identifier(model._meta.db_table) for model in _changed(play, state_after([play.before]))]
    ready = threading.Event()

    def hold() -> None:
        with psycopg.connect(dsn_of(connection.settings_dict["NAME"])) as session, _span("transaction", spans):
            for table in tables:
                columns = session.execute(sql.SQL("SELECT * FROM {} LIMIT 0").format(table)).description or []
                key = sql.Identifier(columns[0].name)
                session.execute(sql.SQL(CHANGE).format(table=table, key=key))
            ready.set()
            time.sleep(HELD)

    thread = threading.Thread(target=hold)
    thread.start()
    ready.wait()
    yield
    thread.join()


def _changed(play: Play, state: Any) -> list[Any]:
    return [model for model in models_of(state) if model._meta.model_name in play.models]


class OfPage(Servers):
    """Processes with the models of one release of a page."""

    def state(self) -> ProjectState:
        play = play_of(self.case)
        return state_after([play.before] if self.name == "old" else play.after)


class Release:
    """A server of one release, which sends requests one after the other."""

    def __init__(self, page: str, release: str, seeds: dict[str, list[str]]) -> None:
        self.client = OfPage(page, release).client()
        self.client.call("use", {}, f"{__name__}.{Requests.__name__}", page, release, seeds)
        self.client.send("go_on")

    def stop(self) -> list[Request]:
        """The requests that it sent."""
        self.client.send("pause")
        sent: list[Request] = self.client.answer()
        self.client.stop()
        return sent


class Requests:
    """What a page of a shop does with a model: a new row, a list, a row that is saved again."""

    def __init__(
        self, over: Callable[[], bool], state: Any, page: str, release: str, seeds: dict[str, list[str]]
    ) -> None:
        self.over, self.sent = over, list[Request]()
        play = play_of(page)
        self.changed, self.saved = _changed(play, state), play.saved
        self.rows = Rows(Numbers(release, 1_000_000 if release == "old" else 2_000_000), DEFAULT_DB_ALIAS)
        self.rows.keys = lambda model: seeds.get(label(model), ())

    def go_on(self) -> list[Request]:
        while not self.over():
            self.send(self.changed)
        return self.sent

    def send(self, changed: Sequence[Any]) -> None:
        for model in changed:
            with self._timed():
                model.objects.create(**self.rows.values(model))
            with self._timed():
                list(model.objects.order_by("-pk")[:10])
            with self._timed():
                self.saved(model).save()
        if not changed:  # of a release that has none of these models any more
            time.sleep(PAUSE)

    @contextmanager
    def _timed(self) -> Iterator[None]:
        began, error = time.monotonic(), ""
        try:
            yield
        except DatabaseError as failed:
            error = str(failed).partition("\n")[0]
        self.sent.append((began, time.monotonic() - began, error))
        time.sleep(PAUSE)


def _letters(sent: Sequence[Request], began: float) -> str:
    if not sent:
        return ""
    last = max(start + seconds for start, seconds, _ in sent)
    letters = ["."] * (int((last - began) / BUCKET) + 1)
    for start, seconds, error in sent:
        first, final = int((start - began) / BUCKET), int((start + seconds - began) / BUCKET)
        letter = "w" if seconds > LONG else "a"
        for bucket in range(first, final + 1):
            letters[bucket] = max(letters[bucket], letter, key=".awf".index)
        if error:
            letters[final] = "f"
    return "".join(letters)


def _counted(sent: Sequence[Request]) -> dict[str, Any]:
    errors = Counter(error for *_, error in sent if error)
    return {
        "requests": len(sent),
        "failed": errors.total(),
        "error": errors.most_common(1)[0][0] if errors else "",
        "wait": round(max(seconds for _, seconds, _ in sent), 2),
    }
