"""A Python that has imported Django already, and forks for each command of a project.

Most of what a short `manage.py` takes is importing Django, psycopg and this package. A command that is forked starts as
a fresh one does in everything else: with its own settings, apps, environment, folder, streams and exit status.
"""

from __future__ import annotations

import atexit
import gc
import json
import os
import random
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import IO, Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

import safemigrations

ROOT = Path(__file__).resolve().parents[1]
IMPORTED = (
    "django.contrib.contenttypes",
    "django.core.cache.backends.locmem",
    "django.core.mail",
    "django.core.management.commands.check",
    "django.core.management.commands.makemigrations",
    "django.core.management.commands.migrate",
    "django.core.management.commands.squashmigrations",
    "django.db.backends.postgresql.base",
    "django.db.migrations.autodetector",
    "django.db.migrations.executor",
    "django.db.migrations.questioner",
    "django.db.migrations.writer",
    "django.middleware.csrf",
    "django.templatetags.i18n",
    "django.utils.translation.reloader",
    "django.views.csrf",
    "django.views.debug",
    "django.views.generic",
    "http.client",
    "logging.config",
)
# Of the package: what they hold needs no settings, but for the tables of its own. What later rooms hold is made for
# what it finds: a command of Django's that another app has replaced.
ROOMS = ("postgres", "plans", "operations", "running/events", "contracts", "checking")
WITHOUT_APP = "safemigrations.operations.without_app"
PATIENCE = 120  # seconds for a command
SIZE = 8  # bytes that say how long a request is


def run(script: Sequence[str], *, folder: Path, env: Mapping[str, str], input: str) -> tuple[str, str, int]:
    """What a script, with its arguments, wrote to stdout and stderr, and its exit status."""
    with tempfile.TemporaryFile() as stdin, tempfile.TemporaryFile() as stdout, tempfile.TemporaryFile() as stderr:
        stdin.write(input.encode())
        stdin.seek(0)
        request = json.dumps({"script": script, "folder": str(folder), "env": dict(env)}).encode()
        status = _ask(request, [one.fileno() for one in (stdin, stdout, stderr)])
        return _text(stdout), _text(stderr), status


def _ask(request: bytes, files: Sequence[int]) -> int:
    process, connection = _server()
    try:
        socket.send_fds(connection, [len(request).to_bytes(SIZE, "big")], files)
        connection.sendall(request)
        return int.from_bytes(_read(connection, SIZE), "big", signed=True)
    except BaseException:  # it may still be at work, and answer the next request with the status of this one
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        connection.close()
        _server.cache_clear()
        raise


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode().replace("\r\n", "\n")


@cache
def _server() -> tuple[subprocess.Popen[bytes], socket.socket]:
    """One for this process; it ends with it, when the other end of its socket is closed."""
    ours, theirs = socket.socketpair()
    ours.settimeout(PATIENCE)
    command = [sys.executable, "-W", "error", "-u", "-m", __name__, str(theirs.fileno())]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    with theirs:
        process = subprocess.Popen(command, cwd=ROOT, env=environment, pass_fds=[theirs.fileno()], process_group=0)
    atexit.register(_end, process, ours)
    return process, ours


def _end(process: subprocess.Popen[bytes], connection: socket.socket) -> None:
    connection.close()
    process.wait()


def _read(connection: socket.socket, size: int) -> bytes:
    read = b""
    while len(read) < size:
        more = connection.recv(size - len(read))
        if not more:
            raise EOFError
        read += more
    return read


def _serve(connection: socket.socket) -> dict[str, Any] | None:
    """Fork for each request; returns in the new process with what that has to run, in this one at the end."""
    while True:
        size, files, _, _ = socket.recv_fds(connection, SIZE, 3)
        if not size:
            return None
        request: dict[str, Any] = json.loads(_read(connection, int.from_bytes(size, "big")))
        child = os.fork()
        if not child:
            _become(request, files)
            return request
        for file in files:
            os.close(file)
        _, status = os.waitpid(child, 0)
        connection.sendall(os.waitstatus_to_exitcode(status).to_bytes(SIZE, "big", signed=True))


def _become(request: Mapping[str, Any], files: Sequence[int]) -> None:
    """What a process that is started anew would be."""
    for target, file in enumerate(files):
        os.dup2(file, target)
        os.close(file)
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["env"])
    random.seed()
    vars(sys.modules[WITHOUT_APP]).update(STARTED=time.time())
    sys.argv = request["script"]
    sys.path[0] = request["folder"]


def _import() -> None:
    package = Path(safemigrations.__file__).parent  # beside the tests, or where it is installed
    paths = [path.relative_to(package.parent) for room in ROOMS for path in (package / room).glob("*.py")]
    for name in [*IMPORTED, *(".".join(path.with_suffix("").parts).removesuffix(".__init__") for path in paths)]:
        with suppress(ImproperlyConfigured):
            __import__(name)


if __name__ == "__main__":
    os.environ.pop("DJANGO_SETTINGS_MODULE", None)  # of the tests: a command has its own
    _import()
    assert not settings.configured
    gc.freeze()
    with socket.socket(fileno=int(sys.argv[1])) as connection:
        request = _serve(connection)
    if request:
        runpy.run_path(request["script"][0], run_name="__main__")
