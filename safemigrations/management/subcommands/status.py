"""safemigrations status: what is left for the contract, what it waits for, and what people decided about it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from textwrap import indent
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.core.serializers.json import DjangoJSONEncoder
from django.db import connections

from safemigrations.contracts import queue, reversals
from safemigrations.contracts.acts import Act, kept
from safemigrations.contracts.answers import Answer, answers
from safemigrations.contracts.table import HOLDING, Contract, Status
from safemigrations.data import Data
from safemigrations.durations import duration, shown_age, shown_moment
from safemigrations.errors import to_type
from safemigrations.management import databases
from safemigrations.running.backfill.progress import UNFINISHED
from safemigrations.running.backfill.progress import Status as Filled
from safemigrations.running.backfill.standing import Standing, standings
from safemigrations.running.clock import server_time
from safemigrations.running.server import refuse_unreadable

HELP = "Print what is left for the contract in a database, what it waits for, and which backfills aren't finished."


def add_arguments(parser: CommandParser) -> None:
    databases.add_argument(parser)
    parser.add_argument("--format", choices=["text", "json"], default="text")
    parser.add_argument("--all", action="store_true", help="Also what is finished.")
    parser.add_argument(
        "--older-than",
        type=duration,
        metavar="SPAN",
        help="Exit with 1 when a row has waited for longer, such as 7d, and nobody has postponed or skipped it.",
    )


class Line(Data):
    """A row that is left, and what people decided about it."""

    row: Contract
    acts: list[Act]
    answer: Answer | None  # of the gate; None: it may run
    at: datetime  # by the server's clock

    @property
    def is_forgotten(self) -> bool:
        """Did nobody decide that it waits? A postponed row is forgotten again when its time has come."""
        row = self.row
        over = row.until is not None and row.until <= self.at
        return over if row.status == Status.POSTPONED else row.status != Status.SKIPPED

    @property
    def age(self) -> timedelta:
        return self.at - self.row.created_at

    @property
    def waits_for(self) -> str:
        """What keeps it from running now, besides people: what these decided is among the acts."""
        return self.answer.reason if self.answer and not self.answer.is_decision else ""

    def text(self) -> str:
        row = self.row
        lines = [f"{row.pk:>4}  {row.status:<9}  {shown_age(self.age):>6}  {row}"]
        if row.last_error:
            lines.append(indent(f"attempt {row.attempts}: {row.last_error}", " " * 6))
        if self.waits_for:
            lines.append(indent(f"not now: {self.waits_for}", " " * 6))
        return "\n".join([*lines, *(f"      {_shown(act)}" for act in self.acts)])

    def as_dict(self) -> dict[str, Any]:
        return {
            "number": self.row.pk,
            "app": self.row.app_label,
            "migration": self.row.migration,
            "label": self.row.label,
            "status": self.row.status,
            "until": self.row.until,
            "since": self.row.created_at,
            "age_seconds": int(self.age.total_seconds()),
            "attempts": self.row.attempts,
            "last_error": self.row.last_error,
            "waits_for": self.waits_for,
            "acts": [
                {"act": act.act, "at": act.at, "role": act.database_role, "user": act.os_user, "reason": act.reason}
                | act.details
                for act in self.acts
            ],
        }


def _shown(act: Act) -> str:
    details = "".join(f", {name} {value}" for name, value in act.details.items())
    reason = f": {act.reason}" if act.reason else ""
    return f"{shown_moment(act.at)}  {act.act}{details}, by {act.os_user} as {act.database_role}{reason}"


def _finished(alias: str) -> list[dict[str, Any]]:
    rows = queue.rows(connections[alias], status=Status.DONE)
    return [
        {"number": row.pk, "app": row.app_label, "migration": row.migration, "label": row.label, "at": row.finished_at}
        for row in rows
    ]


def handle(command: BaseCommand, options: dict[str, Any]) -> None:
    alias, older_than = options["database"], options["older_than"]
    refuse_unreadable(connections[alias])
    lines, half_way = _lines(alias), reversals.begun(connections[alias])
    backfills = standings(connections[alias], status__in=UNFINISHED)
    finished = _finished(alias) if options["all"] else []
    filled = standings(connections[alias], status=Filled.DONE) if options["all"] else []
    if options["format"] == "json":
        found = {
            "event": "status",
            "database": alias,
            "half_way_back": [{"app": one.app_label, "migration": one.migration} for one in half_way],
            "rows": [line.as_dict() for line in lines],
            "backfills": [one.as_dict() for one in (*backfills, *filled)],
            **({"finished": finished} if options["all"] else {}),
        }
        command.stdout.write(json.dumps(found, cls=DjangoJSONEncoder))
    else:
        text = [
            *(f"{one.explanation}." for one in half_way),
            f"Left for the contract in database {alias}: {len(lines)}",
        ]
        text += [indent(line.text(), "  ") for line in lines]
        text += _of_backfills(backfills)
        if options["all"]:
            text += [f"Finished: {len(finished) + len(filled)}", *map(_of_finished, finished)]
            text += [f"  {one.text()}" for one in filled]
        command.stdout.write("\n".join(text))
    if older_than is not None:
        _refuse_forgotten([line for line in lines if line.age > older_than and line.is_forgotten])


def _of_finished(row: dict[str, Any]) -> str:
    return f"  {row['number']:>4}  {shown_moment(row['at'])}  {row['app']}.{row['migration']}  {row['label']}"


def _of_backfills(found: Sequence[Standing]) -> list[str]:
    lines = [f"Backfills that aren't finished: {len(found)}"] if found else []
    for one in found:
        lines.append(f"  {one.text()}")
        lines += [indent(one.row.last_error, " " * 12)] if one.row.last_error else []
    return lines


def _lines(alias: str) -> list[Line]:
    connection = connections[alias]
    every, rows = list(kept(connection)), list(queue.rows(connection, status__in=HOLDING))
    found = answers(connection, rows) if rows else {}
    at = server_time(connection)
    return [Line(row, _acts_on(row, every), found.get(row.pk), at) for row in rows]


def _acts_on(row: Contract, every: Sequence[Act]) -> list[Act]:
    """What people decided about the row, also before it was adopted, under the names that it had then."""
    names, found = {f"{row.app_label}.{row.migration}"}, list[Act]()
    for act in reversed([act for act in every if act.operation == row.operation]):
        if act.details.get("migration") in names:
            names.add(f"{act.app_label}.{act.migration}")
        if f"{act.app_label}.{act.migration}" in names:
            found.insert(0, act)
    return found


def _refuse_forgotten(lines: Sequence[Line]) -> None:
    if lines:
        numbers = ", ".join(str(line.row.pk) for line in lines)
        raise CommandError(
            f"Forgotten: {numbers}. Run migrate --contract, or decide about each: "
            f"{to_type('safemigrations contract postpone|skip NUMBER --reason WHY', lines[0].row._state.db)}"
        )
