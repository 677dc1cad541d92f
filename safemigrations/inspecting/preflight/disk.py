"""The free disk space. PostgreSQL can't tell it; the file system can, on the same machine."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

from ...postgres.surroundings import data_directory, size_of_tables
from ...running.foreseeing.ahead import Ahead
from ...running.session import Session
from .remark import Remark, Severity


def room(session: Session, ahead: Ahead) -> Iterator[Remark]:
    """Is there room for a copy of each table that is touched, and for as much WAL?"""
    if not ahead.tables:
        return
    ((wanted,),) = session.rows(size_of_tables(sorted(ahead.tables)))
    free, needs = _free(session), f"the tables of this plan have {shown(wanted)} with their indexes"
    if free is None:
        yield Remark(
            "disk",
            Severity.NOTE,
            f"How much is free on the server's disk can't be asked from here; {needs}.",
            "Look at your monitoring: indexes and copies take up to as much again, and the WAL of them, too.",
        )
    elif free < 2 * wanted:
        yield Remark(
            "disk",
            Severity.WARN,
            f"{shown(free)} are free on the disk of the data directory, and {needs}.",
            "Make room: indexes and copies take up to as much again, and the WAL of them, too.",
        )
    else:
        yield Remark("disk", Severity.NOTE, f"{shown(free)} are free on the disk of the data directory; {needs}.")


def _free(session: Session) -> int | None:
    ((directory, is_here),) = session.rows(data_directory())
    try:
        return shutil.disk_usage(directory).free if directory and is_here else None
    except OSError:  # a container that has only the socket of the other one
        return None


def shown(size: float) -> str:
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 10_240:
            return f"{size:,.0f} {unit}"
        size /= 1024
    return f"{size:,.0f} TB"
