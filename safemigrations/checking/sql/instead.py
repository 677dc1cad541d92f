"""What to write instead of a statement, as Python with the names of the project's own models and fields."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.db.models import Index
from pglast import ast

from ..scene import Table
from .alter_table import parts


class NotTranslatable(Exception):
    """Something that has no plain form in Django's expressions."""


def backfill(node: ast.UpdateStmt, table: Table) -> str:
    """The Backfill that sets what this UPDATE sets."""
    model = table.model.name.lower()
    try:
        values, where = values_of(node, table), where_of(node, table)
        where = where and f", where={where}"
        if node.fromClause or (not where and "F(" in values):
            raise NotTranslatable
    except NotTranslatable:
        name = f"fill_{model}"
        fields = ", ".join(f"{table.name_of(each.name)!r}: ..." for each in node.targetList)
        return (
            f"def {name}({model}):\n    return {{{fields}}}\n\n"
            f"Backfill({model!r}, set={name}, where=...)  # which rows aren't filled yet"
        )
    return f"Backfill({model!r}, set={values}{where})"


def values_of(node: ast.UpdateStmt, table: Table) -> str:
    """The dictionary of what it sets. Raises NotTranslatable."""
    values = (f"{table.name_of(each.name)!r}: {_expression(each.val, table)}" for each in node.targetList)
    return f"{{{', '.join(values)}}}"


def where_of(node: ast.UpdateStmt, table: Table) -> str:
    """Empty where it has no condition. Raises NotTranslatable."""
    return "" if node.whereClause is None else _condition(node.whereClause, table)


def index(node: ast.IndexStmt, table: Table) -> str:
    """The AddIndexConcurrently that builds this index; empty where no plain Index is the same."""
    found = index_of(node, table)
    if found is None:
        return ""
    written = f"models.Index(fields={list(found.fields)!r}, name={found.name!r})"
    return f"AddIndexConcurrently({table.model.name.lower()!r}, {written})"


def index_of(node: ast.IndexStmt, table: Table) -> Index | None:
    """Over columns of the model, each with nothing but its direction."""
    special = (
        node.unique
        or node.whereClause
        or node.indexIncludingParams
        or node.options
        or node.tableSpace
        or node.relation.schemaname
        or node.concurrent
    )
    if special or node.accessMethod != "btree" or not node.idxname:
        return None
    if not all(_is_plain(each) and each.name in table.fields for each in node.indexParams):
        return None
    return Index(fields=[_ordered(table.name_of(each.name), each) for each in node.indexParams], name=node.idxname)


def _is_plain(element: Any) -> bool:
    usual = element.nulls_ordering.name == "SORTBY_NULLS_DEFAULT"
    return usual and not (element.opclass or element.collation or element.opclassopts)


def _ordered(name: str, element: Any) -> str:
    return f"-{name}" if element.ordering.name == "SORTBY_DESC" else name


# Values.

FUNCTIONS = {"lower": "Lower", "upper": "Upper", "length": "Length", "trim": "Trim", "btrim": "Trim", "now": "Now"}
OPERATORS = {"+", "-", "*", "/"}


def _expression(node: Any, table: Table) -> str:
    for kind, translate in EXPRESSIONS.items():
        if isinstance(node, kind):
            return translate(node, table)
    raise NotTranslatable


def _constant(node: ast.A_Const, table: Table) -> str:
    if node.isnull:
        return "None"
    match node.val:
        case ast.Integer():
            return str(node.val.ival)
        case ast.String():
            return repr(node.val.sval)
        case ast.Boolean():
            return repr(bool(node.val.boolval))
        case ast.Float():
            return f"Decimal({node.val.fval!r})"
    raise NotTranslatable


def _column(node: ast.ColumnRef, table: Table) -> str:
    column = getattr(node.fields[-1], "sval", None)
    if column not in table.fields:
        raise NotTranslatable
    return f"F({table.name_of(column)!r})"


def _function(node: ast.FuncCall, table: Table) -> str:
    name = node.funcname[-1].sval
    if name not in FUNCTIONS:
        raise NotTranslatable
    return f"{FUNCTIONS[name]}({', '.join(_expression(each, table) for each in node.args or ())})"


def _coalesce(node: ast.CoalesceExpr, table: Table) -> str:
    return f"Coalesce({', '.join(_wrapped(each, table) for each in node.args)}{_output_field(node, table)})"


def _operation(node: ast.A_Expr, table: Table) -> str:
    operator = node.name[-1].sval
    if operator == "||":
        return _joined(node, table)
    if operator not in OPERATORS or node.lexpr is None:
        raise NotTranslatable
    return f"{_expression(node.lexpr, table)} {operator} {_expression(node.rexpr, table)}"


