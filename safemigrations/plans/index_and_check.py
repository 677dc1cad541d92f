"""Plans for an index, a unique constraint and a check, each by its name: built or validated without blocking."""

from __future__ import annotations

from django.db.backends.ddl_references import Statement as Reference

from ..postgres.constraints import constraint_exists, constraint_missing, unique_exists
from ..postgres.lock import Lock
from ..postgres.names import Name, identifier
from . import claims
from .claims import Claims
from .indexes import AddUnique, BuildIndex, DropIndex
from .steps import Online, Plan, Statement


def name_in(reference: Reference) -> Name:
    """The name of the object that Django's builder described."""
    return Name(str(reference.parts["name"]))


def build_index(why: str, table: str, reference: Reference, *, analyze: bool = False) -> BuildIndex:
    """The step for an index that Django's builder described."""
    head, _, tail = reference.template.partition("%(table)s")
    name = name_in(reference).raw
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
    table: str,
    name: str,
    columns: tuple[str, ...],
    *,
    deferrable: str = "",
    nulls_distinct: str = "",
    tablespace: str = "",
) -> Plan:
    """UNIQUE over columns as they stand in a statement: the index is built without blocking, the constraint takes it
    over.
    """
    name, label = identifier(name), Name(table).raw
    add = AddUnique(
        why=f"{label}: ({', '.join(Name(column).raw for column in columns)}) is unique",
        table=table,
        name=name,
        columns=columns,
        deferrable=deferrable,
        nulls_distinct=nulls_distinct,
        tablespace=tablespace,
        done=unique_exists(table, name),
        undo=(_drop(table, name, "unique constraint"),),
    )
    build = BuildIndex(
        why=f"{label}: unique index {name}",
        table=table,
        name=name,
        definition=add.definition,
        unique=True,
        for_constraint=True,
        done=add.done,
        takes=(claims.index(table, name),),
        undo=(DropIndex(why=f"{label}: drop index {name}", table=table, name=name),),
    )
    return build, add


def check_constraint(
    table: str,
    name: str,
    add: str,
    *,
    works_on: Claims = (),
    violators: str = "",
) -> Plan:
    """A check added NOT VALID, behind a short lock, then validated online; `add` is the statement that does both."""
    name, label = identifier(name), Name(table).raw
    drop = _drop(table, name, "check", kind="c", works_on=works_on)
    return (
        Statement(
            why=f"{label}: check {name} holds for new rows",
            sql=f"{add} NOT VALID",
            locks={table: Lock.ACCESS_EXCLUSIVE},
            done=constraint_exists(table, name, kind="c"),
            undo=(drop,),
            works_on=works_on,
        ),
        Online(
            why=f"{label}: check {name} holds for every row (checked without blocking)",
            sql=f"ALTER TABLE {table} VALIDATE CONSTRAINT {Name.of(name)}",
            locks={table: Lock.SHARE_UPDATE_EXCLUSIVE},
            done=constraint_exists(table, name, validated=True, kind="c"),
            on_failure=(drop,),
            violators=violators,
            works_on=works_on,
        ),
    )


def _drop(table: str, name: str, what: str, *, kind: str = "", works_on: Claims = ()) -> Statement:
    return Statement(
        why=f"{Name(table).raw}: drop {what} {name}",
        sql=f"ALTER TABLE {table} DROP CONSTRAINT IF EXISTS {Name.of(name)}",
        locks={table: Lock.ACCESS_EXCLUSIVE},
        done=constraint_missing(table, name, kind=kind),
        works_on=works_on,
    )
