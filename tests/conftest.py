"""One PostgreSQL for the whole run, and a new, empty database for each test that asks for one."""

from __future__ import annotations

import atexit
import gc
import os
import pickle
import re
import signal
from collections import defaultdict
from collections.abc import Callable, Iterator
from compileall import compile_dir
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import django
import psycopg
import pytest
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from testproject import postgres
from tests import processes
from tests.project import ROOT, Project
from tests.tried import Counting

if TYPE_CHECKING:  # at run time only after django.setup()
    from .cases import Case
    from .snapshot import Snapshot
    from .three_releases import Stages
    from .walk import Release

TESTS = re.compile(r"\btest_\w+\.py$|\bconftest\.py$")  # pytest has its own bytecode of these
Connect = Callable[[], psycopg.Connection]


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist starts its workers
def pytest_sessionstart(session: pytest.Session) -> None:
    # Processes inherit that a signal is ignored, as it is where a shell runs the tests in the background.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if "PYTEST_XDIST_WORKER" not in os.environ:
        _compile()
    session.config.pluginmanager.register(Counting())
    stack = ExitStack()
    session.config.add_cleanup(stack.close)
    # Workers and subprocesses inherit the environment, so they find the server instead of starting one.
    os.environ["SAFEMIGRATIONS_TEST_DSN"] = stack.enter_context(postgres.server(in_memory=True))
    stack.callback(drop_left_databases)
    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
    django.setup()


def _compile() -> None:
    """Commands in projects write no bytecode: without it, each would compile the package before it begins."""
    for folder in ("safemigrations", "tests", "testproject"):
        compile_dir(ROOT / folder, quiet=2, rx=TESTS)


def pytest_collection_finish() -> None:
    # What is there by now stays. To look through it for garbage takes a tenth of the time of a suite over states.
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _processes_end() -> Iterator[None]:
    with processes.ended():
        yield


