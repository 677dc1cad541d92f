"""The table of ids in docs/checks.md, written from the list that the checks use.

    DJANGO_SETTINGS_MODULE=tests.settings python -m tests.checks_page

writes it anew; tests/test_docs.py says when that is needed.
"""

from __future__ import annotations

import re
from pathlib import Path

from safemigrations.checking.catalogue import KINDS, Kind

PAGE = Path(__file__).resolve().parents[1] / "docs" / "checks.md"
HEAD = "| id | change | fires on | level |\n|---|---|---|---|\n"
TABLE = re.compile(r"^\| id \| change \|.*?\n\n", re.MULTILINE | re.DOTALL)


def row(kind: Kind) -> str:
    page = f"[{kind.page}]({kind.page}.md)" if kind.page else "–"  # noqa: RUF001  # as the pages have it
    return f"| `{kind.id}` | {page} | {kind.fires_on} | {kind.level} |\n"


def table() -> str:
    return HEAD + "".join(map(row, sorted(KINDS, key=lambda kind: kind.id.rpartition(".")[2][1:])))


def written() -> str:
    """The page with its table as it should be."""
    return TABLE.sub(lambda _: f"{table()}\n", PAGE.read_text(), count=1)


if __name__ == "__main__":
    PAGE.write_text(written())
