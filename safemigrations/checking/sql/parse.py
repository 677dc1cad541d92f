"""From the text of a RunSQL to statements, one by one; those of a DO block too."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from pglast import ast, parse_sql
from pglast.parser import ParseError, parse_plpgsql_json

from ...data import Data


class Statement(Data):
    """A statement as PostgreSQL reads it. `alone`: it is the only one of what is sent at once."""

    node: Any
    text: str
    line: int  # within the text, from 0
    alone: bool = True

    @property
    def kind(self) -> str:
        return type(self.node).__name__


class Unparsed(Data):
    """What PostgreSQL's grammar doesn't accept, or what is put together when it runs."""

    text: str
    line: int
    why: str


def parse(sql: str) -> Iterator[Statement | Unparsed]:
    try:
        nodes = parse_sql(sql)
    except ParseError as error:
        yield Unparsed(shortened(sql), 0, f"PostgreSQL can't parse it: {error.args[0]}")
        return
    raw = sql.encode()
    for node in nodes:
        end = node.stmt_location + node.stmt_len if node.stmt_len else len(raw)
        text = raw[node.stmt_location : end].decode()
        line = sql.count("\n", 0, len(raw[: node.stmt_location].decode()) + len(text) - len(text.lstrip()))
        statement = Statement(node.stmt, text.strip(), line, alone=len(nodes) == 1)
        if isinstance(node.stmt, ast.DoStmt):
            yield from _of_block(statement)
        else:
            yield statement


def _of_block(block: Statement) -> Iterator[Statement | Unparsed]:
    try:
        read = json.loads(parse_plpgsql_json(block.text))
    except (ParseError, ValueError) as error:
        yield Unparsed(shortened(block.text), block.line, f"the body of DO can't be parsed: {error.args[0]}")
        return
    for kind, query in _queries(read):
        for inner in _of_query(kind, query, block):
            if isinstance(inner, Statement):
                yield Statement(inner.node, inner.text, block.line, alone=False)
            else:
                yield Unparsed(inner.text, block.line, inner.why)


PARTS = {"PLpgSQL_stmt_execsql": "sqlstmt", "PLpgSQL_stmt_perform": "expr", "PLpgSQL_stmt_dynexecute": "query"}


def _queries(tree: Any) -> Iterator[tuple[str, str]]:
    """The SQL of a body in PL/pgSQL, each with the kind of its statement."""
    if isinstance(tree, list):
        for each in tree:
            yield from _queries(each)
    elif isinstance(tree, dict):
        for kind, value in tree.items():
            if kind in PARTS:
                yield kind, value[PARTS[kind]]["PLpgSQL_expr"]["query"]
            else:
                yield from _queries(value)


LITERAL = re.compile(r"\s*(?:SELECT\s+)?'((?:[^']|'')*)'\s*\Z", re.IGNORECASE)


def _of_query(kind: str, query: str, block: Statement) -> Iterator[Statement | Unparsed]:
    if kind == "PLpgSQL_stmt_dynexecute":
        literal = LITERAL.match(query)
        if literal is None:
            yield Unparsed(shortened(query), block.line, f"EXECUTE {shortened(query)} is put together when it runs")
            return
        query = literal[1].replace("''", "'")
    yield from parse(query)


def shortened(sql: str) -> str:
    text = " ".join(re.sub(r"--[^\n]*", " ", sql).split())
    return text if len(text) <= 60 else f"{text[:57]}..."