def _joined(node: ast.A_Expr, table: Table) -> str:
    """Concat, where no part can be null: in SQL a null makes the whole null, and Concat takes it for an empty text."""
    if not _is_filled(node, table):
        raise NotTranslatable
    return f"Concat({_wrapped(node.lexpr, table)}, {_wrapped(node.rexpr, table)}{_output_field(node, table)})"


def _is_filled(node: Any, table: Table) -> bool:
    match node:
        case ast.CoalesceExpr():
            return any(_is_filled(each, table) for each in node.args)
        case ast.A_Const():
            return not node.isnull
        case ast.ColumnRef():
            field = table.field(str(getattr(node.fields[-1], "sval", "")))
            return field is not None and not field.null
    within = (each for part in parts(node) for each in (part if isinstance(part, tuple) else (part,)))
    return all(_is_filled(each, table) for each in within if isinstance(each, tuple(EXPRESSIONS)))


TEXTS = {"CharField", "SlugField", "TextField"}


def _output_field(node: Any, table: Table) -> str:
    """Django doesn't mix types, and takes a value of Python for one of them."""
    kinds = {table.field(column).get_internal_type() for column in columns_in(node) if table.field(column)}
    values = {type(each.val).__name__ for each in _constants_in(node)}
    if kinds <= TEXTS and values <= {"String"}:
        return ", output_field=models.TextField()" if "TextField" in kinds and (values or len(kinds) > 1) else ""
    if len(kinds) == 1 and (not values or (values, *kinds) in SAME_KIND):
        return ""
    raise NotTranslatable


SAME_KIND = (({"Integer"}, "IntegerField"), ({"Integer"}, "BigIntegerField"), ({"Float"}, "DecimalField"))


def _constants_in(tree: Any) -> list[ast.A_Const]:
    own = [tree] if isinstance(tree, ast.A_Const) else []
    return own + [each for part in parts(tree) for each in _constants_in(part)]


def _wrapped(node: Any, table: Table) -> str:
    """Where Django would take a text for the name of a field."""
    text = _expression(node, table)
    return f"Value({text})" if isinstance(node, ast.A_Const) else text


EXPRESSIONS: dict[type, Callable[[Any, Table], str]] = {
    ast.A_Const: _constant,
    ast.ColumnRef: _column,
    ast.FuncCall: _function,
    ast.CoalesceExpr: _coalesce,
    ast.A_Expr: _operation,
}


# Conditions.

LOOKUPS = {"=": "", "<": "__lt", ">": "__gt", "<=": "__lte", ">=": "__gte"}


def _condition(node: Any, table: Table) -> str:
    match node:
        case ast.BoolExpr():
            conditions = [_condition(each, table) for each in node.args]
            if node.boolop.name == "NOT_EXPR":
                return _negated(node.args[0], conditions[0], table)
            return f" {'&' if node.boolop.name == 'AND_EXPR' else '|'} ".join(
                f"({part})" if " | " in part else part for part in conditions
            )
        case ast.NullTest():
            return f"Q({_name(node.arg, table)}__isnull={node.nulltesttype.name == 'IS_NULL'})"
        case ast.A_Expr():
            return _comparison(node, table)
    raise NotTranslatable


def _negated(node: Any, condition: str, table: Table) -> str:
    """Where a column is null, NOT selects no row in SQL, and ~Q does in Django."""
    if any(table.field(column).null for column in columns_in(node)):
        raise NotTranslatable
    return f"~({condition})" if isinstance(node, ast.BoolExpr) else f"~{condition}"


def columns_in(tree: Any) -> set[str]:
    own = {tree.fields[-1].sval} if isinstance(tree, ast.ColumnRef) else set()
    return own.union(*map(columns_in, parts(tree)))


def _comparison(node: ast.A_Expr, table: Table) -> str:
    name, operator = _name(node.lexpr, table), node.name[-1].sval
    if node.kind.name == "AEXPR_IN":
        values = ", ".join(_expression(each, table) for each in node.rexpr)
        condition = f"Q({name}__in=[{values}])"
        return condition if operator == "=" else _negated(node, condition, table)
    if node.kind.name != "AEXPR_OP" or operator not in (*LOOKUPS, "<>"):
        raise NotTranslatable
    value = _expression(node.rexpr, table)
    if value == "None":
        raise NotTranslatable  # SQL finds no row, and Django finds those that are null
    condition = f"Q({name}{LOOKUPS.get(operator, '')}={value})"
    return _negated(node, condition, table) if operator == "<>" else condition


def _name(node: Any, table: Table) -> str:
    column = getattr(node.fields[-1], "sval", None) if isinstance(node, ast.ColumnRef) else None
    if column not in table.fields:
        raise NotTranslatable
    return table.name_of(column)
