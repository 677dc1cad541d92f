"""What a contract would drop under a model of the running code: it stops, and says which.

It may be a model for reports that isn't managed, or one that has taken the table over in another app. The code may also
be ahead of the database. Then a model that isn't there yet, or a field that comes back, is no reason to stop.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from django.apps import apps
from django.apps.registry import Apps
from django.db import models, router
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.executor import MigrationExecutor

from ..errors import StepFailed, to_type
from ..plans import claims
from ..plans.claims import Claim, Kind
from ..postgres.names import Name
from ..typed import applied_state
from .held import freed_by
from .table import Contract


def refuse_used(connection: BaseDatabaseWrapper, chosen: Iterable[Contract]) -> None:
    """Raise StepFailed where one of these rows would drop a table or a column that a model uses."""
    freed = [(row, claim) for row in chosen for claim in freed_by(row.steps)]
    used = [(row, claim, user) for row, claim in freed for user in users(claim, apps, connection.alias)]
    if not used:
        return
    state = applied_state(MigrationExecutor(connection))  # takes time, and hardly ever is there anything to ask
    for row, claim, user in used:
        label, name = user.split(".")
        if label not in {app for app, _ in state.models} or user in users(claim, state.apps, connection.alias):
            skip = to_type(f"safemigrations contract skip {row.pk}", connection.alias)
            raise StepFailed(
                f"The contract of {row} would drop the {claim}, which the model {user} of this code uses. Nothing was "
                f"changed. If {name} keeps it, type: {skip} --reason ..., and "
                "what would go stays. Else remove it from the model first."
            )


def users(claim: Claim, registry: Apps, alias: str) -> list[str]:
    """The models of this database that have the table, or the column."""
    if claim.kind not in (Kind.TABLE, Kind.COLUMN):
        return []
    found = registry.get_models(include_auto_created=True)
    return sorted({model._meta.label for model in found if _uses(model, claim, alias)})


def _uses(model: type[models.Model], claim: Claim, alias: str) -> bool:
    return any(claim.meets(each) for each in _claims(model)) and router.allow_migrate_model(alias, model)


def _claims(model: type[models.Model]) -> Iterator[Claim]:
    table = Name.from_django(model._meta.db_table)
    yield claims.table(table)
    for field in model._meta.local_concrete_fields:
        yield claims.column(table, Name.from_django(str(field.column)).raw)
