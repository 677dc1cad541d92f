"""Folders of a rehearsal in the temporary directory. The next rehearsal removes those that a killed one has left."""

from __future__ import annotations

import fcntl
import shutil
import subprocess
import tempfile
import time
from contextlib import ExitStack, suppress
from pathlib import Path

PREFIX = "safemigrations-rehearsal-"
LOCK, NEW = "lock", "lock.new"
TREE = "old"  # the git worktree in a folder
DAY = 24 * 60 * 60  # seconds


def temporary_folder(stack: ExitStack) -> Path:
    """An empty one, which is gone when the stack is closed."""
    _remove_left()
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=PREFIX))).resolve()
    file = stack.enter_context((folder / NEW).open("w"))
    fcntl.flock(file, fcntl.LOCK_EX)
    (folder / NEW).rename(folder / LOCK)  # locked before it gets its name, so that nobody ever finds it free
    return folder


def _remove_left() -> None:
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with suppress(OSError):  # somebody else's, or gone by now
            if _is_left(folder):
                _remove(folder)


def _is_left(folder: Path) -> bool:
    """Was its rehearsal killed?

    A running rehearsal holds the lock of its folder. One that was killed early left an empty folder.
    """
    try:
        with (folder / LOCK).open() as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except FileNotFoundError:
        return folder.stat().st_mtime < time.time() - DAY
    return True


def _remove(folder: Path) -> None:
    """Remove the folder, and what its repository knows of the worktree in it."""
    tree = str(folder / TREE)
    subprocess.run(["git", "-C", tree, "worktree", "remove", "--force", tree], capture_output=True)
    shutil.rmtree(folder)
