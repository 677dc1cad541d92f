"""RemoveIndex -> RemoveIndexLater.

DROP INDEX takes ACCESS EXCLUSIVE and queues everybody behind it. And the old release wants the index:
without it its queries read the whole table, and without a unique index its ON CONFLICT fails.
https://www.postgresql.org/docs/current/sql-dropindex.html

So the index stays until the contract, which drops it CONCURRENTLY. When the same release gives its name to another
index or constraint, the outgoing index is renamed first, which locks nothing but the index.
"""

from __future__ import annotations

from dataclasses import replace

from django.db.migrations.operations import AddConstraint, AddIndex, CreateModel, RemoveIndex
from django.db.migrations.operations.base import Operation

from ..plans import claims
from ..plans.column import table_of
from ..plans.indexes import DropIndex
from ..plans.steps import Plan, Statement, Together
from ..postgres.indexes import index_exists
from ..postgres.lock import Lock
from ..postgres.names import Name, temporary_name
from .add_index import index_step
from .base import Change, Situation
from .rule import Context, Finding, Rule


class RemoveIndexLater(Change, RemoveIndex):
    """Drop an index when the old release, whose queries still use it, has gone.

    With `set_aside` the index is renamed at once, because another index or constraint takes its name.
    """

    category = RemoveIndex.category

    def __init__(self, model_name: str, name: str, set_aside: bool = False) -> None:
        RemoveIndex.__init__(self, model_name, name)
        self.set_aside = set_aside
        self.wrap(RemoveIndex(model_name, name))

    def describe(self) -> str:
        return f"{RemoveIndex.describe(self)}; dropped by the contract"

    @property
    def identity(self) -> str:
        return f"RemoveIndexLater({self.model_name_lower}.{self.name})"

    def contract_label(self, at: Situation) -> str:
        return f"drop index {self.name} of {at.old(self.model_name)._meta.db_table}"

    def expand(self, at: Situation) -> Plan:
        return set_aside(table_of(at.old(self.model_name)), self._raw_name) if self.set_aside else ()

    def contract(self, at: Situation) -> Plan:
        model = at.old(self.model_name)
        table = table_of(model)
        name = self._name_until_dropped(table)
        index = at.before.models[at.app_label, self.model_name_lower].get_index_by_name(self.name)
        build = replace(index_step(at, model, index), name=name, takes=(claims.index(table, name),))
        return (
            DropIndex(
                why=f"{table.raw}: drop index {name}",
                table=table,
                name=name,
                undo=(build,),
                frees=(claims.index(table, name),),
            ),
        )

    def _name_until_dropped(self, table: Name) -> str:
        return name_until_dropped(table, self._raw_name) if self.set_aside else self._raw_name

    @property
    def _raw_name(self) -> str:
        return Name.from_django(self.name).raw


def name_until_dropped(table: Name, name: str) -> str:
    """The name of an index, or a constraint, until it is dropped; both names are raw."""
    return temporary_name(table.raw, name)


def set_aside(table: Name, name: str) -> Plan:
    """An index, and the constraint that it belongs to, get another name, because another index or constraint takes
    theirs.

    ALTER INDEX locks nothing but the index; ALTER TABLE RENAME CONSTRAINT would stop everybody.
    """
    label, other = table.raw, name_until_dropped(table, name)
    back = Together(
        why=f"{label}: index {name} gets its name back from what took it",
        sql=(*_drop_by_name(table, name), _rename(table, other, name)),
        locks={table: Lock.ACCESS_EXCLUSIVE},
        done=index_exists(table, other).negated(),
    )
    return (
        Statement(
            why=f"{label}: index {name} is called {other} until it is dropped",
            sql=_rename(table, name, other),
            locks={},
            done=index_exists(table, other),
            undo=(back,),
            takes=(claims.index(table, other),),
        ),
    )


def make_way(table: Name, name: str) -> Plan:
    """Drops the index or constraint that took the name, so that the former one can return."""
    return (
        Together(
            why=f"{table.raw}: drop what took the name {name}",
            sql=_drop_by_name(table, name),
            locks={table: Lock.ACCESS_EXCLUSIVE},
            done=index_exists(table, name).negated(),
        ),
    )


def _drop_by_name(table: Name, name: str) -> tuple[str, str]:
    return (
        f"ALTER TABLE {table} DROP CONSTRAINT IF EXISTS {Name.of(name)}",
        f"DROP INDEX IF EXISTS {table.beside(name)}",
    )


def _rename(table: Name, old: str, new: str) -> str:
    return f"ALTER INDEX IF EXISTS {table.beside(old)} RENAME TO {Name.of(new)}"


def is_taken_over(name: str, context: Context) -> bool:
    """Does another index or constraint take this name in the same release?

    The names of indexes, and so of unique constraints, belong to the schema, not to the table.
    """
    return any(label == context.app_label and name in _names_taken(other) for label, other in context.release)


def _names_taken(operation: Operation) -> set[str]:
    if isinstance(operation, AddIndex):
        return {operation.index.name}
    if isinstance(operation, AddConstraint):
        return {operation.constraint.name}
    if isinstance(operation, CreateModel):
        return {part.name for kind in ("indexes", "constraints") for part in operation.options.get(kind, ())}
    return set()


def find(operation: RemoveIndex, context: Context) -> Finding | None:
    return Finding(
        f"RemoveIndex {operation.name} from {operation.model_name} drops the index at once: everybody queues behind "
        "its ACCESS EXCLUSIVE lock, and the queries of the old release want the index.",
        (RemoveIndexLater(operation.model_name, operation.name, is_taken_over(operation.name, context)),),
    )


rule = Rule("safemigrations.E002", RemoveIndex, find)
