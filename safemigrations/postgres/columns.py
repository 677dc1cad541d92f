"""Probes on columns; their names are raw."""

from __future__ import annotations

import re
from collections.abc import Iterable

from .names import regclass
from .probe import Probe, no_row
from .values import literal, literals


def _attribute(table: str, column: str, condition: str = "") -> Probe:
    return Probe(
        "SELECT 1 FROM pg_attribute a LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum"
        f" WHERE a.attrelid = {regclass(table)} AND a.attname = {literal(column)} AND NOT a.attisdropped{condition}"
    )


def column_exists(table: str, column: str) -> Probe:
    return _attribute(table, column)


def column_missing(table: str, column: str) -> Probe:
    return no_row(_attribute(table, column))


# Of a NOT NULL that may be NOT VALID (PostgreSQL 18) attnotnull is true already.
NOT_VALID = (
    "EXISTS (SELECT FROM pg_constraint k WHERE k.conrelid = a.attrelid AND k.contype = 'n'"
    " AND a.attnum = ANY (k.conkey) AND NOT k.convalidated)"
)


def column_not_null(table: str, column: str) -> Probe:
    return _attribute(table, column, f" AND a.attnotnull AND NOT {NOT_VALID}")


def column_forbids_null(table: str, column: str) -> Probe:
    """Is it NOT NULL ... NOT VALID?"""
    return _attribute(table, column, f" AND a.attnotnull AND {NOT_VALID}")


def column_nullable(table: str, column: str) -> Probe:
    return _attribute(table, column, " AND NOT a.attnotnull")


def column_has_default(table: str, column: str) -> Probe:
    return _attribute(table, column, " AND d.oid IS NOT NULL")


def column_has_no_default(table: str, column: str) -> Probe:
    return _attribute(table, column, " AND d.oid IS NULL")


def column_has_type(table: str, column: str, type_: str) -> Probe:
    """Does the column have this type, with its limits?"""
    return _attribute(
        table, column, f" AND replace(format_type(a.atttypid, a.atttypmod), ', ', ',') = {literal(_canonical(type_))}"
    )


def _canonical(type_: str) -> str:
    """A type as format_type() spells it, without spaces between its limits."""
    return type_.replace("varchar", "character varying").replace(", ", ",")


def column_is(table: str, column: str, type_: str, collation: str = "") -> Probe:
    """Does the column have this type with its limits, and this collation (quoted; empty: that of the type)?"""
    in_parentheses = "coalesce(substring(format_type(a.atttypid, a.atttypmod) FROM '[(](.*)[)]'), '')"
    numbers = f"regexp_replace({in_parentheses}, '[^0-9,]', '', 'g')"
    wanted = literal(re.sub("[^0-9,]", "", "".join(re.findall(r"[(](.*)[)]", type_))))
    of_type = "(SELECT typcollation FROM pg_type WHERE oid = a.atttypid)"
    right_collation = f"to_regcollation({literal(collation)})" if collation else of_type
    right_type = f"a.atttypid = to_regtype({literal(type_)}) AND {numbers} = {wanted}"
    return _attribute(table, column, f" AND {right_type} AND a.attcollation = {right_collation}")


def type_unlike(table: str, column: str, type_: str) -> str:
    """The type of a column for people, if it isn't this one; limits and collation don't count.

    record_image_ne() compares no values of two types, not even a domain and the type that it is of.
    """
    wanted = f"to_regtype({literal(type_)})"
    return (
        f"SELECT format('%I of %s is %s instead of %s', a.attname, a.attrelid::regclass, format_type(a.atttypid, -1),"
        f" {wanted}) FROM pg_attribute a WHERE a.attrelid = {regclass(table)} AND a.attname = {literal(column)}"
        f" AND NOT a.attisdropped AND a.atttypid <> {wanted}"
    )


def column_stores(table: str, column: str, value: str) -> Probe:
    """Do the rows that were there before the column have this value in it, or none that is stored for all of them?

    The text of both is compared, as some types can't be compared.
    https://www.postgresql.org/docs/current/catalog-pg-attribute.html
    """
    stored = f"(a.attmissingval::text::text[])[1] IS NOT DISTINCT FROM concat({value})"
    return _attribute(table, column, f" AND (NOT a.atthasmissing OR {stored})")


def columns_of(table: str) -> str:
    """The names of a table's columns, in their order."""
    return (
        f"SELECT attname FROM pg_attribute WHERE attrelid = {regclass(table)} AND attnum > 0 AND NOT attisdropped"
        " ORDER BY attnum"
    )


def types_of(table: str, columns: Iterable[str]) -> str:
    """The columns among these that the table has, each with its type as pg_type calls it."""
    return (
        "SELECT attname, typname FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid"
        f" WHERE attrelid = {regclass(table)} AND attname IN ({literals(columns)})"
    )


def default_of(table: str, column: str, *, as_unknown: bool = False) -> str:
    """The default of a column for people; no row if it has none, or null; `as_unknown`: with what to do about it."""
    unknown = literal(", which the migrations don't know: drop it")
    also = f" || {unknown}" if as_unknown else ""
    return (
        f"SELECT 'default ' || pg_get_expr(d.adbin, d.adrelid){also} FROM pg_attribute a JOIN pg_attrdef d"
        f" ON d.adrelid = a.attrelid AND d.adnum = a.attnum WHERE a.attrelid = {regclass(table)}"
        f" AND a.attname = {literal(column)} AND a.attgenerated = '' AND pg_get_expr(d.adbin, d.adrelid) !~ '^NULL::'"
    )


def sequence_of(table: str, column: str) -> str:
    """The sequence that belongs to a column, for people."""
    return (
        "SELECT 'sequence ' || d.objid::regclass FROM pg_depend d JOIN pg_attribute a ON a.attrelid = d.refobjid"
        " AND a.attnum = d.refobjsubid JOIN pg_sequence s ON s.seqrelid = d.objid"
        " WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass"
        f" AND a.attrelid = {regclass(table)} AND a.attname = {literal(column)}"
    )


def number_of(column: str, relation: str) -> str:
    """The attribute number of a column, inside a query that has its table as `relation`."""
    return f"(SELECT attnum FROM pg_attribute WHERE attrelid = {relation} AND attname = {literal(column)})"


def sequence_beyond(table: str, column: str, limit: int) -> str:
    """The sequence that numbers a column and its position, if that is beyond the limit."""
    return (
        "SELECT c.oid::regclass, pg_sequence_last_value(c.oid) FROM pg_class c"
        f" WHERE c.oid = pg_get_serial_sequence({literal(table)}, {literal(column)})::regclass"
        f" AND pg_sequence_last_value(c.oid) > {limit}"
    )
