"""The elements of a list that is written out, each with the comments that belong to it."""

from __future__ import annotations

import io
import tokenize
from collections.abc import Iterator

from ..data import Data

INDENT = " " * 8
OPENING, CLOSING = "([{", ")]}"
SPACE = {tokenize.NL, tokenize.NEWLINE, tokenize.COMMENT, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}


class Element(Data):
    """`lead`: the lines of comments above it; `remark`: the comment behind it, on its last line."""

    code: str
    lead: str = ""
    remark: str = ""
    indent: str = INDENT

    def __str__(self) -> str:
        remark = f"  {self.remark}" if self.remark else ""
        return f"{self.lead}{self.indent}{self.code},{remark}\n"


def as_list(elements: list[Element], tail: str = "", indent: str = "    ") -> str:
    return f"[\n{''.join(map(str, elements))}{tail}{indent}]"


def read(text: str) -> tuple[list[Element], str]:
    """The elements of a list, from its bracket to its bracket, and the comments below the last of them."""
    elements, reached, begin, end = list[Element](), 1, -1, -1
    tokens = list(_tokens(text))
    for number, (kind, start, stop, depth) in enumerate(tokens):
        is_comma = depth == 1 and text[start:stop] == ","
        is_end = number == len(tokens) - 1
        if kind not in SPACE and not is_comma and not is_end:
            begin, end = (start if begin < 0 else begin), stop
        if begin >= 0 and (is_comma or is_end):
            early, after = _remark(text, end)
            remark, after = _remark(text, stop) if is_comma else ("", after)
            elements.append(_element(text, reached, begin, end, "  ".join(filter(None, (early, remark)))))
            reached, begin = after, -1
    return elements, _lines(text[reached : tokens[-1][1]])


def _tokens(text: str) -> Iterator[tuple[int, int, int, int]]:
    """Kind, where it starts and stops, and how many brackets are open at it; up to the last bracket."""
    starts = [0]
    for line in text.split("\n"):
        starts.append(starts[-1] + len(line) + 1)
    depth = 0
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.OP and token.string in OPENING:
            depth += 1
        if depth:
            start, stop = (starts[line - 1] + column for line, column in (token.start, token.end))
            if start:  # the list's own bracket opens it
                yield token.type, start, stop, depth
        if token.type == tokenize.OP and token.string in CLOSING:
            depth -= 1
            if not depth:
                return


def _remark(text: str, end: int) -> tuple[str, int]:
    """The comment on the rest of the line, and where that ends."""
    line = text[end:].partition("\n")[0]
    rest = line.lstrip()
    if rest.startswith("#"):
        return rest.rstrip(), end + len(line)
    return "", end


def _element(text: str, reached: int, begin: int, end: int, remark: str) -> Element:
    above, newline, before = text[reached:begin].rpartition("\n")
    indent = before if newline and not before.strip() else INDENT
    return Element(text[begin:end], _lines(f"{above}{newline}") if newline else "", remark, indent)


def _lines(between: str) -> str:
    """The whole lines between two elements; the rest of the first one's line is no part of it."""
    _, newline, lines = between.partition("\n")
    return f"{lines.rpartition(chr(10))[0]}\n" if newline and lines.strip() else ""
