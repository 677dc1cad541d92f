"""A rougher comparison for where no table may be created: on a standby, or without the privilege TEMPORARY."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ...postgres import shapes
from ...postgres.names import Name
from ...running.session import Session
from . import repairs
from .line import Line
from .shape import Table
from .wanted import Wanted


def reason(session: Session) -> str:
    """The reason why no table can be created; empty if one can."""
    ((is_standby, is_read_only, may),) = session.rows(shapes.may_make_temporary())
    if is_standby:
        return "This server is a standby, which takes no temporary tables"
    if is_read_only:
        return "These sessions are read-only, and take no temporary tables (default_transaction_read_only)"
    return "" if may else "This role may make no temporary tables (GRANT TEMPORARY ON DATABASE)"


def lines(connection: Any, models: Wanted, found: Mapping[Name, Table]) -> Iterator[Line]:
    for name, model in models.items():
        for field in model._meta.local_concrete_fields:
            if field.db_type(connection) is not None:
                yield from _of_field(connection, model, name, field, found[name])


def _of_field(connection: Any, model: Any, table: Name, field: Any, found: Table) -> Iterator[Line]:
    name = Name.from_django(field.column).raw
    may_be_null = field.null and not field.primary_key
    if name not in found.columns:
        add = repairs.add_column(repairs.planned(connection, model, name), "")
        yield Line("column_missing", table, name, f"column {name} is missing", add, frozenset([name]))
    elif found.columns[name].not_null == may_be_null:
        now, then = ("can't be null", "it may") if may_be_null else ("may be null", "NOT NULL")
        drop = repairs.alter_column(table, name, "DROP NOT NULL")
        repair = drop if may_be_null else repairs.forbid_null(connection, model, name)
        text = f"column {name} {now}, where the migrations say {then}"
        yield Line("column_null", table, name, text, repair, frozenset([name]))
