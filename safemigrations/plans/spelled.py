"""How PostgreSQL spells a type that a field spells in another way.

Two spellings of one type are no change: decimal(8,2) of a custom field and numeric(8, 2) of Django's, integer[3] and
integer[5] of an array whose size only Python checks. Nobody is asked, because makemigrations and checks run without a
database; tests/test_spelled.py asks PostgreSQL whether this is right.
https://www.postgresql.org/docs/current/datatype.html
"""

from __future__ import annotations

import re

ALIASES = {
    "bool": "boolean",
    "bpchar": "char",
    "char varying": "varchar",
    "character": "char",
    "character varying": "varchar",
    "dec": "numeric",
    "decimal": "numeric",
    "float": "double precision",
    "float4": "real",
    "float8": "double precision",
    "int": "integer",
    "int2": "smallint",
    "int4": "integer",
    "int8": "bigint",
    "national char": "char",
    "national char varying": "varchar",
    "national character": "char",
    "national character varying": "varchar",
    "nchar": "char",
    "time without time zone": "time",
    "timestamp without time zone": "timestamp",
    "timestamptz": "timestamp with time zone",
    "timetz": "time with time zone",
    "varbit": "bit varying",
}
OF_ONE = ("bit", "char")  # bit is bit(1)
REAL = 24  # float(24) is the longest that is real
# A name, limits, what stands behind these (with time zone), and the dimensions of an array, which PostgreSQL ignores.
LIMITS = r"(?P<limits>\([\d\s,]*\))\s*(?P<behind>[a-z ]*?)"
TYPE = rf"(?i)(?P<name>[a-z_][\w .]*?)\s*({LIMITS})?(?P<array>(\s*\[\d*\])+)?"
ARRAY = r"(?i)\s+array\s*(\[\d+\])?$"


def spelled(type_: str) -> str:
    """The type as Django spells its own, with `varchar` for `character varying`; other types stay as they are."""
    found = re.fullmatch(TYPE, re.sub(ARRAY, "[]", type_.strip()))
    if not found:
        return type_
    parts = found.groupdict(default="")
    words = f"{parts['name']} {parts['behind']}".lower().removeprefix("pg_catalog.").split()
    element = _spelled(" ".join(words), re.findall(r"\d+", parts["limits"]))
    return f"{element}[]" if parts["array"] else element


def _spelled(name: str, sizes: list[str]) -> str:
    if name == "float" and sizes:
        return "real" if int(sizes[0]) <= REAL else "double precision"
    if name == "bpchar" and not sizes:  # of any length
        return name
    canonical = ALIASES.get(name, name)
    if canonical in OF_ONE and not sizes:
        sizes = ["1"]
    if canonical == "numeric" and len(sizes) == 1:
        sizes = [*sizes, "0"]
    first, *rest = canonical.split(" ", 1)
    limits = f"({', '.join(sizes)})" if sizes else ""
    if rest and rest[0] == "with time zone":  # timestamp(3) with time zone
        return f"{first}{limits} {rest[0]}"
    return f"{canonical}{limits}"
