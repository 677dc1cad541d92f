"""The text of a Python file, and pieces of it that are replaced without touching the rest."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from itertools import accumulate
from typing import Any

from ..data import Data


class Edit(Data):
    """Replaces what stands from `start` to `end` by `text`."""

    start: int
    end: int
    text: str


def edited(text: str, edits: Iterable[Edit]) -> str:
    """All of them at once: each is about the text as it was."""
    for edit in sorted(edits, key=lambda edit: (edit.start, edit.end), reverse=True):
        text = f"{text[: edit.start]}{edit.text}{text[edit.end :]}"
    return text


class Places:
    """Where the nodes of a syntax tree begin and end in the text that it was made of."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.lines = text.split("\n")  # as the tree counts them; str.splitlines() knows more kinds of line
        self.starts = [0, *accumulate(len(line) + 1 for line in self.lines)]

    def at(self, line: int, column: int) -> int:
        """`column` counts bytes, as in a syntax tree."""
        before = self.lines[line - 1].encode()[:column].decode()
        return self.starts[line - 1] + len(before)

    def start(self, node: Any) -> int:
        return self.at(node.lineno, node.col_offset)

    def end(self, node: Any) -> int:
        return self.at(node.end_lineno, node.end_col_offset)

    def of(self, node: ast.AST) -> str:
        return self.text[self.start(node) : self.end(node)]

    def line_start(self, line: int) -> int:
        return self.starts[line - 1]

    def after_line(self, line: int) -> int:
        """Where the next line begins."""
        return min(self.starts[line], len(self.text))
