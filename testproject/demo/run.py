"""The course of the demo: fill a shop, then bring the same change to it on each side."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from testproject.demo.database import database, fill
from testproject.demo.deploy import Course, Deploy, Load, Pace
from testproject.demo.edits import written_by_hand
from testproject.demo.project import Project
from testproject.demo.screen import Screen
from testproject.demo.sides import Side

FILLED = "safemigrations_demo"


@dataclass(frozen=True)
class Demo:
    directory: Path
    conninfo: str
    screen: Screen
    load: Load
    pace: Pace

    def run(self, sides: list[Side], *, orders: int) -> list[Course]:
        with database(self.conninfo, FILLED):
            old = self._old_release(orders)
            return [self._deploy(side, old) for side in sides]

    def _old_release(self, orders: int) -> Project:
        self.screen.heading("A shop")
        project = Project(self.directory / "old", "testproject.settings_stock", self.conninfo, FILLED)
        project.check_out("old")
        self._manage(project, "makemigrations", "shop")
        self._manage(project, "migrate")
        rows = fill(self.conninfo, FILLED, orders=orders)
        self.screen.say(f"Filled with {orders:,} orders, {rows:,} rows in all.")
        return project

    def _deploy(self, side: Side, old: Project) -> Course:
        self.screen.heading(side.title)
        name = f"{FILLED}_{side.name}"
        with database(self.conninfo, name, copy_of=FILLED):
            new = Project(self.directory / side.name, side.settings, self.conninfo, name)
            new.check_out("new", migrations_of=old)
            by_hand = self._write_migrations(side, new)
            deploy = Deploy(replace(old, database=name), new, self.load, self.pace, tell=self.screen.event)
            course = deploy.run(side)
            course.by_hand = by_hand
            self._manage(new, "makemigrations", "--check")
            return course

    def _write_migrations(self, side: Side, project: Project) -> int:
        """How many lines of them a person writes."""
        before = project.written()
        self._manage(project, "makemigrations", "shop", "--noinput", "--name=order_totals")
        written = project.written()
        (name,) = written.keys() - before.keys()
        self.screen.code(written[name])
        side.edit(project.migrations / name)
        self.screen.say(f"The developer edits it, {side.why_edited}:")
        edited = project.written()
        for changed in sorted(edited):
            if edited[changed] != written.get(changed):
                self.screen.difference(written.get(changed, ""), edited[changed])
        return written_by_hand(written, edited)

    def _manage(self, project: Project, *arguments: str) -> None:
        self.screen.command(*arguments)
        for line in project.manage(*arguments):
            self.screen.output(line)
