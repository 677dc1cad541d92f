"""Querysets as they are written: `Order.objects.filter(state=None).update(state="new")` is a chain."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from dataclasses import replace

from django.conf import settings

from ...data import Data

NARROW = {"filter", "exclude"}
KEYS = {"pk", "id"}


class Chain(Data):
    """A model, and what is called on it, in order. `live`: an imported class instead of one of `apps.get_model`.
    `row`: a row of the model. `of_row`: rows that belong to one row, as `customer.order_set` gives them."""

    app_label: str
    model: str
    calls: tuple[tuple[str, ast.Call | None], ...] = ()
    sliced: bool = False
    live: bool = False
    row: bool = False
    of_row: bool = False

    @property
    def is_query(self) -> bool:
        """Does it begin with a manager?"""
        return bool(self.calls) and self.calls[0][1] is None and len(self.calls) > 1

    @property
    def last(self) -> str:
        return self.calls[-1][0] if self.calls else ""

    def calls_any(self, *names: str) -> bool:
        return any(name in names for name, _ in self.calls)

    @property
    def conditions(self) -> Iterator[tuple[str, ast.Call]]:
        yield from ((name, call) for name, call in self.calls if call and name in {*NARROW, "get"} and _arguments(call))

    @property
    def is_filtered(self) -> bool:
        return any(True for _ in self.conditions)

    @property
    def is_a_batch(self) -> bool:
        """Is it limited by a slice, or by a range of keys?"""
        names = self._compared
        return self.sliced or any(name.partition("__")[0] in KEYS and "__" in name for name in names)

    def is_one_row(self, unique: set[str]) -> bool:
        if self.of_row or self.last in ("get", "first", "last", "earliest", "latest"):
            return True
        return bool((self._compared | self._listed) & (unique | KEYS))

    @property
    def compared(self) -> set[str]:
        """The fields that a filter asks for."""
        return {name.partition("__")[0] for name in self._compared}

    @property
    def _compared(self) -> set[str]:
        return {word.arg for name, call in self.conditions if name != "exclude" for word in call.keywords if word.arg}

    @property
    def _listed(self) -> set[str]:
        """The fields that have one of the values of a list which is written out: filter(number__in=["A-1"])."""
        words = (word for name, call in self.conditions if name != "exclude" for word in call.keywords)
        return {
            str(word.arg).removesuffix("__in")
            for word in words
            if str(word.arg).endswith("__in") and isinstance(word.value, ast.List | ast.Tuple | ast.Set)
        }

    @property
    def where(self) -> str:
        """The condition as Python; empty where there is none."""
        parts = []
        for name, call in self.conditions:
            text = f"Q({', '.join(map(ast.unparse, _arguments(call)))})"
            parts.append(f"~{text}" if name == "exclude" else text)
        return " & ".join(parts)


def _arguments(call: ast.Call) -> list[ast.AST]:
    return [*call.args, *call.keywords]


Text = Callable[[ast.expr], str]
Known = Callable[[ast.AST], "Chain | None"]
# What gives rows, or says something of them, and is no query that somebody might go on with.
ENDS = {
    "acreate",
    "aget",
    "aggregate",
    "bulk_create",
    "count",
    "create",
    "delete",
    "exists",
    "get_or_create",
    "update",
    "update_or_create",
}


def chain_of(node: ast.AST, known: Known, text: Text) -> Chain | None:
    """`known`: the model or queryset that an expression is known to stand for. `text` reads the name of a model."""
    calls: list[tuple[str, ast.Call | None]] = []
    sliced = False
    while True:
        base = known(node)
        match node:
            case _ if base is not None:
                return replace(base, calls=(*base.calls, *reversed(calls)), sliced=base.sliced or sliced)
            case ast.Call(func=ast.Attribute(attr="get_model", value=registry)):
                found = model_of(node, text)
                live = known(registry) is not None
                return found and replace(found, calls=tuple(reversed(calls)), sliced=sliced, live=live)
            case ast.Call(func=ast.Attribute() as method):
                calls.append((method.attr, node))
                node = method.value
            case ast.Attribute():
                calls.append((node.attr, None))
                node = node.value
            case ast.Subscript(slice=ast.Slice()):
                sliced, node = True, node.value
            case _:
                return None


def model_of(call: ast.Call, text: Text) -> Chain | None:
    """The model that apps.get_model("shop", "Order") gives; None where its name isn't written there."""
    words = {word.arg: word.value for word in call.keywords}
    given = [*call.args, *(words[name] for name in ("app_label", "model_name") if name in words)]
    parts = [_of_setting(node) or text(node) for node in given]
    if len(parts) == 1 and parts[0]:
        parts = list(parts[0].split("."))
    if len(parts) != 2 or not all(parts):
        return None
    return Chain(str(parts[0]), str(parts[1]))


def _of_setting(node: ast.expr) -> str:
    """What a setting says: settings.AUTH_USER_MODEL, or *settings.AUTH_USER_MODEL.split(".")."""
    match node:
        case ast.Attribute(value=ast.Name(id="settings"), attr=name):
            value = getattr(settings, name, "")
            return value if isinstance(value, str) else ""
        case ast.Starred(value=ast.Call(func=ast.Attribute(value=ast.Attribute() as inner, attr="split"))):
            return _of_setting(inner)
    return ""
