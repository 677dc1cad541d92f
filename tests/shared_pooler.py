"""A real PgBouncer in transaction mode before the server of the tests."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from testproject.postgres import _account

PORT = 6543  # of its socket, which lies in a folder of its own
PATIENCE = 10  # seconds for its start
CONFIGURATION = """
[databases]
* = host={host} user={user}

[pgbouncer]
listen_addr =
listen_port = {port}
unix_socket_dir = {folder}
auth_type = any
pool_mode = {mode}
ignore_startup_parameters = extra_float_digits
logfile = {folder}/log
"""


@contextmanager
def pooler(dsn: str, *, mode: str = "transaction") -> Iterator[str]:
    """The connection string of the same database behind the pooler."""
    program = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")
    if program is None:
        pytest.skip("pgbouncer is not installed")
    server = conninfo_to_dict(dsn)
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        written = Path(folder, "pgbouncer.ini")
        user = server.get("user", "postgres")
        written.write_text(CONFIGURATION.format(mode=mode, host=server["host"], user=user, port=PORT, folder=folder))
        account = _account()  # it refuses to run as root
        if account:
            os.chown(folder, *account)
        options = {"user": account[0], "group": account[1], "extra_groups": []} if account else {}
        process = subprocess.Popen([program, "-q", written], cwd=folder, **options)  # type: ignore[call-overload]
        try:
            conninfo = make_conninfo(
                host=folder, port=PORT, user=server.get("user", "postgres"), dbname=server["dbname"]
            )
            _wait_for(conninfo)
            yield conninfo
        finally:
            process.terminate()
            process.wait()


def _wait_for(conninfo: str) -> None:
    end = time.monotonic() + PATIENCE
    while True:
        try:
            psycopg.connect(conninfo, connect_timeout=2).close()
        except psycopg.OperationalError:
            if time.monotonic() > end:
                raise
            time.sleep(0.05)
        else:
            return
