"""What one question of preflight found: a value."""

from __future__ import annotations

from enum import StrEnum
from typing import Self

from ...data import Data
from ...errors import NOTHING_WAS_CHANGED


class Severity(StrEnum):
    REFUSE = "refuse"  # the command would refuse, or fail
    WARN = "warn"  # it would run, and somebody may have to wait, or a step may fail
    NOTE = "note"


class Remark(Data):
    """`do` is what to do about it; empty where there is nothing."""

    name: str  # the name of the question, the same in every version
    severity: Severity
    found: str
    do: str = ""

    @classmethod
    def of_refusal(cls, name: str, text: str) -> Self:
        """The remark made of a run's refusal, which says what was found, that nothing was changed, and what to do."""
        found, _, do = text.partition(NOTHING_WAS_CHANGED)
        return cls(name, Severity.REFUSE, found.strip(), do.strip())

    def __str__(self) -> str:
        return "\n".join(filter(None, [f"{self.severity:<6}  {self.found}", f"        {self.do}" if self.do else ""]))
