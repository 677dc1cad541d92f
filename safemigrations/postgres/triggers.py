"""Probes on triggers, and what their functions read and write, as far as their texts tell.

PostgreSQL doesn't know what the text of a function depends on: it is only found when the function is called.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from .names import LAST, Name, regclass
from .probe import Probe, no_row
from .values import literal


def trigger_exists(table: str, name: str) -> Probe:
    return Probe(f"SELECT 1 FROM pg_trigger WHERE tgrelid = {regclass(table)} AND tgname = {literal(name)}")


def trigger_between(table: str, name: str, *columns: str) -> Probe:
    """Is the trigger there, and does its function set or read these columns (quoted) of the row?"""
    reads = "".join(f" AND strpos(p.prosrc, {literal(f'NEW.{column}')}) > 0" for column in columns)
    return Probe(
        "SELECT 1 FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid"
        f" WHERE t.tgrelid = {regclass(table)} AND t.tgname = {literal(name)}{reads}"
    )


def trigger_missing(table: str, name: str) -> Probe:
    return no_row(trigger_exists(table, name))


def trigger_works(table: str, name: str, source: str, *, always: bool) -> Probe:
    """Is the trigger there, on partitions too, enabled (ALWAYS or at all), with this text of its function?"""
    fires = "'A'" if always else "'A', 'O'"
    parts = f"SELECT relid FROM pg_partition_tree({regclass(table)})"
    return Probe(
        "SELECT 1 FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid"
        f" WHERE t.tgrelid = {regclass(table)} AND t.tgname = {literal(name)} AND t.tgenabled IN ({fires})"
        f" AND p.prosrc = {literal(source)} AND NOT EXISTS (SELECT FROM pg_trigger c WHERE c.tgrelid IN ({parts})"
        f" AND c.tgname = t.tgname AND c.tgenabled NOT IN ({fires}))"
    )


def is_ours(trigger: str) -> str:
    """A condition on a row of pg_trigger: is it a trigger of ours?"""
    return f"starts_with({trigger}.tgname, {literal(LAST)})"


def fired_by_update(table: str, columns: Iterable[str]) -> str:
    """The names of the triggers, not of ours, that fire for each row whose columns (raw names) an UPDATE sets."""
    names = ", ".join(literal(column) for column in columns)
    of_columns = (
        "EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = t.tgrelid AND a.attnum = ANY (t.tgattr)"
        f" AND a.attname IN ({names or 'NULL'}))"
    )
    return (
        f"SELECT DISTINCT t.tgname::text {_functions_of(table)} AND t.tgenabled IN ('O', 'A') AND t.tgtype & 17 = 17"
        f" AND (t.tgattr = '' OR {of_columns}) ORDER BY 1"
    )


def functions_naming(table: str, column: str) -> str:
    """The functions of the table's triggers that take a column of NEW or OLD without looking whether it is there."""
    uses = rf"\m(new|old)\s*\.\s*{_as_written(column)}"
    looks = rf"\?\s*{re.escape(literal(column))}"
    return (
        f"SELECT DISTINCT p.oid::regprocedure::text {_functions_of(table)}"
        f" AND p.prosrc ~* {literal(uses)} AND p.prosrc !~ {literal(looks)} ORDER BY 1"
    )


def functions_in_order(table: str) -> str:
    """The functions of the table's triggers that break where the row has a column more: INSERT ... SELECT NEW.*

    What is an argument of a function, as in to_jsonb(NEW.*), is the row as one value.
    https://www.postgresql.org/docs/current/rowtypes.html#ROWTYPES-USAGE
    """
    row = r"(\m(new|old)|\(\s*(new|old)\s*\))\s*\.\s*\*"
    argument = rf"\m(?!(values|row|select|in|any|all|using)\M)[\w$]+\s*\(([^()]*,)?\s*{row}"
    in_order = literal(rf"\m(insert\s+into|select|values)\M[^;]*{row}")
    return (
        "SELECT format('function %s, which takes the columns in their order and has to name them', p.oid::regprocedure)"
        f" {_functions_of(table)} AND regexp_replace(p.prosrc, {literal(argument)}, '', 'gi') ~* {in_order}"
    )


def _functions_of(table: str) -> str:
    """FROM and WHERE: the triggers of a table, `t`, that aren't ours, and their functions, `p`."""
    return (
        "FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid"
        f" WHERE t.tgrelid = {regclass(table)} AND NOT t.tgisinternal AND NOT {is_ours('t')}"
    )


def fires_after_ours(table: str) -> str:
    """The triggers of the table, or of a partition, that may still change a row when ours have seen it."""
    parts = f"SELECT {regclass(table)} UNION SELECT relid FROM pg_partition_tree({regclass(table)})"
    return (
        "SELECT DISTINCT format('trigger %I, which fires after ours and needs a name that comes before zzz', t.tgname)"
        f" FROM pg_trigger t WHERE t.tgrelid IN ({parts}) AND NOT t.tgisinternal AND NOT {is_ours('t')}"
        f" AND t.tgenabled <> 'D' AND t.tgtype & 3 = 3 AND t.tgtype & 20 <> 0 AND t.tgname > {literal(LAST)}"
    )


def functions_using(tables: Iterable[str]) -> str:
    """The functions of other tables' triggers that read or write these tables.

    What only looks like a name, as ORDER BY, doesn't count.
    """
    oids = ", ".join(f"coalesce({regclass(table)}, 0)" for table in tables)
    names = "|".join(_as_written(Name(table).raw) for table in tables)
    words = r"\m(from|join|into|update|table|only|using)\s+"
    uses = rf"{words}(only\s+)?((\"([^\"]|\"\")+\"|[\w$]+)\.)?({names})"
    return (
        "SELECT DISTINCT p.oid::regprocedure::text FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid"
        f" WHERE t.tgrelid NOT IN ({oids}) AND NOT t.tgisinternal AND p.prosrc ~* {literal(uses)} ORDER BY 1"
    )


def mentions(function: str, table: Name) -> str:
    """A condition on a row of pg_proc: does its text contain the name of the table?"""
    return f"strpos({function}.prosrc, {literal(table.bare.in_django)}) > 0"


def _as_written(name: str) -> str:
    """A regular expression for a raw name, with or without quotes."""
    return rf"({re.escape(Name.of(name))}|{re.escape(name)}(?![\w$]))"
