"""What a plan gives another name, or computes row by row from what is there.

So what it is going to hold can be asked before the plan begins: of the table and the column that are there now.
"""

from __future__ import annotations

from ..data import Data
from .claims import Claim
from .column import Column


class Carried(Data):
    """A column that is going to hold `value`: SQL over the value of `original`, {}.

    Both have the same name if only the type changes. `value_back`: what `original` gets of the column on the way back.
    """

    original: Claim
    column: Claim
    value: str
    value_back: str = ""

    @property
    def back(self) -> tuple[Carried, ...]:
        """The column of the way back; none where it isn't known which value was made of which."""
        value = "{}" if self.value == "{}" else self.value_back
        return (Carried(original=self.column, column=self.original, value=value),) if value else ()


def carried(original: Column, column: Column, value: str = "{}", value_back: str = "") -> Carried:
    return Carried(
        original=original.claim,
        column=column.claim,
        value=_collated(value, column),
        value_back=_collated(value_back, original) if value_back else "",
    )


def _collated(value: str, column: Column) -> str:
    return f"{value} COLLATE {column.collation}" if column.collation else value


class Renamed(Data):
    """A table that gets another name."""

    old: Claim
    new: Claim

    @property
    def back(self) -> Renamed:
        return Renamed(old=self.new, new=self.old)
