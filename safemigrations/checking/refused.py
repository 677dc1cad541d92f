"""What migrate refuses because of the migrations alone, whatever a database holds.

makemigrations and the checks say it before, in the same words.

To plan an operation takes models that are rendered, which takes a second in a large project. So the checks plan only
where two operations may get in each other's way, or where an expression has to be read.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, Literal

from django.core.exceptions import FieldError
from django.db import migrations
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations import Migration
from django.db.migrations.exceptions import InvalidBasesError
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState

from ..contracts.held import Holder, freed_by_all
from ..operations.alter_field import AlterFieldConcurrently
from ..operations.alter_field_type import ExpandAlterField
from ..operations.base import Change
from ..operations.drop_default import DropDefaultLater
from ..operations.filling import is_expression
from ..operations.forms import alteration_in
from ..operations.home import home_of
from ..operations.of_migration import Placed, created_by, unwrapped
from ..operations.rule import Context
from ..operations.set_not_null import SetNotNullLater
from ..running.run import Run
from ..typed import set_on, without_classes
from .conflicts import conflict, left_by

Said = tuple[Operation, str]


class Rollout(Run, frozen=False):
    """A run on a database that an old release uses, whatever the settings of a laptop say."""

    @property
    def contract(self) -> Literal["explicitly", "immediately"]:
        return "explicitly"


class Refusing:
    """Asks about migrations in the order in which one run of migrate would apply them."""

    def __init__(self, created: Collection[tuple[str, str]] = ()) -> None:
        self.run, self.holders = Rollout(created=set(created)), list[Holder]()
        self.last: Iterator[Holder] = iter(())  # what the last migration leaves, if another one follows

    def refused(self, migration: Migration, state: ProjectState) -> Iterator[Said]:
        """The operations of a migration that migrate refuses, each with the reason.

        `state`, the one before the migration, isn't changed.
        """
        with contextlib.suppress(NeedsServer, InvalidBasesError):
            self.holders += self.last
        self.run.created |= created_by(migration, self.run.created)
        self.run.freed = freed_by_all(self.holders)
        connection = _home(migration, state)
        if connection:
            # A child whose parent the same release deletes can't be rendered from nothing.
            with contextlib.suppress(NeedsServer, InvalidBasesError):
                before = without_classes(state)
                before.apps  # noqa: B018  # as migrate does: each operation then renders what it changes, not all models
                yield from self._asked(Placed(migration, before, connection))

    def _asked(self, placed: Placed) -> Iterator[Said]:
        found = list(_not_planned(placed, self.run))
        if not found and (clash := conflict(placed, self.run, self.holders)):
            found.append((clash.operation, clash.explain(placed.connection)))
        if not found:
            self.last = left_by(placed, self.run)
        yield from found


class NeedsServer(Exception):
    """Planning asked a question that only a database can answer."""


def without_server(connection: BaseDatabaseWrapper) -> BaseDatabaseWrapper:
    """A connection that plans and never connects, so the checks work without a database. It doesn't quote constants."""
    copy = connection.copy()
    set_on(copy, connect=_refuse_to_connect, only_plans=True)
    set_on(copy.ops, compose_sql=lambda sql, params: f"{sql} {params}")
    return copy


def _refuse_to_connect() -> None:
    raise NeedsServer


def _home(migration: Migration, state: ProjectState) -> BaseDatabaseWrapper | None:
    changes = (operation for operation in unwrapped(migration) if isinstance(operation, Change))
    keys = (operation.key_before(migration.app_label) for operation in changes)
    models = [state.models.get((label, name.lower())) for label, name in keys]
    homes = [home_of(model) for model in models if model]
    return next((without_server(home) for home in homes if home and home.vendor == "postgresql"), None)


def _not_planned(placed: Placed, run: Run) -> Iterator[Said]:
    """Why an operation has no plan: an expression over a missing field, or a change that the operation doesn't make."""
    for operation, at in placed:
        try:
            if isinstance(operation, Change) and operation.has_plans(at, run):
                operation.expand(at)
        except InvalidBasesError:
            raise
        except (ValueError, FieldError) as error:
            yield operation, str(error)


# What the checks ask.


def refused_alone(migration: Migration, state: ProjectState, created: Iterable[str]) -> Iterator[Said]:
    """What every migrate refuses in this one file.

    A squash isn't asked: it is for databases that no release uses yet.
    """
    if not migration.replaces and _has_to_be_planned(migration):
        yield from Refusing({(migration.app_label, name) for name in created}).refused(migration, state)


def _has_to_be_planned(migration: Migration) -> bool:
    changes = [operation for operation in unwrapped(migration) if isinstance(operation, Change)]
    return any(map(_has_expression, changes)) or any(
        _may_clash(former, later) for number, later in enumerate(changes) for former in changes[:number]
    )


def _has_expression(operation: Any) -> bool:
    values = getattr(operation, "set", None)
    given = [getattr(operation, "backfill", None), *(values.values() if isinstance(values, Mapping) else ())]
    return any(map(is_expression, given))


OF_TABLES = migrations.RenameModel | migrations.AlterModelTable | migrations.DeleteModel


def _may_clash(former: Any, later: Any) -> bool:
    if type(former).contract is Change.contract or _are_of_one_field(former, later):
        return False
    whole = isinstance(later, OF_TABLES) or isinstance(former, OF_TABLES | ExpandAlterField)
    return whole or isinstance(later, ExpandAlterField) or bool(_names(former) & _names(later))


def _are_of_one_field(former: Any, later: Any) -> bool:
    """Are they two parts of one AlterField, as makemigrations writes them?"""
    both = isinstance(former, migrations.AlterField) and isinstance(later, migrations.AlterField)
    return bool(both) and (former.model_name, _names(former)) == (later.model_name, _names(later))


def _names(operation: Any) -> set[str]:
    """The names of fields, columns, indexes and constraints in an operation, without the name of its model."""
    named = [getattr(operation, name, "") for name in ("name", "old_name", "new_name")]
    parts = [getattr(operation, name, None) for name in ("index", "constraint")]
    field = getattr(operation, "field", None)
    named += [getattr(part, "name", "") for part in parts]
    named += [getattr(field, name, None) for name in ("db_column", "db_table")]
    return {str(name).lower().removesuffix("_id") for name in named if name}


# What an AlterField of ours says of itself without a plan.

ALTERS = AlterFieldConcurrently | ExpandAlterField | DropDefaultLater | SetNotNullLater


def misfit(operation: Change, context: Context) -> str:
    """Why the operation doesn't make its change; empty if it does."""
    change = alteration_in(context, operation) if isinstance(operation, ALTERS) else None
    if change is None or not isinstance(operation, ALTERS):
        return ""
    try:
        operation.refuse(change)
    except ValueError as error:
        return str(error)
    return ""
