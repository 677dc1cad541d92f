"""Questions to the catalog with the answers yes and no."""

from __future__ import annotations

from .values import literal


class Probe(str):
    """A query that has a row when the answer is yes.

    It is its own text, and so a step stores it as such.
    """

    __slots__ = ()

    def or_(self, *others: Probe) -> Probe:
        return Probe(" UNION ALL ".join(filter(None, (self, *others))))

    def and_(self, other: Probe) -> Probe:
        return Probe(f"SELECT 1 WHERE EXISTS ({self}) AND EXISTS ({other})")

    def unless(self, other: Probe) -> Probe:
        """Yes, if this one says yes and the other says no."""
        return Probe(f"SELECT 1 WHERE EXISTS ({self}) AND NOT EXISTS ({other})")

    def negated(self) -> Probe:
        return no_row(self)


NEVER = Probe("")  # nobody asks it


def said_if(probe: Probe, text: str) -> str:
    """A query that returns this text if the answer is yes."""
    return f"SELECT {literal(text)} WHERE EXISTS ({probe})"


def no_row(query: str) -> Probe:
    """Does a query find nothing?"""
    return Probe(f"SELECT 1 WHERE NOT EXISTS ({query})")
