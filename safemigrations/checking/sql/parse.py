"""Splits the text of a RunSQL into statements, also those of a DO block."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from pglast import ast, parse_sql
from pglast.parser import ParseError, parse_plpgsql_json

from ...data import Data
from .dynamic import text_of


class Statement(Data):
    """A statement as PostgreSQL reads it. `alone`: it is the only one of what is sent at once. `again`: a loop of its
    block repeats it within one transaction. `guessed`: variables stand for its names."""

    node: Any
    text: str
    line: int  # within the text, from 0
    alone: bool = True
    again: bool = False
    guessed: bool = False

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
            yield from body_of(statement)
        else:
            yield statement


def body_of(block: Statement) -> Iterator[Statement | Unparsed]:
    """The statements of a DO block, or of a function where it is made; the block itself where it commits."""
    language = language_of(block.node)
    if language == "sql":
        yield from (replace(inner, line=block.line) for inner in parse(_source_of(block.node)))
        return
    if language != "plpgsql":
        yield Unparsed(shortened(block.text), block.line, f"its body is in {language}")
        return
    try:
        read = json.loads(parse_plpgsql_json(block.text))
    except (ParseError, ValueError) as error:
        yield Unparsed(shortened(block.text), block.line, f"its body can't be parsed: {error.args[0]}")
        return
    commits = COMMIT in _kinds(read)
    if commits:
        yield replace(block, node=ast.DoStmt())
    for kind, query, within in _queries(read):
        for inner in _of_query(kind, query, block):
            if isinstance(inner, Statement):
                yield replace(inner, line=block.line, alone=False, again=within and not commits)
            else:
                yield Unparsed(inner.text, block.line, inner.why)


def raises(block: Statement) -> bool:
    """Does a function in PL/pgSQL raise an error, perhaps?"""
    return language_of(block.node) == "plpgsql" and bool(RAISES.search(_source_of(block.node)))


RAISES = re.compile(r"\bRAISE\s+(?!DEBUG|LOG|INFO|NOTICE|WARNING)\w*\s*'?", re.IGNORECASE)


def language_of(node: Any) -> str:
    options = getattr(node, "options", None) or getattr(node, "args", None) or ()
    named = [option.arg.sval for option in options if option.defname == "language"]
    return named[0].lower() if named else "plpgsql"


def _source_of(node: Any) -> str:
    """The text of its body; empty where that is parsed with the statement (BEGIN ATOMIC)."""
    bodies = [option.arg for option in node.options or () if option.defname == "as"]
    return str(bodies[0][0].sval) if bodies else ""


COMMIT = "PLpgSQL_stmt_commit"
LOOPS = {"PLpgSQL_stmt_loop", "PLpgSQL_stmt_while", "PLpgSQL_stmt_fori", "PLpgSQL_stmt_fors", "PLpgSQL_stmt_forc"}
LOOPS |= {"PLpgSQL_stmt_foreach_a", "PLpgSQL_stmt_dynfors"}
PARTS = {
    "PLpgSQL_stmt_call": "expr",
    "PLpgSQL_stmt_dynexecute": "query",
    "PLpgSQL_stmt_execsql": "sqlstmt",
    "PLpgSQL_stmt_perform": "expr",
}


def _kinds(tree: Any) -> Iterator[str]:
    for each in tree if isinstance(tree, list) else ():
        yield from _kinds(each)
    for kind, value in tree.items() if isinstance(tree, dict) else ():
        yield kind
        yield from _kinds(value)


def _queries(tree: Any, *, within: bool = False) -> Iterator[tuple[str, str, bool]]:
    """The SQL of a body in PL/pgSQL, each with the kind of its statement, and whether it is within a loop."""
    for each in tree if isinstance(tree, list) else ():
        yield from _queries(each, within=within)
    for kind, value in tree.items() if isinstance(tree, dict) else ():
        if kind in PARTS:
            yield kind, value[PARTS[kind]]["PLpgSQL_expr"]["query"], within
        else:
            yield from _queries(value, within=within or kind in LOOPS)


def _of_query(kind: str, query: str, block: Statement) -> Iterator[Statement | Unparsed]:
    if kind != "PLpgSQL_stmt_dynexecute":
        yield from parse(query)
        return
    unknown = Unparsed(shortened(query), block.line, f"EXECUTE {shortened(query)} is put together when it runs")
    text, guessed = text_of(query) or ("", True)
    for each in parse(text):
        yield replace(each, guessed=guessed) if isinstance(each, Statement) else unknown
    if not text:
        yield unknown


def shortened(sql: str) -> str:
    text = " ".join(re.sub(r"--[^\n]*", " ", sql).split())
    return text if len(text) <= 60 else f"{text[:57]}..."
