"""What versions of this package wrote: plans, migration files, and databases before and after the contract.

A file here is never changed: queues and migrations like these are out there. `record.py` and `record_project.py` write
those of a new version.
"""

from __future__ import annotations

import json
import lzma
import subprocess
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent
VERSIONS = sorted(path.name.removesuffix(".json.xz") for path in FOLDER.glob("*.json.xz"))
PROJECTS = FOLDER / "projects"


def read(version: str) -> dict[str, Any]:
    """`start` is a dump of the database; `files` are migrations by name; `cases` by name hold what each wrote.

    Of a case there are `files`, the `steps` of its expand, the `rows` that it left, and dumps of the database, which is
    `expanded` and then `contracted`.
    """
    return _read(FOLDER / f"{version}.json.xz")


def write(version: str, recorded: dict[str, Any]) -> None:
    _write(FOLDER / f"{version}.json.xz", recorded)


def read_project(version: str) -> dict[str, Any]:
    """`models` and `files` are those of its last release, which isn't applied; `before` and `expanded` are dumps.

    In `expanded` the contracts of the release before are open, and so is a backfill; in `before` nothing is.
    """
    return _read(PROJECTS / f"{version}.json.xz")


def write_project(version: str, recorded: dict[str, Any]) -> None:
    PROJECTS.mkdir(exist_ok=True)
    _write(PROJECTS / f"{version}.json.xz", recorded)


def dumped(conninfo: str) -> str:
    """What any session can send: no commands of psql, and no settings that an older server doesn't know."""
    command = ["pg_dump", "--inserts", "--no-owner", "--no-privileges", conninfo]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return "\n".join(line for line in text.splitlines() if line and not line.startswith(("--", "\\", "SET ")))


def _read(path: Path) -> dict[str, Any]:
    with lzma.open(path) as file:
        return json.load(file)  # type: ignore[no-any-return]


def _write(path: Path, recorded: dict[str, Any]) -> None:
    with lzma.open(path, "wt", preset=9 | lzma.PRESET_EXTREME) as file:
        json.dump(recorded, file)
