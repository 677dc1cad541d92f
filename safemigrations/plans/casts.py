"""Pairs of types whose values both releases understand, and the conversion between them.

While a column has the new type the old release reads and writes it too, and the reverse. So only types count whose
values are the same to Python: whole numbers, decimals, texts. The type that holds all values of the other one is the
*wider* one.
"""

from __future__ import annotations

import re

from ..data import Data

INTEGERS = {"smallint": 2**15, "integer": 2**31, "bigint": 2**63}
TEXTS = ("varchar", "text", "citext")
CUT = ("varchar", "character varying", "char", "character")  # types whose explicit casts cut off
PRECISION = 1000  # the most that a numeric may be declared with


class Cast(Data):
    """A conversion to the other type: SQL over a value, {}.

    `misfit` is a condition that is true if the other type has no equal value.
    """

    sql: str
    misfit: str = ""

    @property
    def or_null(self) -> str:
        """What doesn't fit becomes NULL instead of an error."""
        return f"CASE WHEN {self.misfit} THEN NULL ELSE {self.sql} END" if self.misfit else self.sql


def parse(type_: str) -> tuple[str, tuple[int, ...]]:
    """ "numeric(8, 2)" -> ("numeric", (8, 2)); of an array, "integer[]" and the size of its elements."""
    size = tuple(int(number) for number in re.findall(r"\d+", type_.partition("(")[2].partition(")")[0]))
    return re.sub(r"\s*\([^)]*\)", "", type_).strip(), size


def text_of(type_: str) -> str:
    """The text type, if it is one. Django builds another index for LIKE for each, or none."""
    name, _ = parse(type_)
    return name if name in TEXTS else ""


def is_wider(old: str, new: str) -> bool:
    """Can the new type hold every value of the old one as the same value?"""
    (old_name, old_size), (new_name, new_size) = parse(old), parse(new)
    if old == new:
        return True
    if old_name.endswith("[]") != new_name.endswith("[]"):
        return False
    old_name, new_name = old_name.removesuffix("[]"), new_name.removesuffix("[]")
    if old_name == new_name == "numeric":
        return not new_size or (
            bool(old_size) and _digits(old_size) <= _digits(new_size) and _holds(old_size, new_size)
        )
    if old_name in TEXTS and new_name in TEXTS:
        return not new_size or (bool(old_size) and old_size <= new_size)
    return INTEGERS.get(old_name, 2**64) <= INTEGERS.get(new_name, 0)


def numeric_of_both(old: str, new: str) -> tuple[int, int] | None:
    """The precision and scale that hold the values of both numeric types; None for other types."""
    (old_name, old_size), (new_name, new_size) = parse(old), parse(new)
    if not (old_name == new_name == "numeric" and old_size and new_size):
        return None
    scale = max((*old_size, 0)[1], (*new_size, 0)[1])
    return max(_digits(old_size), _digits(new_size)) + scale, scale


def _digits(size: tuple[int, ...]) -> int:
    """How many digits stand before the decimal point."""
    precision, scale = (*size, 0)[:2]
    return precision - scale


def _holds(old: tuple[int, ...], new: tuple[int, ...]) -> bool:
    """Does the new type have at least as many digits behind the point?"""
    return (*old, 0)[1] <= (*new, 0)[1]


def cast(old: str, new: str) -> Cast:
    """How values are cast from one type to another. Between different kinds PostgreSQL converts, or refuses."""
    return Cast(f"CAST({{}} AS {new})", misfit(old, new))


def misfit(old: str, new: str) -> str:
    """A condition: the value of the old type, {}, has no equal in the narrower new type.

    Empty if the new type isn't narrower.
    """
    if is_wider(old, new) or not is_wider(new, old):
        return ""
    name, size = parse(new)
    if name.endswith("[]"):
        return _misfit_of_array(new, name.removesuffix("[]"), size)
    if name in TEXTS:
        return f"length({{}}) > {size[0]}"
    if name == "numeric":
        too_large = f"abs({{}}) >= 1{'0' * _digits(size)} AND {{}} <> 'NaN'"
        return f"{{}} <> round({{}}, {(*size, 0)[1]}) OR {too_large}"
    limit = INTEGERS[name]
    return f"{{}} NOT BETWEEN {-limit} AND {limit - 1}"


def cut_off(using: str, new: str) -> str:
    """When what `using` makes of a value, {}, is too long for the type: an explicit cast would cut it."""
    name, size = parse(new)
    if not size or name.removesuffix("[]") not in CUT:
        return ""
    if name.endswith("[]"):
        return f"CAST(CAST({using} AS {new}) AS text[]) <> CAST({using} AS text[])"
    return f"length(CAST({using} AS text)) > {size[0]}"


def _misfit_of_array(new: str, element: str, size: tuple[int, ...]) -> str:
    """A condition without a query over the elements, which a trigger's WHEN may not have."""
    if element in TEXTS:  # an explicit cast cuts off what is too long
        return f"CAST(CAST({{}} AS {new}) AS text[]) <> CAST({{}} AS text[])"
    if element == "numeric":
        limit, scale = f"1{'0' * _digits(size)}", (*size, 0)[1]
        rounded = f"CAST({{}} AS numeric({PRECISION}, {scale})[])"
        return f"NOT coalesce(-{limit} < ALL ({{}}) AND {limit} > ALL ({{}}), TRUE) OR {rounded} <> {{}}"
    limit_of = INTEGERS[element]
    return f"NOT coalesce({-limit_of} <= ALL ({{}}) AND {limit_of - 1} >= ALL ({{}}), TRUE)"


def assigned(old: str, new: str) -> str:
    """SQL to assign to a variable of the new type.

    It is the value, {}, or an expression where PostgreSQL wouldn't convert the value by itself.
    """
    if old == "boolean" and new in INTEGERS:
        return "CAST({} AS integer)"
    return "{} <> 0" if old in INTEGERS and new == "boolean" else "{}"
