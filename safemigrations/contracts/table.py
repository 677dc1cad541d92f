"""The table of the contract queue."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any, ClassVar

from django.apps.registry import Apps
from django.db import models
from django.utils.timezone import now

from ..errors import to_type
from ..plans.steps import Plan
from ..plans.stored import from_json
from ..running.readable import Readable
from ..running.signed import Signed, refuse_unsigned
from ..running.storage import Own


class Status(models.TextChoices):
    PENDING = "pending"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    POSTPONED = "postponed"  # until a time; then it is open as before
    SKIPPED = "skipped"  # for good, with a reason; what it would remove stays, and nobody else may take it


OPEN = (Status.PENDING, Status.RUNNING, Status.FAILED, Status.POSTPONED)
HOLDING = (*OPEN, Status.SKIPPED)


class AbstractContract(Signed):
    """The contract plan of one operation of one migration."""

    app_label = models.CharField(max_length=255)
    migration = models.CharField(max_length=255)
    operation = models.TextField()  # what identifies it in its migration, squashed or not
    label = models.TextField()  # for people
    database = models.CharField(max_length=255)
    plan = models.JSONField()
    status = models.CharField(max_length=10, choices=Status, default=Status.PENDING)
    attempts = models.IntegerField(default=0)
    last_error = models.TextField(blank=True)
    created_at = models.DateTimeField(default=now)
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)
    until = models.DateTimeField(null=True)  # of a row that is postponed
    reason = models.TextField(default="", db_default="", blank=True)  # why it is postponed or skipped

    signed = ("operation", "plan")  # not the migration: somebody may adopt the row

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return f"{self.app_label}.{self.migration}  {self.label}"

    @property
    def told(self) -> dict[str, Any]:
        """The data that every event about the row carries."""
        return {"row": self.pk, "migration": f"{self.app_label}.{self.migration}", "label": self.label}

    @property
    def is_begun(self) -> bool:
        """May some of its plan have run? A postponed or skipped row stays in the state in which its run left it."""
        return self.attempts > 0

    @cached_property
    def steps(self) -> Plan:
        """The steps of its plan. Raises StepFailed if the plan isn't signed with SECRET_KEY."""
        if not self._state.adding:
            refuse_unsigned(self, cure=how_to_trust(self))
        return from_json(self.plan)


class Contract(Readable, AbstractContract):
    forms: ClassVar[Mapping[str, type]] = {"plan": list}

    class Meta(Own):
        apps = Apps()
        db_table = "safemigrations_contract"
        constraints = (
            models.UniqueConstraint(fields=["app_label", "migration", "operation"], name="safemigrations_contract_key"),
        )


def how_to_trust(row: AbstractContract) -> str:
    trust = to_type(f"safemigrations contract trust {row.pk}", row._state.db)
    look = f"SELECT jsonb_pretty(plan) FROM safemigrations_contract WHERE id = {row.pk}"
    return f"If the plan is right ({look}), type: {trust} --reason ..."
