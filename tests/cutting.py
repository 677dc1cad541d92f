"""A server that ends a connection at one of its statements, or takes none: a proxy before the server of the tests."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from enum import Enum
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import BinaryIO

QUERY, END_OF_EXTENDED = b"Q", b"S"  # one of them for each statement


class How(Enum):
    """What the client gets instead of the answer to the statement."""

    CLOSED = "the connection is closed"
    SAID = "an administrator has ended it"
    DONE = "the statement is carried out, and the connection is closed"


class Cutting:
    """Counts the statements of all connections, and cuts the connection that sends the one numbered `at`."""

    def __init__(self, folder: str, host: str, port: str) -> None:
        self.folder, self.target = folder, f"{host}/.s.PGSQL.{port}"
        self.count, self.at, self.how, self.refusal = 0, 0, How.CLOSED, b""
        self.lock = threading.Lock()
        self.server = socket.socket(socket.AF_UNIX)
        self.server.bind(f"{folder}/.s.PGSQL.{port}")
        self.server.listen(50)
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self, at: int, how: How = How.CLOSED) -> None:
        """From now on; 0: never."""
        self.count, self.at, self.how, self.refusal = 0, at, how, b""

    def refuse(self, sqlstate: str, text: str) -> None:
        """Take no connection from now on."""
        self.refusal = fatal(sqlstate, text)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self.server.accept()
            except OSError:  # the test has ended
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, suppress(OSError):
            if self.refusal:
                client.recv(65536)
                client.sendall(self.refusal)
                return
            with socket.socket(socket.AF_UNIX) as server:
                server.connect(self.target)
                _Connection(self, client, server).carry()

    def is_the_one(self) -> bool:
        """Is the statement that has just been sent the one?"""
        with self.lock:
            self.count += 1
            return self.count == self.at


class _Connection:
    def __init__(self, cutting: Cutting, client: socket.socket, server: socket.socket) -> None:
        self.cutting, self.client, self.server = cutting, client, server
        self.is_cut, self.answered = False, threading.Event()

    def carry(self) -> None:
        back = threading.Thread(target=self._back, daemon=True)
        back.start()
        self._forth(self.client.makefile("rb"))
        for end in (self.client, self.server):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        back.join(5)

    def _forth(self, stream: BinaryIO) -> None:
        self.server.sendall(_message(stream))  # the startup packet has no kind
        while kind := stream.read(1):
            message = kind + _message(stream)
            if kind in (QUERY, END_OF_EXTENDED) and self.cutting.is_the_one():
                self._cut(message)
                return
            self.server.sendall(message)

    def _cut(self, message: bytes) -> None:
        match self.cutting.how:
            case How.SAID:
                self.client.sendall(fatal("57P01", "terminating connection due to administrator command"))
            case How.DONE:
                self.is_cut = True
                self.server.sendall(message)
                self.answered.wait(5)

    def _back(self) -> None:
        with suppress(OSError):
            while data := self.server.recv(65536):
                if self.is_cut:
                    self.answered.set()
                else:
                    self.client.sendall(data)
        with suppress(OSError):
            self.client.shutdown(socket.SHUT_RDWR)


def _message(stream: BinaryIO) -> bytes:
    """Its length, which counts itself, and its content."""
    head = stream.read(4)
    return head + stream.read(struct.unpack("!I", head)[0] - 4) if len(head) == 4 else b""


def fatal(sqlstate: str, text: str) -> bytes:
    content = f"SFATAL\0VFATAL\0C{sqlstate}\0M{text}\0\0".encode()
    return b"E" + struct.pack("!I", len(content) + 4) + content


@contextmanager
def cutting(host: str, port: str) -> Iterator[Cutting]:
    """A proxy before the server whose socket is in the folder `host`; its own folder has a short path."""
    with TemporaryDirectory(dir="/tmp", prefix="cut") as folder:
        proxy = Cutting(folder, host, port)
        try:
            yield proxy
        finally:
            proxy.server.close()
            Path(folder, f".s.PGSQL.{port}").unlink(missing_ok=True)
