"""The contract queue: what waits until the old release has gone, and why not now."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, ClassVar

from django import forms
from django.contrib import admin
from django.db.backends.base.base import BaseDatabaseWrapper

from ...contracts import deciding
from ...contracts.table import HOLDING, OPEN, Status
from ...errors import to_type
from ...running.clock import server_time
from .. import facts
from ..models import ContractRow
from .act import Act, PerhapsWithReason, WithReason
from .own_table import DatabaseFilter, OwnTable

SPANS = {"1h": timedelta(hours=1), "12h": timedelta(hours=12), "1d": timedelta(days=1), "7d": timedelta(days=7)}
IN_WORDS = [("1h", "one hour"), ("12h", "twelve hours"), ("1d", "one day"), ("7d", "seven days")]
WAITING = [status for status in OPEN if status != Status.RUNNING]


class Postponing(PerhapsWithReason):
    span = forms.ChoiceField(label="For", choices=[*IN_WORDS, ("", "until somebody resumes it")], required=False)

    field_order = ("span", "reason")


def postpone(connection: BaseDatabaseWrapper, number: int, answers: dict[str, Any], user: str) -> None:
    span = SPANS.get(answers["span"])
    until = server_time(connection) + span if span else None
    deciding.postpone(connection, [number], until=until, reason=answers["reason"], user=user)


def skip(connection: BaseDatabaseWrapper, number: int, answers: dict[str, Any], user: str) -> None:
    deciding.skip(connection, [number], reason=answers["reason"], user=user)


def resume(connection: BaseDatabaseWrapper, number: int, answers: dict[str, Any], user: str) -> None:
    deciding.resume(connection, [number], reason=answers["reason"], user=user)


class OpenFilter(admin.SimpleListFilter):
    title = "what is shown"
    parameter_name = "shown"

    def lookups(self, request: Any, model_admin: Any) -> list[tuple[str, str]]:
        return [("all", "also what is done")]

    def choices(self, changelist: Any) -> Any:
        every, all_of_them = super().choices(changelist)
        yield {**every, "display": "what is left"}
        yield all_of_them

    def queryset(self, request: Any, queryset: Any) -> Any:
        return queryset if self.value() == "all" else queryset.filter(status__in=HOLDING)


@admin.register(ContractRow)
class ContractQueue(OwnTable):
    title = "Contract queue"
    list_display = ("label", "why", "status", "age", "of_migration")
    list_filter: ClassVar[Any] = (OpenFilter, DatabaseFilter)
    search_fields = ("label", "app_label", "migration")
    ordering = ("pk",)
    fields = (
        *("label", "of_migration", "status", "why", "reason", "until", "attempts", "last_error"),
        *("created_at", "started_at", "finished_at"),
    )
    readonly_fields = ("of_migration", "age", "why")
    acts = (
        Act("postpone", "Postpone", "Postponed", Postponing, WAITING, postpone),
        Act("skip", "Skip", "Skipped", WithReason, WAITING, skip),
        Act("resume", "Resume", "Resumed", PerhapsWithReason, (Status.POSTPONED, Status.SKIPPED), resume),
    )

    def headline(self, connection: BaseDatabaseWrapper) -> str:
        return "What migrations have left until the old release is gone. No page runs it; a terminal does:"

    def command(self, alias: str) -> str:
        return to_type("migrate --contract", alias)

    def command_for(self, act: Act, row: Any) -> str:
        return to_type(f"safemigrations contract {act.name} {row.pk}", row._state.db)

    def explain(self, connection: BaseDatabaseWrapper, rows: Sequence[Any]) -> None:
        answers = facts.answers_of_the_gate(connection) if any(row.status in HOLDING for row in rows) else {}
        for row in rows:
            row.answer = answers.get(row.pk, "It may run." if row.status in HOLDING else "")

    def details(self, connection: BaseDatabaseWrapper, row: Any) -> dict[str, Any]:
        if row.status not in HOLDING:
            return {}
        lost, lines = facts.lost_with(connection, row.pk), facts.lines_of(connection, row.pk)
        return {"lists": [("Goes for good", lost)], "sql": lines}

    @admin.display(description="migration", ordering="id")
    def of_migration(self, row: ContractRow) -> str:
        return f"{row.app_label}.{row.migration}"

    @admin.display(ordering="-created_at")
    def age(self, row: ContractRow) -> str:
        return str(facts.how_long_ago(row.created_at))

    @admin.display(description="now")
    def why(self, row: Any) -> str:
        return str(row.answer)
