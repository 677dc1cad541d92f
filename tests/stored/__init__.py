"""What versions of this package wrote: plans, migration files, and databases before and after the contract.

A file here is never changed: queues and migrations like these are out there. `record.py` writes that of a new version.
"""

from __future__ import annotations

import json
import lzma
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent
VERSIONS = sorted(path.name.removesuffix(".json.xz") for path in FOLDER.glob("*.json.xz"))


def read(version: str) -> dict[str, Any]:
    """`start` is a dump of the database; `files` are migrations by name; `cases` by name hold what each wrote.

    Of a case there are `files`, the `steps` of its expand, the `rows` that it left, and dumps of the database, which is
    `expanded` and then `contracted`.
    """
    with lzma.open(FOLDER / f"{version}.json.xz") as file:
        return json.load(file)  # type: ignore[no-any-return]


def write(version: str, recorded: dict[str, Any]) -> None:
    with lzma.open(FOLDER / f"{version}.json.xz", "wt", preset=9 | lzma.PRESET_EXTREME) as file:
        json.dump(recorded, file)
