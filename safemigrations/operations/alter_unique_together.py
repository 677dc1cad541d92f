"""AlterUniqueTogether -> AlterUniqueTogetherConcurrently.

Adding a set builds its index under a lock that stops everybody. Removing a set takes away the index that upserts of the
old release name in ON CONFLICT.
https://www.postgresql.org/docs/current/sql-altertable.html#SQL-ALTERTABLE-DESC-ADD-TABLE-CONSTRAINT-USING-INDEX

So a new set comes with expand, because upserts of the new release need it: duplicates are looked for first, the index
is built CONCURRENTLY, and the constraint takes it over. A set that is removed stays until the contract.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from django.db.migrations.operations import AlterUniqueTogether
from django.db.migrations.state import ProjectState
from django.db.models import Model, UniqueConstraint

from ..plans import constraints
from ..plans.column import table_of
from ..plans.index_and_check import unique_constraint
from ..plans.steps import Plan, Proof, Statement
from ..postgres.blocks import drop_found, for_each
from ..postgres.constraints import constraints_of_field
from ..postgres.lock import Lock
from ..postgres.names import Name
from ..postgres.probe import NEVER, Probe, no_row
from ..typed import column_of, create_index_name
from .add_unique_constraint import notice, same_in_rows_of_old_code
from .base import Change, Situation
from .rule import Context, Finding, Rule

Sets = frozenset[tuple[str, ...]]


def sets_of(state: ProjectState, app_label: str, model_name: str) -> Sets:
    """unique_together of a model. A stock rename leaves lists of lists in the state."""
    value = state.models[app_label, model_name.lower()].options.get("unique_together") or ()
    return frozenset(tuple(names) for names in value)


class AlterUniqueTogetherConcurrently(Change, AlterUniqueTogether):
    """Add sets while both releases write. Drop sets when the old release, whose upserts need them, has gone."""

    category = AlterUniqueTogether.category

    def __init__(self, name: str, unique_together: Any) -> None:
        AlterUniqueTogether.__init__(self, name, unique_together)
        self.model_name = name
        self.wrap(AlterUniqueTogether(name, unique_together))

    def describe(self) -> str:
        return f"{AlterUniqueTogether.describe(self)}; what is removed is dropped by the contract"

    @property
    def identity(self) -> str:
        return f"AlterUniqueTogetherConcurrently({self.name_lower})"

    def contract_label(self, at: Situation) -> str:
        removed = " and ".join(f"({', '.join(names)})" for names in sorted(self._removed(at)))
        return f"drop unique {removed} of {at.old(self.name)._meta.db_table}"

    def _removed(self, at: Situation) -> Sets:
        return sets_of(at.before, at.app_label, self.name) - sets_of(at.after, at.app_label, self.name)

    def _added(self, at: Situation) -> Sets:
        return sets_of(at.after, at.app_label, self.name) - sets_of(at.before, at.app_label, self.name)

    def expand(self, at: Situation) -> Plan:
        model = at.new(self.name)
        return tuple(
            step
            for names in sorted(self._added(at))
            for build in (_build(at, model, names),)
            for step in (no_duplicates(at, model, names, done=build[-1].done), *build)
        )

    def contract(self, at: Situation) -> Plan:
        return tuple(_drop(at, at.old(self.name), names) for names in sorted(self._removed(at)))


def _columns(model: type[Model], names: tuple[str, ...]) -> list[str]:
    return [column_of(model, name) for name in names]


def _build(at: Situation, model: type[Model], names: tuple[str, ...]) -> Plan:
    columns = tuple(map(Name.from_django, _columns(model, names)))
    return unique_constraint(table_of(model), _name(at.editor, model, names).raw, columns)


def _name(editor: Any, model: type[Model], names: tuple[str, ...]) -> Name:
    return Name.from_django(create_index_name(editor, model._meta.db_table, _columns(model, names), "_uniq"))


def no_duplicates(at: Situation, model: type[Model], names: tuple[str, ...], *, done: Probe = NEVER) -> Proof:
    return constraints.no_duplicates(at.editor, model, _as_constraint(names), done=done)


def _as_constraint(names: tuple[str, ...]) -> UniqueConstraint:
    return UniqueConstraint(fields=names, name="unique_together")


def _drop(at: Situation, model: type[Model], names: tuple[str, ...]) -> Statement:
    table, columns = table_of(model), [Name.from_django(column).raw for column in _columns(model, names)]
    matching = constraints_of_field(table, columns, "u", names=[_name(at.editor, model, names).raw])
    together = f"({', '.join(names)})"
    statement = Statement(
        why=f"{table.raw}: drop unique {together}",
        sql=for_each(matching, drop_found(table)),
        locks={table: Lock.ACCESS_EXCLUSIVE},
        done=no_row(matching),
    )
    return replace(statement, undo=_build(at, model, names))


def find(operation: AlterUniqueTogether, context: Context) -> Finding | None:
    before = sets_of(context.before, context.app_label, operation.name)
    after = sets_of(context.after, context.app_label, operation.name)
    if before == after:
        return None
    added = sorted(after - before)
    for names in added:
        if field := same_in_rows_of_old_code(context, operation.name, names, _as_constraint(names)):
            return Finding(
                f"AlterUniqueTogether of {operation.name} makes {field} unique together with others in the release "
                "that adds it. All rows of the old release have one value in it, so the second of "
                "them is refused.",
                way_by_hand=f"Add {field} in this release, and the set to unique_together in the next.",
            )
    harm = (
        "builds an index while nobody can read or write"
        if added
        else "takes away the index that upserts of the old release need"
    )
    return Finding(
        f"AlterUniqueTogether of {operation.name} {harm}.",
        (AlterUniqueTogetherConcurrently(operation.name, operation.option_value),),
        level="error" if added else "warning",
        notice="\n".join(
            filter(None, (notice(context, operation.name, names, _as_constraint(names)) for names in added))
        ),
    )


rule = Rule("safemigrations.E031", AlterUniqueTogether, find)
