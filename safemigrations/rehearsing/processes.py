"""The processes of a release, seen from the rehearsal: its commands and its clients."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

from django.core.management.base import CommandError

from ..data import Data
from .channel import receive, send
from .releases import Release


class Ended(Data):
    """The output and the exit status of a command."""

    status: int
    output: str
    seconds: float


class NotRehearsed(CommandError):
    """A process of the rehearsal itself failed, which says nothing about a release."""


class Client:
    """A process with the models of a release."""

    def __init__(self, channel: socket.socket, release: Release) -> None:
        self.channel, self.release = channel, release

    def call(self, method: str, *arguments: Any) -> Any:
        self.send(method, *arguments)
        return self.answer()

    def send(self, method: str, *arguments: Any) -> None:
        send(self.channel, [method, arguments])

    def answer(self) -> Any:
        try:
            failed, answer = receive(self.channel)
        except (EOFError, ConnectionError) as error:
            raise NotRehearsed(f"A process of the {self.release.name} release has ended.") from error
        if failed:
            raise NotRehearsed(f"A process of the {self.release.name} release failed:\n{failed}")
        return answer

    def stop(self) -> None:
        self.channel.close()


class Processes:
    """All processes of a release; they end when the stack is closed."""

    def __init__(self, release: Release, stack: ExitStack, names: Mapping[str, str]) -> None:
        self.release, self.stack = release, stack
        self.log = stack.enter_context(_file())
        self.server, theirs = socket.socketpair()
        stack.callback(self.server.close)
        command = [release.python, "-m", "safemigrations.rehearsing.worker", str(theirs.fileno())]
        with theirs:
            self.process = self._start(command, names, [theirs.fileno()])

    def client(self) -> Client:
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                socket.send_fds(self.server, [b"x"], [theirs.fileno()])
            except OSError as error:
                raise NotRehearsed(f"The {self.release.name} release can't be started:\n{self._said()}") from error
        return Client(ours, self.release)

    @contextmanager
    def asked(self) -> Iterator[Client]:
        """A client for one question."""
        client = self.client()
        try:
            yield client
        except NotRehearsed as error:
            raise NotRehearsed(f"{error}\n{self._said()}") from error
        finally:
            client.stop()

    def manage(self, names: Mapping[str, str], *arguments: str, how: str = "", kill_after: int = 0) -> Ended:
        """Run a command of the release to its end; `how` is a method of worker.Command."""
        begun = time.monotonic()
        client = self.client()
        try:
            status, output = client.call("manage", names, arguments, how, kill_after)
        except NotRehearsed:
            if not kill_after:
                raise
            status, output = -signal.SIGKILL, ""
        finally:
            client.stop()
        return Ended(status, output, time.monotonic() - begun)

    def must(self, names: Mapping[str, str], *arguments: str, how: str = "") -> Ended:
        """Run a command that the rehearsal can't do without."""
        ended = self.manage(names, *arguments, how=how)
        if ended.status:
            raise NotRehearsed(f"{' '.join(arguments)} of the {self.release.name} release failed:\n{ended.output}")
        return ended

    def _start(self, command: list[str], names: Mapping[str, str], pass_fds: list[int]) -> subprocess.Popen[bytes]:
        """Start the process in a group of its own: Ctrl-C is for the rehearsal, which ends them all."""
        process = subprocess.Popen(
            command,
            cwd=self.release.folder,
            env=self.release.environment(names),
            stdin=subprocess.DEVNULL,
            stdout=self.log,
            stderr=subprocess.STDOUT,
            pass_fds=pass_fds,
            start_new_session=True,
        )
        self.stack.callback(end, process)
        return process

    def _said(self) -> str:
        self.log.seek(0)
        return str(self.log.read().decode(errors="replace")[-4000:])


def _file() -> Any:
    return tempfile.TemporaryFile()


def end(process: subprocess.Popen[Any]) -> None:
    """It, and what it has started or forked."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
