"""Probes and queries on constraints; their names, and those of columns, are raw."""

from __future__ import annotations

from collections.abc import Iterable

from .columns import number_of
from .names import copy_over, identifier, regclass
from .probe import Probe, no_row
from .values import literal, literals


def constraint_exists(table: str, name: str, *, validated: bool = False, kind: str = "") -> Probe:
    """`kind` as pg_constraint.contype has it: one of another kind doesn't count."""
    return _constraint(table, name, f"{_of_kind(kind)}{' AND convalidated' if validated else ''}")


def constraint_missing(table: str, name: str, *, kind: str = "") -> Probe:
    return no_row(constraint_exists(table, name, kind=kind))


def _constraint(table: str, name: str, condition: str) -> Probe:
    name = literal(identifier(name))
    return Probe(f"SELECT 1 FROM pg_constraint WHERE conrelid = {regclass(table)} AND conname = {name}{condition}")


def _of_kind(kind: str) -> str:
    return f" AND contype = {literal(kind)}" if kind else ""


def constraint_missing_everywhere(table: str, name: str) -> Probe:
    """Do the table and its partitions all lack a constraint of this name?"""
    parts = f"SELECT {regclass(table)}::oid UNION SELECT relid::oid FROM pg_partition_tree({regclass(table)})"
    return no_row(f"SELECT FROM pg_constraint WHERE conname = {literal(identifier(name))} AND conrelid IN ({parts})")


def checks_of_twins(table: str, name: str) -> Probe:
    """The names of the checks that stand in for this one on columns that get another type; also a query for them."""
    return Probe(
        "SELECT k.conname FROM pg_attribute a JOIN pg_constraint k ON k.conrelid = a.attrelid AND k.contype = 'c'"
        f" AND k.conname = {copy_over(table, 'a.attname', name)} WHERE a.attrelid = {regclass(table)}"
    )


def unique_exists(table: str, name: str) -> Probe:
    """A unique constraint; of a partitioned table, one that all partitions have."""
    return Probe(
        "SELECT 1 FROM pg_constraint k JOIN pg_index i ON i.indexrelid = k.conindid"
        f" WHERE k.conrelid = {regclass(table)} AND k.conname = {literal(identifier(name))} AND k.contype = 'u'"
        " AND i.indisvalid"
    )


# Foreign keys. ON DELETE is given as pg_constraint.confdeltype has it.
# https://www.postgresql.org/docs/current/catalog-pg-constraint.html


def foreign_key_exists(table: str, name: str, *, on_delete: str, validated: bool = False) -> Probe:
    more = " AND convalidated" if validated else ""
    return _constraint(table, name, f"{_of_kind('f')} AND confdeltype = {literal(on_delete)}{more}")


def foreign_key_of_partitions(table: str, name: str, *, on_delete: str) -> Probe:
    """Do the partitions have a foreign key of this name that isn't the table's yet?"""
    return Probe(
        f"SELECT 1 FROM pg_constraint WHERE conname = {literal(identifier(name))}{_of_kind('f')}"
        f" AND confdeltype = {literal(on_delete)}"
        f" AND conrelid IN (SELECT relid FROM pg_partition_tree({regclass(table)}))"
    )


def foreign_keys(table: str, column: str, *, but_named: str = "", on_delete: str = "", but_on_delete: str = "") -> str:
    """The names of the foreign keys of one column, as `conname`; of all, or but those of one name or ON DELETE."""
    return (
        f"SELECT conname FROM pg_constraint WHERE conrelid = {regclass(table)} AND contype = 'f'"
        f" AND conkey = ARRAY[{number_of(column, 'conrelid')}]"
        + (f" AND conname <> {literal(identifier(but_named))}" if but_named else "")
        + (f" AND confdeltype = {literal(on_delete)}" if on_delete else "")
        + (f" AND confdeltype <> {literal(but_on_delete)}" if but_on_delete else "")
    )


