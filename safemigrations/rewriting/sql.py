"""SQL that people wrote, with the remedy of a finding written out."""

from __future__ import annotations

import re
from typing import Any

from django.db import migrations
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState
from django.db.models import Index
from pglast import ast

from ..checking.handwritten import texts_of
from ..checking.scene import Scene, Table
from ..checking.sql.instead import index_of
from ..checking.sql.parse import Statement, parse, shortened
from ..operations import AddIndexConcurrently
from .plain_updates import values_and_where


def index_instead(operation: Operation, app_label: str, state: ProjectState) -> Operation | None:
    """AddIndexConcurrently for SQL that builds a plain index. The state learns of it where it did before."""
    sql, told = _halves(operation)
    found = _index(sql, app_label, state) if sql else None
    if not found:
        return None
    table, index = found
    ours = AddIndexConcurrently(table.model.name.lower(), index)
    if not told:
        return migrations.SeparateDatabaseAndState(database_operations=[ours])
    return ours if len(told) == 1 and _adds(told[0], table, index) else None


def _halves(operation: Operation) -> tuple[migrations.RunSQL | None, list[Operation]]:
    """The SQL, and what the state is told."""
    if isinstance(operation, migrations.RunSQL):
        return operation, list(operation.state_operations)
    inner: list[Operation] = list(getattr(operation, "database_operations", ()))
    if len(inner) == 1 and isinstance(inner[0], migrations.RunSQL) and not inner[0].state_operations:
        return inner[0], list(getattr(operation, "state_operations", ()))
    return None, []


def _adds(told: Any, table: Table, index: Index) -> bool:
    """Is it the same index that the state is told of?"""
    return (
        isinstance(told, migrations.AddIndex)
        and told.model_name_lower == table.model.name.lower()
        and told.index.deconstruct() == index.deconstruct()
    )


def _index(sql: migrations.RunSQL, app_label: str, state: ProjectState) -> tuple[Table, Index] | None:
    texts = list(texts_of(sql))
    statements = list(parse(texts[0])) if len(texts) == 1 and texts[0] else []
    only = statements[0] if len(statements) == 1 else None
    if not isinstance(only, Statement) or not isinstance(only.node, ast.IndexStmt):
        return None
    table = Scene(state, atomic=False).table(only.node.relation.relname)
    if table is None or table.model.app_label != app_label:
        return None
    index = index_of(only.node, table)
    return (table, index) if index else None


PLAIN = re.compile(r"\bCREATE\s+(?:UNIQUE\s+)?INDEX\b(?!\s+(?:CONCURRENTLY|IF)\b)", re.IGNORECASE)


def concurrently(operation: Operation, code: str) -> str:
    """The code of a RunSQL that is one CREATE INDEX, which blocks nobody now; empty where that isn't all of it."""
    whole = is_alone(operation) and isinstance(operation, migrations.RunSQL) and len(list(texts_of(operation))) == 1
    found = list(PLAIN.finditer(code))
    return f"{code[: found[0].end()]} CONCURRENTLY{code[found[0].end() :]}" if whole and len(found) == 1 else ""


def is_alone(operation: Operation) -> bool:
    """Is each of its texts one statement, which can be sent outside of a transaction?"""
    if not isinstance(operation, migrations.RunSQL):
        return True
    return all(text is not None and len(list(parse(text))) == 1 for text in texts_of(operation))


def locks_itself(operation: Operation, message: str) -> bool:
    """Is the lock that the message names taken by the operation's own SQL?"""
    if not isinstance(operation, migrations.RunSQL):
        return False
    own = [each for text in texts_of(operation) if text for each in parse(text)]
    return any(f"until it ends {shortened(each.text)} keeps" in message for each in own)


def update_instead(sql: Any, app_label: str, state: ProjectState) -> tuple[str, str, str] | None:
    """The model, values and condition of the Backfill that does what this one UPDATE does."""
    texts = list(texts_of(migrations.RunSQL(sql)))
    statements = list(parse(texts[0])) if len(texts) == 1 and texts[0] else []
    only = statements[0] if len(statements) == 1 else None
    if not isinstance(only, Statement) or not isinstance(only.node, ast.UpdateStmt):
        return None
    table = Scene(state, atomic=False).table(only.node.relation.relname)
    if table is None or table.model.app_label != app_label or not table.model.options.get("managed", True):
        return None
    found = values_and_where(only.node, table)
    return (table.model.name.lower(), *found) if found else None
