"""Asks whether a column of another type can take over what one has (postgres/takeover.py)."""

from __future__ import annotations

from collections.abc import Sequence

from ..postgres.probe import Probe
from .column import Column
from .copies import TryTypes


def try_types(pairs: Sequence[tuple[Column, Column]], *, done: Probe, but: str = "") -> TryTypes:
    """Asks whether the indexes and checks of the first column of each pair can be made for the second, which isn't
    there yet.

    The pairs are columns of one table.
    """
    table = pairs[0][0]
    names = ", ".join(old.name for old, _ in pairs)
    types = ", ".join(dict.fromkeys(new.type for _, new in pairs))
    return TryTypes(
        why=f"{table.label}: every index and check constraint of {names} means something for {types}",
        table=table.table,
        types=tuple((old.name, new.type_with_collation) for old, new in pairs),
        failure=(
            f"{names} of {table.label} can't become {types} together with {{what}} ({{error}}). Nothing was changed. "
            "Remove that in a migration before this one, run its contract, and add what fits the new type afterwards."
        ),
        but=but,
        done=done,
    )