@pytest.fixture
def database(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[BaseDatabaseWrapper]:
    """Django's connection "default", to a database of this test alone: empty, or for a test on a release a used one."""
    if "own_server" in request.fixturenames:
        use_server(monkeypatch, request.getfixturevalue("own_server"))
    template = request.getfixturevalue("used") if "release" in request.fixturenames else ""
    with new_database("default", monkeypatch, template) as connection:
        yield connection


@pytest.fixture(scope="module")
def own_server(request: pytest.FixtureRequest) -> Iterator[str]:
    """A server that this module has for itself, configured as its OWN_SERVER says; `database` is there then."""
    with postgres.embedded(postgres.version(), request.module.OWN_SERVER) as conninfo:
        yield conninfo


def use_server(monkeypatch: pytest.MonkeyPatch, conninfo: str) -> None:
    """For a test that needs a server of its own."""
    monkeypatch.setenv("SAFEMIGRATIONS_TEST_DSN", conninfo)
    monkeypatch.setitem(connections.settings["default"], "HOST", conninfo_to_dict(conninfo)["host"])
    monkeypatch.setitem(connections.settings["default"], "USER", "postgres")


@pytest.fixture
def two_databases(
    database: BaseDatabaseWrapper, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[BaseDatabaseWrapper, BaseDatabaseWrapper]]:
    """Django's connections "default" and "other", each to an empty database of this test alone."""
    with new_database("other", monkeypatch) as other:
        yield database, other


@pytest.fixture
def dsn(database: BaseDatabaseWrapper) -> str:
    """The connection string of the test's database."""
    return make_conninfo(_server(), dbname=database.settings_dict["NAME"])


@pytest.fixture
def project(tmp_path: Path, dsn: str) -> Project:
    """A Django project with an app "shop" on the test's database; see tests/project.py."""
    return Project(tmp_path, dsn)


@pytest.fixture
def connect(dsn: str) -> Iterator[Connect]:
    """A function that opens further connections to the test's database: psycopg's own, in autocommit mode."""
    opened = []

    def connect() -> psycopg.Connection:
        opened.append(psycopg.connect(dsn, autocommit=True))
        return opened[-1]

    yield connect
    for connection in opened:
        connection.close()  # also one that still waits for an answer, in a thread of a test that failed


@pytest.fixture
def other_connection(connect: Connect) -> psycopg.Connection:
    return connect()


@pytest.fixture
def release(case: Case, database: BaseDatabaseWrapper, tmp_path: Path) -> Iterator[Release]:
    """A case, written and installed, on a database that the release before it has used; see tests/walk.py."""
    from .releases import installed
    from .walk import Release

    written = Release.written(case, tmp_path)
    with installed(tmp_path, written.package):
        yield written


@contextmanager
def new_database(alias: str, monkeypatch: pytest.MonkeyPatch, template: str = "") -> Iterator[BaseDatabaseWrapper]:
    name = f"safemigrations_{uuid4().hex}"
    create_database(name, template or "template1")
    try:
        with monkeypatch.context() as patch:
            patch.setenv(f"SAFEMIGRATIONS_TEST_DATABASE_{alias.upper()}", name)
            patch.setitem(connections.settings[alias], "NAME", name)
            yield connections[alias]
    finally:
        forget(alias)
        drop_database(name)


@pytest.fixture(scope="session")
def used(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The name of a database that the release before a case has migrated and filled, to make others of."""
    from .cases import base, state_after
    from .releases import fill, installed, migrate, write

    name, folder = f"safemigrations_used_{uuid4().hex}", tmp_path_factory.mktemp("used")
    with pytest.MonkeyPatch.context() as patch, new_database("default", patch) as connection:
        with installed(folder, write(folder, [base()])):
            migrate(base().name)
            fill(state_after([base()]))
        filled = connection.settings_dict["NAME"]
        forget("default")
        create_database(name, filled)
    yield name
    on_server("DROP DATABASE {}", name)


@pytest.fixture(scope="session")
def stages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stages]:
    """Databases that three releases have come to, to make others of; see tests/three_releases.py."""
    from .three_releases import Stages

    with ExitStack() as stack:
        yield Stages(tmp_path_factory.mktemp("stages"), stack)


@pytest.fixture
def at(stages: Stages) -> Iterator[Callable[[str], str]]:
    """A function: the connection string of a new database that the releases have brought to a stage."""
    from .three_releases import dsn_of, new_database

    with ExitStack() as stack:
        yield lambda stage: dsn_of(stack.enter_context(new_database(stages.template(stage))))


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of this run, which its workers share."""
    own = tmp_path_factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


@pytest.fixture
def stock_end(
    case: Case, used: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, shared: Path
) -> tuple[Snapshot, Any]:
    """The catalog and the rows after the stock operations: the same for every test of a case, so it is kept."""
    kept = shared / f"stock_end_{case.name}"
    if not kept.exists():
        new = tmp_path / kept.name
        new.write_bytes(pickle.dumps(_stock_end(case, used, monkeypatch, tmp_path)))
        new.replace(kept)
    end: tuple[Snapshot, Any] = pickle.loads(kept.read_bytes())
    return end


def _stock_end(case: Case, used: str, monkeypatch: pytest.MonkeyPatch, directory: Path) -> tuple[Snapshot, Any]:
    from .cases import base, stock
    from .releases import installed, migrate, write
    from .snapshot import rows, snapshot
    from .walk import PLACED, empty

    with new_database("other", monkeypatch, used) as other:
        if case.rows_differ:
            empty(other)
        with installed(directory, write(directory, [base(), *stock(case)])):
            migrate("0002_change", alias=other.alias)
        return snapshot(other), rows(other, leaving_out=PLACED)


def forget(alias: str) -> None:
    from django.contrib.contenttypes.models import ContentType

    connections[alias].close()
    del connections[alias]  # a transaction or a hook that the test did not end goes with it
    ContentType.objects.clear_cache()  # it remembers keys of a database that is gone


def create_database(name: str, template: str) -> None:
    # Copying the files takes half the time of PostgreSQL's usual way, which writes every page to the WAL.
    on_server("CREATE DATABASE {} TEMPLATE {} STRATEGY file_copy", name, template)


def drop_database(name: str) -> None:
    """Drop it, but for the two last: for a session that is just about to end, PostgreSQL waits 0.1 s."""
    _left[_server()].append(name)
    drop_left_databases(but=2)


def drop_left_databases(*, but: int = 0) -> None:
    left = _left[_server()]
    while len(left) > but:
        on_server("DROP DATABASE {} WITH (FORCE)", left.pop(0))


_left: defaultdict[str, list[str]] = defaultdict(list)  # of each server


def on_server(statement: str, *names: str) -> None:
    connection = _maintenance(_server())
    try:
        connection.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))
    except psycopg.OperationalError:
        if not connection.closed:
            raise
        _maintenance.cache_clear()  # a test has ended the session, or crashed its server
        on_server(statement, *names)


@cache
def _maintenance(conninfo: str) -> psycopg.Connection:
    """One for all tests: a session takes as long to begin as a database."""
    connection = psycopg.connect(conninfo, autocommit=True)
    atexit.register(connection.close)
    return connection


def _server() -> str:
    return os.environ["SAFEMIGRATIONS_TEST_DSN"]
