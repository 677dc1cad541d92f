"""Which operations stand in one file: those that need a transaction, or those that must not have one.

What sends nothing to the database goes with its neighbour. An operation that has nothing to do with those before it
joins the file of its kind, so that one change is two files at most, wherever it can be.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.db.migrations import Migration, operations
from django.db.migrations.operations.base import Operation
from django.db.migrations.operations.fields import FieldOperation
from django.db.migrations.operations.models import IndexOperation

from ..operations.base import Change
from ..operations.forms import alteration_in
from ..operations.rule import Context
from ..operations.split import is_split
from ..plans.column import bound
from ..typed import set_on

Group = tuple[bool, list[Operation]]  # outside of a transaction?


def needs_a_transaction(operation: Operation) -> bool:
    """Would the statements of the operation harm if they were done only in part?"""
    return not is_ours(operation) and not is_state_only(operation)


def is_ours(operation: Operation) -> bool:
    """Does the operation send only our steps, which can be run again?"""
    if is_split(operation):
        return bool(operation.database_operations) and all(map(is_ours, operation.database_operations))
    return isinstance(operation, Change)


def is_state_only(operation: Operation) -> bool:
    if isinstance(operation, operations.SeparateDatabaseAndState):
        return not isinstance(operation, Change) and not operation.database_operations
    of_python = isinstance(operation, operations.AlterModelOptions | operations.AlterModelManagers)
    return of_python or bool(getattr(operation, SENDS_NOTHING, False))


# Where the states are known, each operation remembers what only they tell.

SENDS_NOTHING = "_sends_nothing"


def note_what_is_sent(written: Iterable[Operation], context: Context) -> None:
    for operation in written:
        set_on(operation, **{SENDS_NOTHING: not isinstance(operation, Change) and _sends_nothing(operation, context)})


def is_of_an_old_file(operation: Operation) -> bool:
    """Was the operation read from a file, not written by this run?"""
    return not hasattr(operation, SENDS_NOTHING)


def _sends_nothing(operation: Any, context: Context) -> bool:
    if isinstance(operation, operations.AlterField):
        return _is_of_python(operation, context)
    if isinstance(operation, operations.RenameField):
        old = context.model_before(operation.model_name).fields[operation.old_name]
        new = context.model_after(operation.model_name).fields[operation.new_name]
        return not old.many_to_many and _column(old, operation.old_name) == _column(new, operation.new_name)
    if isinstance(operation, operations.CreateModel):
        return bool(operation.options.get("proxy")) or not operation.options.get("managed", True)
    return False


def _is_of_python(operation: operations.AlterField, context: Context) -> bool:
    change = alteration_in(context, operation)
    return change is not None and not change.is_of_the_database


def _column(field: Any, name: str) -> Any:
    return bound(field, name).column


# The files.


def split(migrations: dict[str, list[Migration]]) -> dict[str, list[Migration]]:
    """Cut each migration where atomicity changes; what depended on the whole then depends on the last part."""
    parts_of = {
        (app_label, migration.name): _parts(migration) for app_label, whole in migrations.items() for migration in whole
    }
    last = {key: (key[0], f"{key[1]}_{len(parts)}") for key, parts in parts_of.items() if len(parts) > 1}
    result: dict[str, list[Migration]] = {}
    for (app_label, name), parts in parts_of.items():
        for number, part in enumerate(parts, 1):
            set_on(part, dependencies=[last.get(dependency, dependency) for dependency in part.dependencies])
            if len(parts) > 1:
                part.name = f"{name}_{number}"
                if number > 1:
                    set_on(part, dependencies=[(app_label, f"{name}_{number - 1}")])
            result.setdefault(app_label, []).append(part)
    return result


def _parts(migration: Migration) -> list[Migration]:
    """The pieces of a migration, each wholly atomic or wholly not; an operation without SQL joins its neighbour."""
    of_sql = [is_ours(operation) for operation in migration.operations if not is_state_only(operation)]
    groups = list[Group]()
    for operation in migration.operations:
        kind = is_ours(operation)
        if is_state_only(operation):
            kind = groups[-1][0] if groups else next(iter(of_sql), False)
        group_for(operation, kind, groups, migration.app_label).append(operation)
    return [_part(migration, chosen, atomic=not outside) for outside, chosen in groups] or [migration]


def group_for(operation: Operation, outside: bool, groups: list[Group], app_label: str) -> list[Operation]:
    """The last group of its kind, if the operation may come before everything that stands after that group."""
    if groups and groups[-1][0] == outside:
        return groups[-1][1]
    if len(groups) > 1 and all(_commute(operation, other, app_label) for other in groups[-1][1]):
        return groups[-2][1]
    groups.append((outside, []))
    return groups[-1][1]


def _commute(one: Any, other: Any, app_label: str) -> bool:
    """May the two operations change places? Django's optimizer never says so of two indexes or constraints."""
    over = [operation for operation in (one, other) if isinstance(operation, IndexOperation)]
    if len(over) == 2:
        return bool(one.model_name_lower != other.model_name_lower)
    if over:
        return _is_apart(over[0], other if over[0] is one else one, app_label)
    return one.reduce(other, app_label) is True and other.reduce(one, app_label) is True


def _is_apart(over: Any, rest: Any, app_label: str) -> bool:
    if not isinstance(rest, FieldOperation):
        return not rest.references_model(over.model_name, app_label)
    if rest.model_name_lower != over.model_name_lower:
        return True
    return not isinstance(rest, operations.RenameField) and rest.name not in (_fields_of(over) or {rest.name})


def _fields_of(over: Any) -> set[str]:
    """The fields under an index or a unique constraint; empty if an expression or a condition may name more."""
    what: Any = getattr(over, "index", None) or getattr(over, "constraint", None)
    if getattr(what, "condition", None) is not None or not getattr(what, "fields", ()):
        return set()
    return {name.removeprefix("-") for name in (*what.fields, *getattr(what, "include", ()))}


def _part(migration: Migration, chosen: list[Operation], *, atomic: bool) -> Migration:
    attributes = {
        "operations": chosen,
        "dependencies": list(migration.dependencies),
        "atomic": atomic,
        "initial": migration.initial,
    }
    made: type[Migration] = type("Migration", (_NamedOnce,), attributes)
    return made(migration.name, migration.app_label)


class _NamedOnce(Migration):
    """A change made of several operations appears once in the name of the file."""

    def suggest_name(self) -> str:
        whole = self.operations
        set_on(self, operations=list({op.migration_name_fragment or str(id(op)): op for op in whole}.values()))
        try:
            return super().suggest_name()
        finally:
            set_on(self, operations=whole)
