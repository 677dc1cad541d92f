"""Finds out which types PostgreSQL can group by: those with an equality operator, or whose parts have one."""

from __future__ import annotations

import re
from typing import Any

# As libpq numbers them, outside of a transaction and in one without an error. To import psycopg for their names would
# load it where a laptop with SQLite starts.
IDLE, INTRANS = 0, 2

# The types of Django's fields. Of any other, as a domain, only the catalog knows.
COMPARABLE = {
    *("boolean", "smallint", "integer", "bigint", "numeric", "real", "double precision"),
    *("varchar", "char", "text", "bytea", "uuid", "jsonb", "inet", "cidr", "tsvector"),
    *("date", "time", "timestamp", "time with time zone", "timestamp with time zone", "interval"),
    *("int4range", "int8range", "numrange", "daterange", "tsrange", "tstzrange"),
}

# Down from an array to its elements, from a domain to its base, to a type that has an operator class or hasn't.
EQUALITY = """
WITH RECURSIVE type (oid) AS (
    SELECT to_regtype(%s)::oid
    UNION ALL
    SELECT CASE WHEN t.typtype = 'd' THEN t.typbasetype ELSE t.typelem END
    FROM type JOIN pg_type t ON t.oid = type.oid WHERE t.typtype = 'd' OR t.typcategory = 'A'
)
SELECT EXISTS (
    SELECT FROM type JOIN pg_type t ON t.oid = type.oid
    WHERE t.typtype <> 'd' AND t.typcategory <> 'A' AND (t.typtype IN ('e', 'r', 'm') OR EXISTS (
        SELECT FROM pg_opclass c JOIN pg_am m ON m.oid = c.opcmethod
        WHERE c.opcdefault AND m.amname IN ('btree', 'hash') AND (c.opcintype = t.oid OR EXISTS (
            SELECT FROM pg_cast WHERE castsource = t.oid AND casttarget = c.opcintype
            AND castmethod = 'b' AND castcontext = 'i'))))
)
"""

_answers = dict[tuple[str, str, str], bool]()


def is_comparable(connection: Any, type_: str) -> bool:
    bare = re.sub(r"\([^)]*\)|\[\d*\]", "", type_).strip().lower()
    return bare in COMPARABLE or _answer(connection, type_)


def _answer(connection: Any, type_: str) -> bool:
    """PostgreSQL's answer, asked once in a process.

    It is no if nothing can be asked: while nothing is connected, or after an error.
    """
    key = (connection.alias, connection.settings_dict["NAME"], type_)
    there = connection.connection
    if key in _answers:
        return _answers[key]
    if there is None or there.info.transaction_status not in (IDLE, INTRANS):
        return False
    with there.cursor() as cursor:  # its own, so that it isn't among the queries that a test counts
        ((found,),) = cursor.execute(EQUALITY, [type_]).fetchall()
    if found:  # else the type may come yet, as with an extension
        _answers[key] = found
    return bool(found)
