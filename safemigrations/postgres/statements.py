"""What the words of a statement tell about the locks for which it may wait."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from sqlparse import lexer, tokens

# Takes no lock that a query has to wait for, or waits for rows: a lock_timeout would end a data migration.
HARMLESS = {
    *("SELECT", "WITH", "VALUES", "TABLE", "INSERT", "UPDATE", "DELETE", "MERGE", "COPY"),
    *("DECLARE", "FETCH", "MOVE", "CLOSE", "SHOW", "SET", "RESET", "ANALYZE", "ANALYSE"),
    *("BEGIN", "START", "COMMIT", "END", "ROLLBACK", "ABORT", "SAVEPOINT", "RELEASE"),
    *("NOTIFY", "LISTEN", "UNLISTEN", "DEALLOCATE", "DISCARD"),
}
ENDS_TRANSACTIONS = {"BEGIN", "START", "COMMIT", "END", "ROLLBACK", "ABORT"}
BEGINNING = rf"\s*(?:{'|'.join(sorted(HARMLESS))})\b"
# Text in which every semicolon is seen: no backslash, no dollar and no comment hides where a string ends.
CLEAR = r"""(?:[^;'"\\$/-]++|-(?!-)|/(?!\*)|"[^"]*+"|'[^'\\]*+')*+"""
# What harmless words begin, as it is nearly always; the lexer takes a hundred times as long to find it out.
PLAIN = rf"(?i){BEGINNING}(?:[^;]*+|{CLEAR}(?:;{BEGINNING}{CLEAR})*+);?\s*\Z"
LONG = 50_000  # characters; a dump isn't taken apart
RISKY = r"(?i)\b(ALTER|CREATE|DROP|TRUNCATE|LOCK|DO|CALL|CLUSTER|REINDEX|VACUUM|REFRESH|COMMENT)\b"
SHOWN = 200  # characters in a message
NAME = r'(?:"(?:[^"]|"")+"|[A-Za-z_]\w*)'
NAMES = rf"{NAME}(?:\.{NAME})?"


def as_text(sql: Any, connection: Any) -> str:
    """The text of a statement sent through Django; psycopg also takes bytes and composed statements."""
    if isinstance(sql, bytes):
        return sql.decode(errors="replace")
    composed = getattr(sql, "as_string", None)
    return str(composed(connection.connection) if composed else sql)


def shortened(sql: str) -> str:
    """One short line for a message."""
    words = " ".join(sql.split())
    return words if len(words) <= SHOWN else f"{words[:SHOWN]}…"


@lru_cache(maxsize=64)
def may_wait_for_a_table(sql: str) -> bool:
    """May one of these statements stand in the queue for a table? True for what isn't known to be harmless.

    CONCURRENTLY waits without stopping anybody, and a timeout would leave an INVALID index.
    """
    if re.match(PLAIN, sql):
        return False
    if len(sql) > LONG:
        return bool(re.search(RISKY, sql))
    return any(not _is_harmless(words) for words in _statements(sql))


def ends_transactions(sql: str) -> bool:
    """Does the statement begin or end a transaction itself?"""
    return len(sql) > LONG or any(words[0] in ENDS_TRANSACTIONS for words in _statements(sql))


def names_in(sql: str) -> list[str]:
    """Every word that may be the name of a table, also within strings and bodies, each once."""
    return list(dict.fromkeys(re.findall(NAMES, sql[:LONG])))


def _is_harmless(words: list[str]) -> bool:
    if words[0] == "VACUUM":
        return "FULL" not in words
    return words[0] in HARMLESS or "CONCURRENTLY" in words


def _statements(sql: str) -> Iterator[list[str]]:
    """The words of each statement in capitals, without comments and what stands between quotes."""
    words: list[str] = []
    for kind, text in lexer.tokenize(sql):  # type: ignore[no-untyped-call]
        if kind is tokens.Punctuation and text == ";":
            if words:
                yield words
            words = []
        elif not (kind in tokens.Comment or kind in tokens.Literal or text.isspace()):
            words += text.upper().split()
    if words:
        yield words
