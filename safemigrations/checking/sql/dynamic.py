"""The statement that EXECUTE is given, as far as a block says it: a variable stands for a name in it."""

from __future__ import annotations

import re
from typing import Any

from pglast import ast, parse_sql
from pglast.parser import ParseError

PLACE = re.compile(r"%(?:(\d+)\$)?-?\d*([sIL%])")
CAST_TO_NAME = ("quote_ident", "quote_literal", "quote_nullable")


class Unknown(Exception):
    """Only the run says what the text is."""


def text_of(query: str) -> tuple[str, bool] | None:
    """The text that an expression of PL/pgSQL gives, and whether it has variables; None where the run decides more than
    names.
    """
    try:
        (statement,) = parse_sql(query if query.upper().startswith("SELECT") else f"SELECT {query}")
        expression = statement.stmt.targetList[0].val
        text = _text(expression)
    except (ParseError, Unknown, ValueError, AttributeError, TypeError, IndexError):
        return None
    return (text, "ColumnRef" in repr(expression)) if " " in text.strip() else None


def _text(node: Any) -> str:
    match node:
        case ast.A_Const(val=ast.String(sval=text)):
            return str(text)
        case ast.ColumnRef(fields=fields):
            return "_".join(part.sval for part in fields)
        case ast.TypeCast(arg=inner):
            return _text(inner)
        case ast.A_Expr(lexpr=left, rexpr=right) if node.name[-1].sval == "||":
            return _text(left) + _text(right)
        case ast.FuncCall(args=args) if (name := node.funcname[-1].sval) in CAST_TO_NAME:
            return _quoted(_text(args[0]), "I" if name == "quote_ident" else "L")
        case ast.FuncCall(args=args) if node.funcname[-1].sval == "format":
            return _formatted(_text(args[0]), args[1:])
    raise Unknown


def _formatted(text: str, given: Any) -> str:
    left = iter(given)

    def fill(place: re.Match[str]) -> str:
        if place[2] == "%":
            return "%"
        value = given[int(place[1]) - 1] if place[1] else next(left, None)
        return _quoted(_text(value), place[2])

    return PLACE.sub(fill, text)


def _quoted(text: str, how: str) -> str:
    escaped = text.replace("'", "''")
    return f"'{escaped}'" if how == "L" else text
