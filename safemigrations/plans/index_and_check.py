"""Plans for an index, a unique constraint and a check, each by its name: built or validated without blocking."""

from __future__ import annotations

from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.backends.ddl_references import Statement as Reference

from ..postgres import catalog
from ..postgres.catalog import raw
from ..postgres.lock import Lock
from . import claims
from .claims import Claims
from .indexes import AddUnique, BuildIndex, DropIndex
from .steps import Online, Plan, Statement


def build_index(why: str, table: str, reference: Reference, *, analyze: bool = False) -> BuildIndex:
    """The step for an index that Django's builder described."""
    head, _, tail = reference.template.partition("%(table)s")
    name = catalog.identifier(raw(str(reference.parts["name"])))
    return BuildIndex(
        why=why,
        table=table,
        name=name,
        definition=str(Reference(tail, **reference.parts)).strip(),
        unique="UNIQUE" in head,
        analyze=analyze,
        takes=(claims.index(table, name),),
    )


def unique_constraint(
    editor: BaseDatabaseSchemaEditor,
    table: str,
    name: str,
    columns: tuple[str, ...],
    *,
    deferrable: str = "",
    nulls_distinct: str = "",
) -> Plan:
    """UNIQUE over quoted columns: the index is built without blocking, the constraint takes it over."""
    name = catalog.identifier(name)
    exists, label = catalog.unique_exists(table, name), catalog.bare(table)
    drop = Statement(
        why=f"{label}: drop unique constraint {name}",
        sql=f"ALTER TABLE {table} DROP CONSTRAINT IF EXISTS {editor.quote_name(name)}",
        locks={table: Lock.ACCESS_EXCLUSIVE},
        done=catalog.constraint_missing(table, name),
    )
    add = AddUnique(
        why=f"{label}: ({', '.join(map(raw, columns))}) is unique",
        table=table,
        name=name,
        columns=columns,
        deferrable=deferrable,
        nulls_distinct=nulls_distinct,
        done=exists,
        undo=(drop,),
    )
    return (
        BuildIndex(
            why=f"{label}: unique index {name}",
            table=table,
            name=name,
            definition=add.definition,
            unique=True,
            for_constraint=True,
            done=exists,
            takes=(claims.index(table, name),),
            undo=(DropIndex(why=f"{label}: drop index {name}", table=table, name=name),),
        ),
        add,
    )


def check_constraint(
    editor: BaseDatabaseSchemaEditor,
    table: str,
    name: str,
    add: str,
    *,
    works_on: Claims = (),
    violators: str = "",
) -> Plan:
    """A check added NOT VALID, behind a short lock, then validated online; `add` is the statement that does both."""
    name = catalog.identifier(name)
    label, quoted = catalog.bare(table), editor.quote_name(name)
    drop = Statement(
        why=f"{label}: drop check {name}",
        sql=f"ALTER TABLE {table} DROP CONSTRAINT IF EXISTS {quoted}",
        locks={table: Lock.ACCESS_EXCLUSIVE},
        done=catalog.constraint_missing(table, name, kind="c"),
        works_on=works_on,
    )
    return (
        Statement(
            why=f"{label}: check {name} holds for new rows",
            sql=f"{add} NOT VALID",
            locks={table: Lock.ACCESS_EXCLUSIVE},
            done=catalog.constraint_exists(table, name, kind="c"),
            undo=(drop,),
            works_on=works_on,
        ),
        Online(
            why=f"{label}: check {name} holds for every row (checked without blocking)",
            sql=f"ALTER TABLE {table} VALIDATE CONSTRAINT {quoted}",
            locks={table: Lock.SHARE_UPDATE_EXCLUSIVE},
            done=catalog.constraint_exists(table, name, validated=True, kind="c"),
            on_failure=(drop,),
            violators=violators,
            works_on=works_on,
        ),
    )
