"""The contract queue: contract plans that wait until the old release has gone.

A row holds the plan itself, not a reference to the operation, so it survives squashing, pruning and upgrades.
The table is made on first use, as MigrationRecorder makes django_migrations.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from django.apps.registry import Apps
from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder
from django.utils.timezone import now

from ..errors import StepFailed
from ..plans import claims
from ..plans.claims import Claim, Kind
from ..plans.steps import Backfill, Plan, nested, tables_of
from ..plans.stored import from_json, to_json
from ..postgres.names import Name
from ..running.backfill import progress as backfills
from ..running.run import Report
from ..running.runner import Runner
from ..running.storage import ensure_table, has_table

TABLE = "safemigrations_contract"


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
        db_table = TABLE
        constraints = (
            models.UniqueConstraint(fields=["app_label", "migration", "operation"], name="safemigrations_contract_key"),
        )

    def __str__(self) -> str:
        return f"{self.app_label}.{self.migration}  {self.label}"

    @property
    def steps(self) -> Plan:
        return from_json(self.plan)

    @property
    def frees(self) -> set[Claim]:
        """What is gone when the plan is done."""
        return {claim for step in self.steps for claim in step.frees}

    @property
    def needs(self) -> set[Claim]:
        """What is gone when the plan is done, and the tables that have to keep their names until then."""
        renamed = [claim for step in self.steps for claim in step.takes]
        tables = {claim for claim in self.claimed if claim.kind is Kind.TABLE}
        return self.frees | {table for table in tables if not table.is_in(renamed)}

    @property
    def claimed(self) -> set[Claim]:
        """All that the plan works on: nobody else may touch it meanwhile."""
        steps = self.steps
        said = {claim for step in steps for claim in (*step.frees, *step.takes, *step.works_on)}
        return said | {claims.table(table) for step in nested(steps) for table in tables_of(step)}


def rows(connection: BaseDatabaseWrapper, **filters: Any) -> models.QuerySet[Contract]:
    """The rows of this database that match, oldest first; none where the table was never made."""
    found = Contract._base_manager.using(connection.alias).order_by("id")
    if connection.vendor != "postgresql" or not has_table(connection, Contract):
        return found.none()
    return found.filter(**filters)


def put(
    connection: BaseDatabaseWrapper, *, app_label: str, migration: str, operation: str, label: str, plan: Plan
) -> None:
    """Leave a plan for the contract. Put twice (after a crash), it stands there once."""
    ensure_table(connection, Contract)
    Contract._base_manager.using(connection.alias).update_or_create(
        app_label=app_label,
        migration=migration,
        operation=operation,
        defaults={
            "label": label,
            "database": connection.alias,
            "plan": to_json(plan),
            "status": Status.PENDING,
            "attempts": 0,
            "last_error": "",
            "created_at": now(),
            "started_at": None,
            "finished_at": None,
        },
    )


def open_rows(connection: BaseDatabaseWrapper) -> list[Contract]:
    """What is left to do, but not of migrations that are still to be applied (again, after a crash).

    A migration that is neither recorded nor on disk was squashed and pruned; what it left is still to be done.
    """
    waiting = list(rows(connection, status__in=OPEN))
    applied = MigrationRecorder(connection).applied_migrations() if waiting else {}
    if all((row.app_label, row.migration) in applied for row in waiting):
        return waiting
    to_apply = MigrationLoader(None, ignore_no_migrations=True).disk_migrations.keys() - applied.keys()
    return [row for row in waiting if (row.app_label, row.migration) not in to_apply]


def holders(
    connection: BaseDatabaseWrapper, wanted: Iterable[Claim], *, own: Mapping[str, Any]
) -> dict[Claim, Contract]:
    """Which of these claims an open contract still has to work on.

    `own` selects the row that the asking operation left itself, in a run that was killed before it was recorded. Rows
    that other operations of its migration left in that run only count for what they free, and for the tables that they
    would not find any more under another name.
    """
    wanted, held = set(wanted), {}
    others = rows(connection, status__in=OPEN).exclude(**own) if wanted else ()
    for row in others:
        same_migration = row.app_label == own.get("app_label") and row.migration in own.get("migration__in", ())
        claimed = row.needs if same_migration else row.claimed
        held.update(dict.fromkeys(sorted((claim for claim in wanted if claim.is_in(claimed)), key=str), row))
    return held


def freed(connection: BaseDatabaseWrapper) -> frozenset[Claim]:
    """What the open contracts are going to remove."""
    return frozenset(claim for row in rows(connection, status__in=OPEN) for claim in row.frees)


def contract(connection: BaseDatabaseWrapper, report: Report) -> int:
    """Run what is left, oldest first, and return how many rows that were. Stops at the first that fails."""
    chosen = open_rows(connection)
    _refuse_unfilled(connection, chosen)
    shortened = []
    for row in chosen:
        # What a row would do to a column that a later one drops anyway, alone or with its table, is left out: new code
        # that doesn't know the column any more must not meet a NOT NULL, nor miss a default, in between.
        gone = _freed_after(connection, row, chosen)
        plan = tuple(step for step in row.steps if not any(claim.goes_with(gone) for claim in step.works_on))
        report.begin_row(str(row))
        _run(connection, row, report, plan)
        report.end_row()
        if len(plan) < len(row.steps):
            shortened.append(row)
        else:
            _finish(connection, row)
    for row in shortened:  # only now has what they left out become pointless
        _finish(connection, row)
    return len(chosen)


def _freed_after(connection: BaseDatabaseWrapper, row: Contract, chosen: list[Contract]) -> set[Claim]:
    """What later rows drop, or did drop in a run that was killed before it had marked this one as done."""
    done = rows(connection, status=Status.DONE, id__gt=row.pk)
    later = [*done, *(other for other in chosen if other.pk > row.pk)]
    # A step that alters a column frees its former name: what was done under that isn't gone.
    return {claim for other in later for step in other.steps if not step.altered_column for claim in step.frees}


def _refuse_unfilled(connection: BaseDatabaseWrapper, chosen: Iterable[Contract]) -> None:
    """What `migrate` left for later has to be filled before the contract forbids or drops anything there."""
    tables = {claim.table for row in chosen for claim in row.claimed if claim.kind is Kind.TABLE}
    unfilled = [
        row
        for row in backfills.rows(connection, status__in=backfills.UNFINISHED)
        if row.backfill.can_wait and _may_need(row.backfill, tables) and backfills.is_there(connection, row)
    ]
    if unfilled:
        database = "" if connection.alias == "default" else f" --database {connection.alias}"
        raise StepFailed(
            f"Backfills that this contract needs aren't finished: {'; '.join(map(str, unfilled))}. Nothing was changed."
            f" Finish them with: python manage.py safemigrations backfill run{database}"
        )


def _may_need(step: Backfill, tables: set[str]) -> bool:
    """Does it fill one of these tables, or read one? What a function reads nobody knows."""
    sql = f"{step.table} {step.assign} {step.guard}"
    return bool(tables) and (step.function is not None or any(Name.of(table) in sql for table in tables))


def _run(connection: BaseDatabaseWrapper, row: Contract, report: Report, plan: Plan) -> None:
    row.status, row.attempts, row.started_at = Status.RUNNING, row.attempts + 1, now()
    row.save(using=connection.alias)
    try:
        Runner(connection, report).run(plan)
    except BaseException as error:
        nameless = "interrupted" if isinstance(error, KeyboardInterrupt) else type(error).__name__
        row.status, row.last_error = Status.FAILED, str(error) or nameless
        if connection.is_usable():
            row.save(using=connection.alias)
        raise


def _finish(connection: BaseDatabaseWrapper, row: Contract) -> None:
    row.status, row.last_error, row.finished_at = Status.DONE, "", now()
    row.save(using=connection.alias)
