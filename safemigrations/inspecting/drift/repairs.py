"""Repairs of differences that make nobody wait, as steps, in the words that operations would use.

A statement that needs the table for itself gives up after a moment, and one that would take long ends itself, so each
can be run as it stands, and again when it lost.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import Any

from ...plans import defaults
from ...plans.column import Column as PlannedColumn
from ...plans.column import table_of
from ...plans.defaults import DefaultKind
from ...plans.indexes import AddUnique, BuildIndex, DropIndex
from ...plans.not_null import not_null
from ...plans.steps import Online, Plan, Statement, Step, Together
from ...postgres.lock import Lock
from ...postgres.names import Name, temporary_name
from ...postgres.values import literal
from ...running.preview import preview
from ...running.session import Session
from .shape import Column, Constraint, Index

PATIENCE = "SET LOCAL lock_timeout = '200ms'; SET LOCAL statement_timeout = '2s'"
ACTIONS = {"c": "CASCADE", "n": "SET NULL", "d": "SET DEFAULT", "r": "RESTRICT"}
WHY = "repair"

Repair = tuple[Step | str, ...]


def statements(session: Session, repair: Repair) -> list[str]:
    """The statements to type on this server; each is sent alone, outside a transaction."""
    return list(itertools.chain.from_iterable(_typed(session, step) for step in repair))


def _typed(session: Session, step: Step | str) -> Iterator[str]:
    if isinstance(step, str):
        yield step
        return
    for found in preview(session, (step,)):
        if isinstance(found, Statement | Together | AddUnique):
            yield short(*found.statements)
        else:
            yield from found.statements


def short(*sql: str) -> str:
    """Wrap a statement in a transaction that soon gives up."""
    return "; ".join(("BEGIN", PATIENCE, *sql, "COMMIT"))


def alter(table: Name, *changes: str) -> Repair:
    sql = tuple(f"ALTER TABLE {table} {change}" for change in changes)
    return (Together(why=WHY, sql=sql, locks={table: Lock.ACCESS_EXCLUSIVE}),)


def _online(table: Name, sql: str) -> Online:
    return Online(why=WHY, sql=sql, locks={table: Lock.SHARE_UPDATE_EXCLUSIVE})


# Columns.


def planned(connection: Any, model: Any, name: str) -> PlannedColumn:
    """The column of the model with this raw name."""
    fields = model._meta.local_concrete_fields
    field = next(one for one in fields if Name.from_django(one.column).raw == name)
    return PlannedColumn(connection.schema_editor(collect_sql=True), model, field)


def add_column(column: PlannedColumn, default: str) -> Repair:
    """`default` is the one that stays. Rows that are there need a value, unless the column may be null."""
    if column.field.null or column.field.generated or default:
        return column.add(WHY, null=column.field.null, default=default)
    if defaults.kind(column.field) is DefaultKind.INSTANT:
        value = defaults.sql(column.editor.connection, column.field)
        return (
            *column.add(WHY, null=False, default=value),
            *_alter_column(column.table, column.quoted, "DROP DEFAULT"),
        )
    fill = f"-- Where the table has rows, first: UPDATE {column.table} SET {column.quoted} = ..."
    return (*column.add(WHY, null=True), fill, *not_null(column))


def _alter_column(table: Name, column: Name, *changes: str) -> Plan:
    sql = tuple(f"ALTER TABLE {table} ALTER COLUMN {column} {change}" for change in changes)
    return (Together(why=WHY, sql=sql, locks={table: Lock.ACCESS_EXCLUSIVE}),)


def alter_column(table: Name, name: str, *changes: str) -> Repair:
    return _alter_column(table, Name.of(name), *changes)


def retype(table: Name, column: Column) -> Repair:
    name = Name.of(column.name)
    collation = f" COLLATE {column.collation}" if column.collation else ""
    return alter_column(table, column.name, f"TYPE {column.type}{collation} USING {name}::{column.type}")


def forbid_null(connection: Any, model: Any, name: str) -> Repair:
    return not_null(planned(connection, model, name))


def generate(table: Name, expected: Column, found: Column, version: int) -> Repair:
    name = Name.of(expected.name)
    if not expected.generated:
        return alter_column(table, expected.name, "DROP EXPRESSION")
    if found.generated == expected.generated and version >= 170000:
        return alter_column(table, expected.name, f"SET EXPRESSION AS ({expected.default})")
    kind = "STORED" if expected.generated == "s" else "VIRTUAL"
    added = f"ADD COLUMN {name} {expected.type} GENERATED ALWAYS AS ({expected.default}) {kind}"
    return alter(table, f"DROP COLUMN {name}", f"{added}{' NOT NULL' if expected.not_null else ''}")


def number(table: Name, name: str) -> Repair:
    """Let the database number a column, starting after the largest number in it."""
    column = Name.of(name)
    sequence = f"pg_get_serial_sequence({literal(table)}, {literal(name)})"
    return (
        *alter_column(table, name, "ADD GENERATED BY DEFAULT AS IDENTITY"),
        f"SELECT setval({sequence}, greatest(1, (SELECT max({column}) FROM {table})))",
    )


def comment(table: Name, text: str, column: str = "") -> Repair:
    what = f"COLUMN {table}.{Name.of(column)}" if column else f"TABLE {table}"
    return (_online(table, f"COMMENT ON {what} IS {literal(text)}"),)


# Indexes, and the constraints that are made of one.


def build(table: Name, index: Index, name: str = "") -> Plan:
    name = name or index.name
    bare = BuildIndex(why=WHY, table=table, name=name, definition=index.definition, unique=index.unique)
    match index.kind:
        case "":
            return (*_of_tablespace(table, bare, index),)
        case "u":
            return (_for(bare), add_unique(table, index))
        case "p":
            return (bare, *_using(table, index, name, "PRIMARY KEY"))
        case _:
            added = f"ADD CONSTRAINT {Name.of(index.constraint)} {index.definition}"
            return (Together(why=WHY, sql=(f"ALTER TABLE {table} {added}",), locks={table: Lock.ACCESS_EXCLUSIVE}),)


def _of_tablespace(table: Name, build: BuildIndex, index: Index) -> Iterator[Step]:
    yield build
    if index.tablespace:
        yield Online(
            why=WHY, sql=f"ALTER INDEX {table.beside(build.name)} SET TABLESPACE {Name.of(index.tablespace)}", locks={}
        )


def _for(bare: BuildIndex) -> BuildIndex:
    return BuildIndex(**{**vars(bare), "for_constraint": True})


def add_unique(table: Name, index: Index) -> Step:
    return AddUnique(
        why=WHY,
        table=table,
        name=index.name,
        columns=tuple(Name.of(key) for key in index.keys),
        deferrable=deferrable(index),
        nulls_distinct=" NULLS NOT DISTINCT" if index.nulls_not_distinct else "",
    )


def deferrable(one: Index | Constraint) -> str:
    if not one.deferrable:
        return ""
    return f" DEFERRABLE INITIALLY {'DEFERRED' if one.deferred else 'IMMEDIATE'}"


def _using(table: Name, index: Index, built: str, kind: str) -> Plan:
    sql = f"ALTER TABLE {table} ADD CONSTRAINT {Name.of(index.constraint)} {kind} USING INDEX {Name.of(built)}"
    return (Together(why=WHY, sql=(sql + deferrable(index),), locks={table: Lock.ACCESS_EXCLUSIVE}),)


def adopt(table: Name, expected: Index, found: Index) -> Plan:
    """Let a unique constraint take over the unique index that exists."""
    return _using(table, expected, found.name, "UNIQUE")


def rebuild(table: Name, expected: Index, found: Index) -> Repair:
    """Build the right index under another name before the wrong one is dropped: queries always have one."""
    if expected.kind in ("p", "x") or found.kind in ("p", "x"):
        return (*drop_index(table, found), *build(table, expected))
    new = temporary_name(expected.name, "new")
    bare = BuildIndex(why=WHY, table=table, name=new, definition=expected.definition, unique=expected.unique)
    if expected.kind:
        kind = "UNIQUE"
        return (bare, *drop_index(table, found), *_using(table, expected, new, kind))
    return (bare, *drop_index(table, found), *rename_index(table, new, expected.name))


def drop_index(table: Name, index: Index) -> Plan:
    if index.kind:
        sql = f"ALTER TABLE {table} DROP CONSTRAINT {Name.of(index.constraint)}"
        return (Statement(why=WHY, sql=sql, locks={table: Lock.ACCESS_EXCLUSIVE}),)
    return (DropIndex(why=WHY, table=table, name=index.name),)


def rename_index(table: Name, old: str, new: str) -> Repair:
    return (Statement(why=WHY, sql=f"ALTER INDEX {table.beside(old)} RENAME TO {Name.of(new)}", locks={}),)


def move_index(table: Name, index: Index, tablespace: str) -> Repair:
    return (f"REINDEX (TABLESPACE {Name.of(tablespace)}) INDEX CONCURRENTLY {table.beside(index.name)}",)


# Checks and foreign keys.


def add_constraint(table: Name, constraint: Constraint, parent: Name | None) -> Repair:
    name = Name.of(constraint.name)
    added = f"ALTER TABLE {table} ADD CONSTRAINT {name} {definition(constraint, parent)}"
    if not constraint.enforced:
        return (Statement(why=WHY, sql=f"{added} NOT ENFORCED", locks={table: Lock.ACCESS_EXCLUSIVE}),)
    not_valid = Statement(why=WHY, sql=f"{added} NOT VALID", locks={table: Lock.ACCESS_EXCLUSIVE})
    return (not_valid, *validate(table, constraint.name))


def definition(constraint: Constraint, parent: Name | None) -> str:
    if constraint.kind == "c":
        return f"CHECK ({constraint.expression})"
    columns, others = _listed(constraint.columns), _listed(constraint.parent_columns)
    return (
        f"FOREIGN KEY ({columns}) REFERENCES {parent} ({others})"
        f"{_action('UPDATE', constraint.on_update)}{_action('DELETE', constraint.on_delete)}{deferrable(constraint)}"
    )


def _listed(names: Iterable[str]) -> str:
    return ", ".join(map(Name.of, names))


def _action(event: str, code: str) -> str:
    return f" ON {event} {ACTIONS[code]}" if code in ACTIONS else ""


def validate(table: Name, constraint: str) -> Repair:
    return (_online(table, f"ALTER TABLE {table} VALIDATE CONSTRAINT {Name.of(constraint)}"),)


def drop_constraint(table: Name, name: str) -> Repair:
    return alter(table, f"DROP CONSTRAINT {Name.of(name)}")


def exchange_constraint(table: Name, expected: Constraint, found: Constraint, parent: Name | None) -> Repair:
    """Add the right constraint under another name before the wrong one is dropped: every row is always checked."""
    new = Constraint(**{**vars(expected), "name": temporary_name(expected.name, "new")})
    renamed = f"RENAME CONSTRAINT {Name.of(new.name)} TO {Name.of(expected.name)}"
    return (
        *add_constraint(table, new, parent),
        *alter(table, f"DROP CONSTRAINT {Name.of(found.name)}", renamed),
    )


def rename_constraint(table: Name, old: str, new: str) -> Repair:
    return alter(table, f"RENAME CONSTRAINT {Name.of(old)} TO {Name.of(new)}")


def create_table(connection: Any, model: Any) -> Repair:
    """Create the table as Django does. Its foreign keys lock the parent tables against writes for a moment."""
    with connection.schema_editor(collect_sql=True, atomic=False) as editor:
        fields, model._meta.local_many_to_many = model._meta.local_many_to_many, []
        try:
            editor.create_model(model)
        finally:
            model._meta.local_many_to_many = fields
    sql = tuple(one.rstrip().rstrip(";") for one in editor.collected_sql)
    return (Together(why=WHY, sql=sql, locks={table_of(model): Lock.ACCESS_EXCLUSIVE}),)
