"""The schemas of a rehearsal: the one with which each play has to end, and the findings of `verify` on the way."""

from __future__ import annotations

import json
import re
from typing import Any

from ..contracts import queue
from ..postgres.snapshot import Snapshot, difference, nameless, snapshot
from .playing import Play, Stage
from .processes import NotRehearsed
from .result import Finding
from .scratch import Names

JSON = re.compile(r"^\{$", re.MULTILINE)  # where it begins, after warnings


class Schemas:
    """Those of both releases, and what was found different from them."""

    def __init__(self, stage: Stage) -> None:
        self.stage, self.findings = stage, list[Finding]()
        self.before: Snapshot = {}  # of the old release
        self.after: Snapshot = {}  # what Django's own operations make of it; empty where they fail
        self.known: dict[str, str] = {}  # what verify says before the change, after Django's, and what was told since

    def learn_before(self) -> None:
        self.before, self.known = self._schema(self.stage.scratch.base), self._drift(self.stage.scratch.base)

    def learn_after(self, play: Play) -> None:
        self.after = self._schema(play.names)
        if all(one.model for one in self.stage.changes.touched):  # SQL and functions answer for what they leave
            self.known |= self._drift(play.names)

    def look_at_the_end(self, play: Play, phase: str) -> None:
        self._compare(play, phase, "that of Django's operations", self.after, self._schema(play.names))

    def look_at_the_way_back(self, play: Play, phase: str) -> None:
        self._compare(play, phase, "that of the old release", nameless(self.before), nameless(self._schema(play.names)))

    def verify(self, play: Play, phase: str) -> None:
        lines = {place: text for place, text in self._drift(play.names).items() if place not in self.known}
        self.findings += self.stage.verdict.of_drift(phase, lines)
        self.known |= lines  # each is told once

    def is_left_something(self, play: Play) -> bool:
        """Is there anything for `migrate --contract` to do?"""
        connection = self.stage.scratch.connect(play.names)
        try:
            return bool(queue.open_rows(connection))
        finally:
            connection.close()

    def empty(self, play: Play) -> None:
        """Remove the rows, as stock operations may need what no row has; rows aren't compared."""
        connection = self.stage.scratch.connect(play.names)
        try:
            tables = [name for name, (kind, *_) in self.before["tables"].items() if kind in "rp"]
            with connection.cursor() as cursor:
                cursor.execute(f"TRUNCATE {', '.join(tables)} CASCADE")
        finally:
            connection.close()

    def _compare(self, play: Play, phase: str, whose: str, there: Snapshot, here: Snapshot) -> None:
        """What is wrong with the schema, verify would say again."""
        if there and (objects := difference(there, here)):
            self.findings += self.stage.verdict.of_differences(phase, whose, objects)
        else:
            self.verify(play, phase)

    def _schema(self, names: Names) -> Snapshot:
        connection = self.stage.scratch.connect(names)
        try:
            return snapshot(connection)
        finally:
            connection.close()

    def _drift(self, names: Names) -> dict[str, str]:
        """What `verify` of the new release says: table, part and kind -> line."""
        alias = self.stage.scratch.alias
        ended = self.stage.new.manage(names, "safemigrations", "verify", "--format", "json", "--database", alias)
        if not (begin := JSON.search(ended.output)):
            raise NotRehearsed(f"verify of the new release failed:\n{ended.output}")
        found, _ = json.JSONDecoder().raw_decode(ended.output, begin.start())
        return {f"{line['table']} {line['name']} {line['kind']}": _line(line) for line in found["drift"]}


def _line(line: dict[str, Any]) -> str:
    place = ".".join(filter(None, (line["table"], line["name"])))
    return f"{place}: {line['text']}"
