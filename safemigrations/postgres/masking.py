"""Statements of others, without the values that stand in them: what a log may hold.

The text of pg_stat_activity is cut off somewhere, and nobody knows the settings of the session that sent it. So what
can't be read for certain is left out: a constant that isn't closed up to its end, and all but the first word of a
statement whose constants may end at two places.
"""

from __future__ import annotations

import re

TOKEN = r"""(?xs)
      (?P<comment>   --[^\n]* )
    | (?P<block>     /\* )
    | (?P<escaped>   [eE]'(?:[^'\\]|''|\\.)*(?:'|\\?\Z) )
    | (?P<text>      (?:[bBxXnN]|[uU]&)?'(?:[^']|'')*(?:'|\Z) )
    | (?P<dollars>   \$(?P<tag>(?:[^\W\d]\w*)?)\$.*?(?:\$(?P=tag)\$|\Z) )
    | (?P<unclosed>  "[^"]*\Z )
    | (?P<name>      "[^"]*" | [^\W\d][\w$]* | \$\d+ )
    | (?P<number>    (?:\d|\.\d)[\w.]* )
    | (?P<other>     . )
    """
CONSTANTS = {"escaped", "text", "dollars", "number"}
LEFT_OUT = {"comment", "block", "unclosed"}
BLOCK = r"/\*|\*/"
WORD = r"\s*([a-zA-Z]+)"


def masked(statement: str) -> str:
    """The statement in one line, with ? for each constant and without comments."""
    shown, at = [], 0
    token = re.compile(TOKEN)
    while found := token.match(statement, at):
        at = found.end()
        if found.lastgroup == "block":
            at = _end_of_block(statement, found.start())
        elif found["text"] and "\\" in found["text"]:  # where it ends depends on standard_conforming_strings
            return _first_word(statement)
        shown.append(_shown(found))
    return " ".join("".join(shown).split())


def _shown(found: re.Match[str]) -> str:
    return "?" if found.lastgroup in CONSTANTS else " " if found.lastgroup in LEFT_OUT else found[0]


def _end_of_block(statement: str, start: int) -> int:
    """Comments can stand inside of comments."""
    depth = 0
    for found in re.compile(BLOCK).finditer(statement, start):
        depth += 1 if found[0] == "/*" else -1
        if not depth:
            return found.end()
    return len(statement)


def _first_word(statement: str) -> str:
    """The command, if the statement begins with it."""
    found = re.match(WORD, statement)
    return f"{found[1]} ..." if found else "..."
