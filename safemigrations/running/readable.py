"""Rows that this version of the package understands.

A newer version may have written a table, or a person. A status that nobody here knows is neither overlooked nor taken
for another, and JSON of another form ends no command with a traceback: whoever reads such a row is told of it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any, ClassVar, Self, TypeVar

from django.db import models
from django.db.models import Q

from ..errors import StepFailed
from ..plans.stored import WITH_THAT_VERSION


class Readable(models.Model):
    """Raises StepFailed when a row is read that isn't; `forms` says what the JSON of each field is."""

    forms: ClassVar[Mapping[str, type]] = {}

    class Meta:
        abstract = True

    @classmethod
    def from_db(cls, db: str | None, field_names: Collection[str], values: Collection[Any], **more: Any) -> Self:
        row = super().from_db(db, field_names, values, **more)
        for what in row._unreadable():
            raise StepFailed(
                f"Row {row.pk} of {cls._meta.db_table} has {what}, which this version of safemigrations doesn't know: "
                f"a newer version has written it, or a person. {WITH_THAT_VERSION}"
            )
        return row

    def _unreadable(self) -> Iterator[str]:
        loaded = vars(self)
        for name, form in self.forms.items():
            if name in loaded and not self._has_form(name, loaded[name], form):
                yield f"a {name} of another form"
        if "status" in loaded and loaded["status"] not in known_statuses(type(self)):
            yield f"the status {loaded['status']}"

    def _has_form(self, name: str, value: Any, form: type) -> bool:
        return isinstance(value, form) or (value is None and bool(self._meta.get_field(name).null))


Row = TypeVar("Row", bound=Readable)


def matching(found: models.QuerySet[Row], filters: dict[str, Any]) -> models.QuerySet[Row]:
    """The rows that match, and of several statuses that are asked for, also those with one that nobody knows."""
    statuses = filters.pop("status__in", None)
    if statuses is not None:
        found = found.filter(Q(status__in=statuses) | ~Q(status__in=known_statuses(found.model)))
    return found.filter(**filters)


def known_statuses(model: type[models.Model]) -> list[str]:
    field: Any = model._meta.get_field("status")
    return [value for value, _ in field.choices]
