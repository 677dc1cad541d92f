"""RemoveIndex -> RemoveIndexLater.

DROP INDEX takes ACCESS EXCLUSIVE and queues everybody behind it; and the release that is still running wants the
index: its queries become table scans, its ON CONFLICT fails without its unique index.
https://www.postgresql.org/docs/current/sql-dropindex.html

So the index stays until the contract, which drops it CONCURRENTLY. When the same release adds another index of that
name, the outgoing one is renamed first, which locks nothing but the index.
"""

from __future__ import annotations

from typing import Any

from django.db.migrations.operations import AddIndex, RemoveIndex

from .. import catalog
from ..catalog import beside, temporary_name
from ..steps import DropIndex, Plan, Statement
from .add_index import index_step
from .base import Change, Context, Finding, Rule, Situation


class RemoveIndexLater(Change, RemoveIndex):
    """Drop an index when the old release, whose queries still use it, has gone.

    With `set_aside` it is renamed at once, because another index takes its name.
    """

    category = RemoveIndex.category

    def __init__(self, model_name: str, name: str, set_aside: bool = False) -> None:
        RemoveIndex.__init__(self, model_name, name)
        self.set_aside = set_aside
        self.wrap(RemoveIndex(model_name, name))

    def deconstruct(self):  # type: ignore[no-untyped-def]
        name, args, kwargs = RemoveIndex.deconstruct(self)
        return name, args, {**kwargs, "set_aside": True} if self.set_aside else kwargs

    def describe(self) -> str:
        return f"{RemoveIndex.describe(self)}; dropped by the contract"

    @property
    def identity(self) -> str:
        return f"RemoveIndexLater({self.model_name_lower}.{self.name})"

    def contract_label(self, at: Situation) -> str:
        return f"drop index {self.name} of {at.old(self.model_name)._meta.db_table}"

    def expand(self, at: Situation) -> Plan:
        if not self.set_aside:
            return ()
        table = at.editor.quote_name(at.old(self.model_name)._meta.db_table)
        label, aside = catalog.bare(table), self._name_until_dropped(table)

        def rename(why: str, old: str, new: str, **rest: Any) -> Statement:
            return Statement(
                why=f"{label}: {why}",
                sql=f'ALTER INDEX IF EXISTS {beside(table, old)} RENAME TO "{new}"',
                locks={},
                **rest,
            )

        back = rename(
            f"index {self.name} gets its name back",
            aside,
            self.name,
            done=f"SELECT 1 WHERE NOT EXISTS ({catalog.index_exists(table, aside)})",
        )
        return (
            rename(
                f"index {self.name} is called {aside} until it is dropped",
                self.name,
                aside,
                done=catalog.index_exists(table, aside),
                undo=(back,),
            ),
        )

    def contract(self, at: Situation) -> Plan:
        model = at.old(self.model_name)
        table = at.editor.quote_name(model._meta.db_table)
        name = self._name_until_dropped(table)
        index = at.before.models[at.app_label, self.model_name_lower].get_index_by_name(self.name)
        build = index_step(at, model, index)
        return (
            DropIndex(
                why=f"{catalog.bare(table)}: drop index {name}",
                table=table,
                name=name,
                undo=(build,),
                frees=(f"index {name}",),
            ),
        )

    def _name_until_dropped(self, table: str) -> str:
        return temporary_name(catalog.bare(table), self.name) if self.set_aside else self.name


def find(operation: RemoveIndex, context: Context) -> Finding | None:
    if type(operation) is not RemoveIndex:
        return None
    set_aside = any(
        isinstance(other, AddIndex)
        and label == context.app_label
        and other.model_name_lower == operation.model_name_lower
        and other.index.name == operation.name
        for label, other in context.release
    )
    return Finding(
        f"RemoveIndex {operation.name} from {operation.model_name} drops the index at once: everybody queues behind "
        "its ACCESS EXCLUSIVE lock, and the queries of the release that is still running want the index.",
        (RemoveIndexLater(operation.model_name, operation.name, set_aside),),
    )


rule = Rule("safemigrations.E002", find)
