"""AddIndex -> AddIndexConcurrently.

CREATE INDEX takes a SHARE lock: nobody writes to the table until the index is built. CONCURRENTLY stops nobody, but it
can't run inside a transaction. When it fails it leaves an INVALID index that costs writes, still refuses duplicates,
and counts as the real one for IF NOT EXISTS. A partitioned table refuses CONCURRENTLY altogether.
https://www.postgresql.org/docs/current/sql-createindex.html#SQL-CREATEINDEX-CONCURRENTLY

So the index is built online, at once: both releases can live with it. A leftover is dropped and built anew. A build of
somebody else is waited for. Of a partitioned table each partition gets an index of its own.
"""

from __future__ import annotations

import dataclasses

from django.db.migrations.operations import AddConstraint, AddIndex, RemoveConstraint, RemoveIndex
from django.db.models import Index, Model

from ..plans import claims
from ..plans.column import table_of
from ..plans.index_and_check import build_index
from ..plans.indexes import BuildIndex, DropIndex
from ..plans.steps import Plan
from ..postgres.names import Name
from .base import BUILDS, Change, Situation
from .rule import Context, Finding, Rule


def index_step(at: Situation, model: type[Model], index: Index) -> BuildIndex:
    """The step that builds an index of Meta.indexes; its undo drops the index."""
    table, name = table_of(model), Name.from_django(index.name).raw
    label = table.raw
    step = build_index(
        f"{label}: index {name}",
        table,
        index.create_sql(model, at.editor),
        analyze=index.contains_expressions,
    )
    drop = DropIndex(
        why=f"{label}: drop index {name}",
        table=table,
        name=name,
        frees=(claims.index(table, name),),
    )
    return dataclasses.replace(step, undo=(drop,))


class AddIndexConcurrently(Change, AddIndex):
    """Build an index while both releases read and write.

    With `takes_over` the index has the name of one that the same migration sets aside. On the way back that one's
    operation drops it.
    """

    category = AddIndex.category
    takes_time = BUILDS

    def __init__(self, model_name: str, index: Index, takes_over: bool = False) -> None:
        AddIndex.__init__(self, model_name, index)
        self.takes_over = takes_over
        self.wrap(AddIndex(model_name, index))

    def describe(self) -> str:
        return f"{AddIndex.describe(self)}, concurrently"

    @property
    def identity(self) -> str:
        return f"AddIndexConcurrently({self.model_name_lower}.{self.index.name})"

    def expand(self, at: Situation) -> Plan:
        build = index_step(at, at.new(self.model_name), self.index)
        return (dataclasses.replace(build, undo=()) if self.takes_over else build,)


def find(operation: AddIndex, context: Context) -> Finding | None:
    name = operation.index.name
    return Finding(
        f"AddIndex {name} on {operation.model_name} builds the index under a SHARE lock: nobody can "
        "write to the table until it is ready.",
        (AddIndexConcurrently(operation.model_name, operation.index, takes_over(operation, name, context)),),
    )


def takes_over(operation: AddIndex | AddConstraint, name: str, context: Context) -> bool:
    """Does the same release remove an index or constraint of this name from the model?

    On the way back after a crash, nobody could otherwise tell the new one from the old one, which gets its name back.
    """
    return any(
        isinstance(other, RemoveIndex | RemoveConstraint)
        and label == context.app_label
        and other.model_name_lower == operation.model_name_lower
        and other.name == name
        for label, other in context.release
    )


rule = Rule("safemigrations.E001", AddIndex, find)
