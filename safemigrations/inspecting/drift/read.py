"""What the catalog says about tables."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from ...postgres import shapes
from ...running.session import Session
from .shape import Column, Constraint, Index, Table


def read(session: Session, relations: Sequence[int]) -> dict[int, Table]:
    """Each of these tables, by its oid."""
    columns, indexes = _by_table(session, shapes.columns(relations)), _by_table(session, shapes.indexes(relations))
    constraints = _by_table(session, shapes.constraints(relations))
    comments = dict(session.rows(shapes.comments(relations)))
    return {
        oid: Table(
            comment=comments.get(oid) or "",
            columns={row[0]: Column(*row) for row in columns[oid]},
            indexes=[Index(*row) for row in indexes[oid]],
            constraints=[Constraint(*row) for row in constraints[oid]],
        )
        for oid in relations
    }


def _by_table(session: Session, query: str) -> dict[int, list[tuple[Any, ...]]]:
    found = defaultdict[int, list[tuple[Any, ...]]](list)
    for oid, *row in session.rows(query):
        found[oid].append(tuple(row))
    return found
