"""What a plan calls by another name, or makes of what is there row by row.

So what it is going to hold can be asked before the plan begins: of the table and the column that are there now.
"""

from __future__ import annotations

from ..data import Data
from .claims import Claim
from .column import Column


class Carried(Data):
    """A column that is going to hold `value`: SQL of what `original` holds, which is {}.

    The two have the same name where only the type changes.
    """

    original: Claim
    column: Claim
    value: str


def carried(original: Column, column: Column, value: str = "{}") -> Carried:
    collation = f" COLLATE {column.collation}" if column.collation else ""
    return Carried(original=original.claim, column=column.claim, value=f"{value}{collation}")


class Renamed(Data):
    """A table that gets another name."""

    old: Claim
    new: Claim

    @property
    def back(self) -> Renamed:
        return Renamed(old=self.new, new=self.old)