def foreign_keys_by_hand(table: str, column: str, *, on_delete: str = "") -> str:
    """The foreign keys of one column that aren't as Django makes them, with this ON DELETE, or at all; with their text.

    One that is as Django's is not by hand, a second one is.
    """
    as_django = (
        f"k.confdeltype = {literal(on_delete)} AND k.confupdtype = 'a' AND k.confmatchtype = 's' AND k.condeferrable"
        " AND k.condeferred AND k.convalidated AND coalesce((to_jsonb(k) ->> 'conenforced')::boolean, TRUE)"
    )
    own = (
        f"FROM pg_constraint k WHERE k.conrelid = {regclass(table)} AND k.contype = 'f' AND k.conparentid = 0"
        f" AND k.conkey = ARRAY[{number_of(column, 'k.conrelid')}]"
    )
    return (
        "SELECT format('constraint %s on table %s: %s', k.conname, k.conrelid::regclass, pg_get_constraintdef(k.oid))"
        f" {own} AND k.oid IS DISTINCT FROM (SELECT min(k.oid) {own} AND {as_django})"
    )


# Constraints that are found by what they are over.


def constraints_of_field(table: str, columns: Iterable[str], kind: str, *, names: Iterable[str]) -> str:
    """The constraints over exactly these columns, of one contype, that don't come from Meta.constraints."""
    found = (
        f"SELECT conname::text FROM pg_constraint WHERE conrelid = {regclass(table)} AND contype = '{kind}' AND"
        " (SELECT array_agg(attname::text ORDER BY attname::text) FROM pg_attribute WHERE attrelid = conrelid AND"
        " attnum = ANY (conkey))"
        f" = (SELECT array_agg(name ORDER BY name) FROM unnest(ARRAY[{literals(columns)}]::text[]) AS name)"
    )
    return made_up(found, names, {"u": "_(uniq|key[0-9]*)$", "c": "_check[0-9]*$"}[kind])


def made_up(found: str, names: Iterable[str], pattern: str) -> str:
    """A query for those of the found names that Django or PostgreSQL makes up, and people don't give in Meta.

    A table or a column that was renamed since keeps a name that nobody can compute, but can recognise.
    """
    exactly = f"conname IN ({literals(names)})"
    alike = f"conname ~ {literal(pattern)} AND NOT EXISTS (SELECT FROM there WHERE {exactly})"
    return f"WITH there(conname) AS ({found}) SELECT conname FROM there WHERE {exactly} OR ({alike})"


def constraint_of_index(table: str, name: str) -> str:
    """The constraint behind an index, if there is one: its kind, and DEFERRABLE as it would be written."""
    return (
        "SELECT k.contype::text, CASE WHEN k.condeferred THEN ' DEFERRABLE INITIALLY DEFERRED'"
        " WHEN k.condeferrable THEN ' DEFERRABLE' ELSE '' END FROM pg_constraint k"
        f" WHERE k.conrelid = {regclass(table)} AND k.conname = {literal(name)}"
    )


def checks_of_columns(table: str, *columns: str) -> str:
    """The check constraints that name one of the columns, oldest first: name, and definition as in ADD CONSTRAINT."""
    return (
        "SELECT k.conname, pg_get_constraintdef(k.oid) FROM pg_constraint k"
        f" WHERE k.conrelid = {regclass(table)} AND k.contype = 'c' AND EXISTS (SELECT FROM pg_attribute a"
        f" WHERE a.attrelid = k.conrelid AND a.attnum = ANY (k.conkey) AND a.attname IN ({literals(columns)}))"
        " ORDER BY k.oid"
    )


def columns_of_constraint(table: str, name: str) -> str:
    """The columns of a constraint, in its order."""
    return (
        "SELECT a.attname FROM pg_constraint k, unnest(k.conkey) WITH ORDINALITY AS n(attnum, place)"
        " JOIN pg_attribute a USING (attnum)"
        f" WHERE k.conrelid = {regclass(table)} AND k.conname = {literal(name)} AND a.attrelid = k.conrelid"
        " ORDER BY n.place"
    )
