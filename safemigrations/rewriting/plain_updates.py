"""UPDATE statements whose Backfill is known to do the same: values of the column's own kind, of the row itself."""

from __future__ import annotations

from typing import Any

from pglast import ast

from ..checking.scene import Table
from ..checking.sql.alter_table import known_type
from ..checking.sql.instead import NotTranslatable, columns_in, values_of, where_of

TEXTS = {"CharField", "SlugField", "TextField"}
INTEGERS = {
    "BigIntegerField",
    "IntegerField",
    "PositiveBigIntegerField",
    "PositiveIntegerField",
    "PositiveSmallIntegerField",
    "SmallIntegerField",
}
SAME_IN_DJANGO = {"lower", "upper"}


def values_and_where(node: Any, table: Table) -> tuple[str, str] | None:
    """What a Backfill is given to do the same; None where that isn't known."""
    plain = isinstance(node, ast.UpdateStmt) and not (node.fromClause or node.withClause or node.returningClause)
    if not plain or node.relation.schemaname or node.relation.alias:
        return None
    set_here = {each.name for each in node.targetList}
    same = all(_is_same_value(each.val, each.name, table) for each in node.targetList)
    reads = set[str]().union(*(columns_in(each.val) for each in node.targetList))
    if not same or reads & set_here or not _is_same_condition(node.whereClause, table):
        return None
    try:
        return values_of(node, table), where_of(node, table)
    except NotTranslatable:
        return None


def _is_same_value(value: Any, column: str, table: Table) -> bool:
    """Does the value have the kind of the column, so that neither PostgreSQL nor Django converts it?"""
    field = table.field(column)
    if field is None or not type(field).__module__.startswith("django.db.models"):
        return False
    match value:
        case ast.A_Const():
            return _is_of_its_kind(value, field)
        case ast.ColumnRef():
            kind = known_type(table.field(str(value.fields[-1].sval)))
            return bool(kind) and kind == known_type(field)
        case ast.FuncCall():
            return (
                value.funcname[-1].sval in SAME_IN_DJANGO and _are_texts(columns_in(value), table) and _is_text(field)
            )
    return False


def _is_text(field: Any) -> bool:
    return field is not None and field.get_internal_type() in TEXTS


def _are_texts(columns: set[str], table: Table) -> bool:
    return bool(columns) and all(_is_text(table.field(column)) for column in columns)


def _is_of_its_kind(value: ast.A_Const, field: Any) -> bool:
    kind = field.get_internal_type()
    if value.isnull:
        return bool(field.null)
    match value.val:
        case ast.String():
            return _is_text(field)
        case ast.Integer():
            return kind in INTEGERS
        case ast.Boolean():
            return bool(kind == "BooleanField")
        case ast.Float():
            return bool(kind == "DecimalField")
    return False


def _is_same_condition(node: Any, table: Table) -> bool:
    """Does each comparison have a column on its left, and a value of its kind on its right?"""
    match node:
        case None | ast.NullTest():
            return True
        case ast.BoolExpr():
            return all(_is_same_condition(each, table) for each in node.args)
        case ast.A_Expr(lexpr=ast.ColumnRef() as column):
            values = node.rexpr if isinstance(node.rexpr, tuple) else (node.rexpr,)
            name = str(getattr(column.fields[-1], "sval", ""))
            return all(isinstance(each, ast.A_Const) and not each.isnull for each in values) and all(
                _is_same_value(each, name, table) or _is_key(each, name, table) for each in values
            )
    return False


def _is_key(value: ast.A_Const, column: str, table: Table) -> bool:
    field = table.field(column)
    return isinstance(value.val, ast.Integer) and field is not None and "AutoField" in field.get_internal_type()
