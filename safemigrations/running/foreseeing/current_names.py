"""Tables that a plan is going to rename: earlier questions about them use their current names."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ...data import Data
from ...plans.carried import Renamed
from ...plans.claims import Claim, Kind
from ...plans.steps import FOR_PEOPLE
from ...postgres.names import Name

OF_TABLES = {"table", "pages_of"}  # fields that hold a table as it stands in a statement
# A quoted name is that of a table after these, within a literal, and before the dot of its column. Elsewhere it is
# a column, which may be called like a table.
BEFORE_TABLE = (
    r"\b(?:from|join|update|only|into|table|on|references|exists|analyze|truncate|using|view)\s+(?:only\s+)?\(?|'"
)
WITH_FROM = r"(?:extract|substring|trim|overlay|position)\s*$"  # functions that have FROM before a value
DISTINCT = r"\bdistinct\s+from\s+"


class CurrentNames:
    """Gives the current names of tables that are going to be renamed."""

    def __init__(self) -> None:
        self.now: dict[Claim, Claim] = {}  # by the name that the table will have

    def add(self, one: Renamed) -> None:
        self.now[one.new] = self.of(one.old)

    def of(self, value: Any) -> Any:
        """The same step, claim or text with current names."""
        if not self.now:
            return value
        match value:
            case Claim():
                return self._of_claim(value)
            case str():
                return self._of_text(value)
            case tuple():
                return tuple(map(self.of, value))
            case Mapping():
                return {self._of_table(table): self.of(one) for table, one in value.items()}
            case Data():
                return self._of_data(value)
        return value

    def _of_data(self, data: Any) -> Any:
        """The same value with current names; sentences for people keep those that the tables will have."""
        fields = {name: getattr(data, name) for name in {*data.field_names()} - FOR_PEOPLE}
        now = {name: (self._of_table if name in OF_TABLES else self.of)(value) for name, value in fields.items()}
        return replace(data, **now)

    def _of_claim(self, claim: Claim) -> Claim:
        now = self.now.get(Claim(Kind.TABLE, claim.table, schema=claim.schema))
        return replace(claim, table=now.table, schema=now.schema) if now else claim

    def _of_table(self, table: str) -> str:
        return type(table)(self._names.get(table, table))

    def _of_text(self, text: str) -> str:
        """In one go, because two tables may exchange their names."""
        names = self._names
        either = "|".join(map(re.escape, sorted(names, key=len, reverse=True)))
        as_table = rf'({BEFORE_TABLE})({either})(?!")|(?<![."])({either})(?=\.)'
        found = re.sub(
            rf"{DISTINCT}(?={either})|{as_table}", lambda match: _replaced(match, names), text, flags=re.IGNORECASE
        )
        return text if found == text else type(text)(found)  # a Name or a Probe stays one

    @property
    def _names(self) -> dict[str, str]:
        """By the name that the table will have, as it stands in a statement."""
        return {str(_name(one)): str(_name(now)) for one, now in self.now.items()}


def _replaced(match: re.Match[str], names: Mapping[str, str]) -> str:
    before, table = match[1] or "", match[2] or match[3]
    if not table or _is_value(match):
        return match[0]
    return f"{before}{names.get(table, table)}"


def _is_value(match: re.Match[str]) -> bool:
    """Is it what stands behind the FROM of a function, as in EXTRACT(year FROM "due")?"""
    has_column = match.string.startswith(".", match.end())
    if has_column or not (match[1] or "").lower().startswith("from"):
        return False
    depth = 0
    for place in range(match.start() - 1, -1, -1):
        depth += {")": 1, "(": -1}.get(match.string[place], 0)
        if depth < 0:
            return bool(re.search(WITH_FROM, match.string[:place], re.IGNORECASE))
    return False


def _name(table: Claim) -> Name:
    return Name.of(table.table, table.schema)
