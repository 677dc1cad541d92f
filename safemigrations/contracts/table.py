"""The table of the contract queue."""

from __future__ import annotations

from functools import cached_property

from django.apps.registry import Apps
from django.db import models
from django.utils.timezone import now

from ..plans.steps import Plan
from ..plans.stored import from_json


class Status(models.TextChoices):
    PENDING = "pending"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


OPEN = (Status.PENDING, Status.RUNNING, Status.FAILED)


class Contract(models.Model):
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

    class Meta:
        apps = Apps()
        app_label = "safemigrations"
        db_table = "safemigrations_contract"
        constraints = (
            models.UniqueConstraint(fields=["app_label", "migration", "operation"], name="safemigrations_contract_key"),
        )

    def __str__(self) -> str:
        return f"{self.app_label}.{self.migration}  {self.label}"

    @cached_property
    def steps(self) -> Plan:
        return from_json(self.plan)
