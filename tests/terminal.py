"""A command on a terminal of its own: what it writes can be read while it runs."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import sys
import termios

from . import processes
from .contention import PATIENCE
from .project import Project

CONTROL = re.compile(r"\x1b\[\??[\d;]*([A-Za-z])")
COLOR = re.compile(r"\x1b\[(?:3[0-9]|9[0-9])m|\x1b\[[\d;]*;3\dm|\x1b\[3\d;[\d;]*m")
WITHOUT_RICH = "raise ImportError('not here')\n"  # of a module that is found first


class Terminal:
    """Whoever has one reads it to the end with wait()."""

    def __init__(self, project: Project, *args: str, columns: int = 80, **environment: str) -> None:
        self.ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        self.process = processes.start(
            [sys.executable, "manage.py", *args],
            cwd=project.folder,
            env={**project._environment(), "TERM": "xterm", "COLUMNS": "", "CI": "", "NO_COLOR": "", **environment},
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
        )
        os.close(theirs)
        self.written = b""

    @property
    def text(self) -> str:
        """Everything that was written, with what moves the cursor."""
        return self.written.decode(errors="replace")

    def _read(self) -> bool:
        ready, _, _ = select.select([self.ours], [], [], PATIENCE)
        assert ready, f"Nothing was written for {PATIENCE:.0f} s:\n{self.text}"
        try:
            chunk = os.read(self.ours, 65536)
        except OSError:  # how the end of a terminal is read on Linux
            return False
        self.written += chunk
        return bool(chunk)

    def read_until(self, pattern: str) -> re.Match[str]:
        while not (found := re.search(pattern, plain(self.text))):
            assert self._read(), f"It ended without {pattern!r}:\n{self.text}"
        return found

    def wait(self, *, status: int = 0) -> str:
        while self._read():
            pass
        os.close(self.ours)
        assert self.process.wait() == status, self.text
        return self.text


def plain(text: str) -> str:
    """Without colors and other control sequences."""
    return CONTROL.sub("", text)
