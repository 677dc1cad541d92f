"""Tables that a plan is going to rename: earlier questions about them use their current names."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ..data import Data
from ..plans.carried import Renamed
from ..plans.claims import Claim, Kind
from ..postgres.names import Name

FOR_PEOPLE = {"why", "failure"}  # fields whose sentences have the names that the tables will have


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
                return {self.of(name): self.of(one) for name, one in value.items()}
            case Data():
                names = {*value.field_names()} - FOR_PEOPLE
                return replace(value, **{name: self.of(getattr(value, name)) for name in names})  # type: ignore[type-var]
        return value

    def _of_claim(self, claim: Claim) -> Claim:
        now = self.now.get(Claim(Kind.TABLE, claim.table, schema=claim.schema))
        return replace(claim, table=now.table, schema=now.schema) if now else claim

    def _of_text(self, text: str) -> str:
        """In one go, because two tables may exchange their names."""
        names = {str(_name(one)): str(_name(now)) for one, now in self.now.items()}
        either = "|".join(map(re.escape, sorted(names, key=len, reverse=True)))
        found = re.sub(rf'(?<![."])(?:{either})(?!")', lambda match: names[match[0]], text)
        return text if found == text else type(text)(found)  # a Name or a Probe stays one


def _name(table: Claim) -> Name:
    return Name.of(table.table, table.schema)
