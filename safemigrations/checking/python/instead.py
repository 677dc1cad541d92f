"""The Backfill that does what a function does, with the function's own values and names."""

from __future__ import annotations

import ast
from collections.abc import Mapping

from .chains import Chain


def of_update(chain: Chain) -> str:
    """What to write instead of `....update(a=1)`."""
    call = chain.calls[-1][1]
    assert call is not None
    values = {word.arg: ast.unparse(word.value) for word in call.keywords if word.arg}
    return f"Backfill({chain.model.lower()!r}, set={dictionary(values)}{_where(chain)})"


def of_loop(chain: Chain, loop: ast.For) -> str:
    """What to write instead of a loop that sets attributes of each row and saves it."""
    row = loop.target.id if isinstance(loop.target, ast.Name) else "row"
    assigned = {
        target.attr: ast.unparse(node.value)
        for node in ast.walk(loop)
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Attribute) and isinstance(target.value, ast.Name) and target.value.id == row
    }
    name = f"fill_{chain.model.lower()}"
    return f"{function(name, row, assigned)}\nBackfill({chain.model.lower()!r}, set={name}{_where(chain)})"


def function(name: str, row: str, values: Mapping[str, str]) -> str:
    """What gives the values of a row."""
    return f"def {name}({row}):\n    return {dictionary(values) if values else '{...}'}\n"


def dictionary(values: Mapping[str, str]) -> str:
    return f"{{{', '.join(f'{field!r}: {value}' for field, value in values.items())}}}"


def _where(chain: Chain) -> str:
    return f", where={chain.where}" if chain.where else ""
