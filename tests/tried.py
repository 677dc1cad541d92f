"""How often the suites tried to break something, counted while they run. docs/promises.md has the numbers.

The last lines of a run say them: "Tried: 435 sessions ended, 83 processes killed".
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

COUNTS = Counter[str]()


def tried(what: str, number: int = 1) -> None:
    COUNTS[what] += number


class Counting:
    """A plugin of pytest. A worker of pytest-xdist hands its numbers to the process that started it."""

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if handed := getattr(session.config, "workeroutput", None):
            handed["tried"] = dict(COUNTS)

    @pytest.hookimpl(optionalhook=True)  # of pytest-xdist
    def pytest_testnodedown(self, node: Any) -> None:
        COUNTS.update(getattr(node, "workeroutput", {}).get("tried", {}))

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if COUNTS:
            counted = [f"{number:,} {what}" for what, number in sorted(COUNTS.items())]
            terminalreporter.write_line(f"Tried: {', '.join(counted)}")
