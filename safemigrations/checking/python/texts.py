"""The texts that an expression can have, if the file determines them.

They are literals, names of literals, and texts built from these and from table names.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable
from itertools import islice, product
from typing import Any

from ...postgres.names import Name

MOST = 50  # texts of one expression; a loop over more names than that is not followed
DEEPEST = 20


class Texts:
    """`values_of` gives the expressions that a name may stand for, `table_of` the table of `Order._meta`."""

    def __init__(
        self, values_of: Callable[[str], list[ast.expr]], table_of: Callable[[ast.expr], str | None], depth: int = 0
    ) -> None:
        self.values_of, self.table_of, self.depth = values_of, table_of, depth

    def of(self, node: ast.expr) -> list[str] | None:
        """Each text that the expression may have; None where something outside the file decides."""
        if self.depth > DEEPEST:
            return None
        match node:
            case ast.Constant(value=str() | int() as value):
                return [str(value)]
            case ast.Name():
                return self._any(self.values_of(node.id))
            case ast.Attribute(value=ast.Name(id="self"), attr=name):
                return self._any(self.values_of(f"self.{name}"))
            case ast.IfExp():
                return self._any([node.body, node.orelse])
            case ast.JoinedStr():
                return self._joined(node.values)
            case ast.FormattedValue(conversion=-1, format_spec=None):
                return self._deeper.of(node.value)
            case ast.BinOp(op=ast.Add()):
                return self._joined([node.left, node.right])
            case ast.BinOp(op=ast.Mod()):
                return self._percent(node)
            case ast.Attribute(attr="db_table", value=ast.Attribute(attr="_meta", value=model)):
                table = self.table_of(model)
                return None if table is None else [table]
            case ast.Call():
                return self._call(node)
        return None

    @property
    def _deeper(self) -> Texts:
        return Texts(self.values_of, self.table_of, self.depth + 1)

    def _any(self, nodes: list[ast.expr]) -> list[str] | None:
        found = [self._deeper.of(node) for node in nodes]
        texts = [text for each in found if each is not None for text in each]
        return texts if found and None not in found and len(texts) <= MOST else None

    def _combined(self, nodes: Iterable[ast.expr]) -> list[tuple[str, ...]] | None:
        found = [self._deeper.of(node) for node in nodes]
        known = [each for each in found if each is not None]
        combined = list(islice(product(*known), MOST + 1))
        return combined if len(known) == len(found) and len(combined) <= MOST else None

    def _joined(self, nodes: Iterable[ast.expr]) -> list[str] | None:
        combined = self._combined(nodes)
        return None if combined is None else ["".join(each) for each in combined]

    def _percent(self, node: ast.BinOp) -> list[str] | None:
        given = node.right.elts if isinstance(node.right, ast.Tuple) else [node.right]
        return self._filled(node.left, given, lambda text, values: text % tuple(values))

    def _call(self, node: ast.Call) -> list[str] | None:
        match node.func:
            case ast.Attribute(attr="quote_name") if len(node.args) == 1:
                found = self._deeper.of(node.args[0])
                return None if found is None else [Name.from_django(text) for text in found]
            case ast.Attribute(attr="dedent") | ast.Name(id="dedent") if len(node.args) == 1:
                return self._deeper.of(node.args[0])
            case ast.Attribute(attr="strip", value=value) if not node.args:
                return self._deeper.of(value)
            case ast.Attribute(attr="format", value=value):
                names = [word.arg for word in node.keywords]
                given = [*node.args, *(word.value for word in node.keywords)]
                return self._filled(value, given, lambda text, values: _formatted(text, values, names))
        return None

    def _filled(
        self, text: ast.expr, given: list[ast.expr], fill: Callable[[str, tuple[str, ...]], str]
    ) -> list[str] | None:
        combined = self._combined([text, *given])
        try:
            return None if combined is None else [fill(each[0], each[1:]) for each in combined]
        except (TypeError, ValueError, LookupError, AttributeError):
            return None  # it fails when it runs, too, or it wants numbers


def _formatted(text: str, values: tuple[str, ...], names: list[Any]) -> str:
    placed = values[: len(values) - len(names)]
    return text.format(*placed, **dict(zip(names, values[len(placed) :], strict=True)))
