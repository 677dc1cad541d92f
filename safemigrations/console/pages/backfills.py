"""Backfills: how far they are, and buttons for those who may steer them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from django import forms
from django.contrib import admin
from django.db.backends.base.base import BaseDatabaseWrapper
from django.utils.html import format_html
from django.utils.safestring import SafeString

from ...contracts.steering import steer
from ...durations import shown_seconds
from ...errors import to_type
from ...postgres.names import Name
from ...running.backfill.progress import UNFINISHED, Status
from .. import facts
from ..models import Backfill
from .act import Act, Do, NoQuestion, WithReason
from .own_table import DatabaseFilter, OwnTable


class Pace(forms.Form):
    batch_seconds = forms.FloatField(min_value=0.001, max_value=60, required=False, help_text="Seconds for a batch.")
    rate = forms.FloatField(min_value=0, required=False, help_text="Rows a second at most; 0: no limit.")
    rest = forms.FloatField(min_value=0, max_value=100, required=False, help_text="Seconds, for a second of work.")

    def clean(self) -> dict[str, Any]:
        given = {name: value for name, value in (super().clean() or {}).items() if value is not None}
        if not given:
            raise forms.ValidationError("Write at least one of them.")
        return given


def steering(act: str) -> Do:
    def do(connection: BaseDatabaseWrapper, number: int, answers: dict[str, Any], user: str) -> None:
        pace = {name: value for name, value in answers.items() if name != "reason"}
        steer(connection, act, number, pace, reason=answers.get("reason", ""), user=user)

    return do


class UnfinishedFilter(admin.SimpleListFilter):
    title = "what is shown"
    parameter_name = "shown"

    def lookups(self, request: Any, model_admin: Any) -> list[tuple[str, str]]:
        return [("unfinished", "unfinished ones")]

    def queryset(self, request: Any, queryset: Any) -> Any:
        return queryset.filter(status__in=UNFINISHED) if self.value() else queryset


@admin.register(Backfill)
class Backfills(OwnTable):
    title = "Backfills"
    list_display = ("label", "bar", "state", "speed", "left_for", "workers", "of_migration")
    list_filter: ClassVar[Any] = (UnfinishedFilter, DatabaseFilter)
    search_fields = ("label", "app_label", "migration")
    fields = (
        *("label", "of_migration", "state", "bar", "speed", "left_for", "workers", "pace", "last_error"),
        *("created_at", "started_at", "finished_at"),
    )
    readonly_fields = ("of_migration", "state", "bar", "speed", "left_for", "workers")
    acts = tuple(
        Act(name, label, done, form, statuses, steering(name))
        for name, label, done, form, statuses in (
            ("pause", "Pause", "Paused", NoQuestion, (Status.PENDING, Status.RUNNING)),
            ("resume", "Resume", "Resumed", NoQuestion, (Status.PAUSED, Status.CANCELLED)),
            ("pace", "Change the pace", "Changed the pace", Pace, UNFINISHED),
            ("cancel", "Cancel", "Cancelled", WithReason, UNFINISHED),
        )
    )

    def headline(self, connection: BaseDatabaseWrapper) -> str:
        return "Existing rows that are filled in batches. To work on them:"

    def command(self, alias: str) -> str:
        return to_type("safemigrations backfill run", alias)

    def command_for(self, act: Act, row: Any) -> str:
        return to_type(f"safemigrations backfill {act.name} {row.pk}", row._state.db)

    def explain(self, connection: BaseDatabaseWrapper, rows: Sequence[Any]) -> None:
        found = facts.working(connection, rows)
        for row in rows:
            row.now = found[row.pk]

    def is_moving(self, rows: Sequence[Any]) -> bool:
        return any(row.status in UNFINISHED for row in rows)

    def details(self, connection: BaseDatabaseWrapper, row: Any) -> dict[str, Any]:
        sections = facts.sections_of(connection, row) if row.status in UNFINISHED else []
        working = [f"pid {one.owner}: {one}" for one in sections if not one.is_done]
        return {
            "rejected": facts.rejected(row),
            "key": [Name(column).raw for column in row.backfill.key],
            "lists": [("Sections", working)],
        }

    @admin.display(description="migration", ordering="id")
    def of_migration(self, row: Backfill) -> str:
        return f"{row.app_label}.{row.migration}" if row.migration else "-"

    @admin.display(ordering="status")
    def state(self, row: Any) -> str:
        return f"{row.now.status}: {row.now.why}" if row.now.why else str(row.now.status)

    @admin.display(description="how far")
    def bar(self, row: Any) -> SafeString:
        speed = row.now.speed
        if speed.share is None:
            return format_html("{} rows", f"{speed.filled:,}")
        percent = f"{100 * speed.share:.0f}"
        return format_html(
            '<progress max="100" value="{}" aria-label="{}">{} %</progress> {} %, {} rows filled',
            *(percent, f"{row}: {percent} %", percent, percent, f"{speed.filled:,}"),
        )

    @admin.display(description="rows a second")
    def speed(self, row: Any) -> str:
        return f"{row.now.speed.rows_a_second:,.0f}"

    @admin.display(description="expected end")
    def left_for(self, row: Any) -> str:
        left = row.now.speed.seconds_left
        return "-" if left is None or not row.now.workers else f"in {shown_seconds(left)}"

    @admin.display
    def workers(self, row: Any) -> int:
        return int(row.now.workers)
