"""Which object of a table is which: the same in both shapes, in the place of another, or in one of them alone."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from ...postgres.names import PREFIX
from .shape import Constraint, Index

Part = TypeVar("Part", Index, Constraint)


def paired(expected: Sequence[Part], found: Sequence[Part]) -> tuple[list[tuple[Part, Part]], list[Part], list[Part]]:
    """Three lists: the objects that are in both, in pairs, matched by name first; those that are missing; those that
    nobody expects.
    """
    same, left = list[tuple[Part, Part]](), list(found)
    wanted = list(expected)
    by_name: Callable[[Part, Part], bool] = lambda want, one: want.name == one.name and want.what == one.what  # noqa: E731
    by_what: Callable[[Part, Part], bool] = lambda want, one: want.what == one.what  # noqa: E731
    for is_same in (by_name, by_what, same_but_for_nulls):
        for want in list(wanted):
            one = next((one for one in left if is_same(want, one)), None)
            if one:
                left.remove(one)
                wanted.remove(want)
                same.append((want, one))
    return same, wanted, left


OF_NULLS = re.compile(r' AND \(?("(?:[^"]|"")+"|\w+) IS NOT NULL\)?')


def same_but_for_nulls(want: Part, one: Part) -> bool:
    """Django writes IS NOT NULL beside the negation of a field that may be null, and nothing anew when that changes."""
    texts = want.text, one.text
    said = [bool(OF_NULLS.search(text)) for text in texts]
    bare = [re.sub("[()]", "", OF_NULLS.sub("", text)) for text in texts]
    return want.name == one.name and said[0] != said[1] and bare[0] == bare[1] and want.rest == one.rest


def in_its_place(want: Part, others: Sequence[Part]) -> Part | None:
    """The object in the place of the wanted one: one with its name, or one over the same columns."""
    named = (one for one in others if one.name == want.name)
    alike = (one for one in others if _alike(want, one))
    return next(named, None) or next(alike, None)


def _alike(want: Any, one: Any) -> bool:
    if isinstance(want, Constraint):
        return bool(want.kind == one.kind == "f" and want.columns == one.columns)
    return bool(want.unique and one.unique) and bool(want.definition == one.definition)


def is_ours(name: str, columns: Sequence[str]) -> bool:
    return any(each.startswith(PREFIX) for each in (name, *columns))
