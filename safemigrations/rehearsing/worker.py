"""A process of one release: it loads the code once, and forks for each client of the rehearsal.

    python -m safemigrations.rehearsing.worker FD

The rehearsal sends it a socket for each client; the client answers each message with one. Who started it is gone
when the socket is closed: then it ends, whatever it was doing.
"""

from __future__ import annotations

import gc
import os
import select
import signal
import socket
import sys
import traceback
from contextlib import suppress
from pathlib import Path
from typing import Any

import django

if __name__ == "__main__":
    django.setup()

from django.apps import apps
from django.db import connections
from django.db.migrations.loader import MigrationLoader
from django.utils.module_loading import import_string

from .. import conf
from . import commands
from .channel import receive, send
from .ledger import Names
from .requests import Requests
from .rows import Rows, fill, rehearsed_models, seeds
from .traffic import Traffic
from .values import Numbers, found


class Client:
    """What one process does when it is asked; a method of this class, or of its traffic."""

    makes, asks = Rows, Traffic  # the classes of its rows and of its requests

    def __init__(self, channel: socket.socket) -> None:
        self.channel = channel
        self.traffic: Any = None

    def serve(self) -> None:
        """Answer requests until the rehearsal has gone."""
        while True:
            method, arguments = receive(self.channel)
            try:
                answer = ["", self._find(method)(*arguments)]
            except Exception:
                answer = [traceback.format_exc(), None]
            send(self.channel, answer)

    def _find(self, method: str) -> Any:
        return getattr(self, method, None) or getattr(self.traffic, method)

    # What it may be asked.

    def look(self) -> dict[str, Any]:
        """Describe the code of this release."""
        loader = MigrationLoader(None)
        return {
            "migrations": sorted(".".join(key) for key in loader.disk_migrations),
            "folders": {config.label: str(Path(config.path).resolve()) for config in apps.get_app_configs()},
        }

    def manage(self, names: dict[str, str], arguments: list[str], how: str, kill_after: int) -> tuple[int, str]:
        """Run a command; its exit status, and what it has written."""
        self._connect(names)
        return commands.run(arguments, stock=how == "stock", kill_after=kill_after)

    def fill(self, names: dict[str, str], alias: str, each: int) -> dict[str, str]:
        self._connect(names)
        if seed := conf.rehearsal_seed():
            found(seed)()
        rows = Rows(Numbers("seed", 1), alias)
        return fill(rows, rehearsed_models(alias), each=each)

    def seeds(self, names: dict[str, str], alias: str) -> dict[str, list[str]]:
        """Rows that are there before the first request."""
        self._connect(names)
        return seeds(rehearsed_models(alias), alias)

    def prepare(
        self, names: dict[str, str], alias: str, release: str, number: int, known_as: list[dict[str, str]], plan: Any
    ) -> None:
        """Make ready before the first request; `plan` are the models that the process has to do with."""
        self._connect(names)
        requests = Requests(release)
        connections[alias].execute_wrappers.append(requests.timed)
        rows, called = self.makes(Numbers(f"{release}{number}", (number + 1) * 1_000_000), alias), Names(*known_as)
        known = {called.model(model): model for model in self.models(alias)}
        self.traffic = self.asks(requests, rows, called, known, over=self._is_called, **plan)

    def use(self, names: dict[str, str], traffic: str, *arguments: Any) -> None:
        """Requests of another kind than the generated ones: the class of that path, and what it is made of."""
        self._connect(names)
        self.traffic = import_string(traffic)(self._is_called, *arguments)

    def play(self, began: float, method: str, *arguments: Any) -> dict[str, Any]:
        """Do something of the traffic in a phase that began at that time; what was noted meanwhile."""
        self.traffic.requests.begin(began)
        returned = getattr(self.traffic, method)(*arguments)
        return {**self.traffic.requests.answer(), "returned": returned}

    def pause(self) -> None:
        """Does nothing; the arrival of its message stops go_on()."""

    def leave(self) -> None:
        """Close the sessions."""
        connections.close_all()

    # How.

    def models(self, alias: str) -> list[Any]:
        return rehearsed_models(alias)

    def _connect(self, names: dict[str, str]) -> None:
        for alias, name in names.items():
            connections[alias].close()
            connections.settings[alias]["NAME"] = name

    def _is_called(self) -> bool:
        readable, _, _ = select.select([self.channel], [], [], 0)
        return bool(readable)


def serve(server: socket.socket) -> None:
    """Fork for each client; returns at the end, in the process that was started."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # so that none of them has to be waited for
    gc.freeze()
    while True:
        message, files, _, _ = socket.recv_fds(server, 1, 1)
        if not message:
            return
        if not os.fork():
            server.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            _be_a_client(files[0])
        os.close(files[0])


def _be_a_client(file: int) -> None:
    status = 1
    try:
        for connection in connections.all(initialized_only=True):
            connection.connection = None  # that of the process that was forked, which may go on with it
        with socket.socket(fileno=file) as channel, suppress(EOFError, ConnectionError):
            Client(channel).serve()
        connections.close_all()
        status = 0
    finally:
        os._exit(status)


if __name__ == "__main__":
    with socket.socket(fileno=int(sys.argv[1])) as server:
        serve(server)
