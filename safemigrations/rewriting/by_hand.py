"""RunPython with a way back."""

from __future__ import annotations

import ast

from .text import Places

CONCURRENTLY = "PostgreSQL refuses CONCURRENTLY inside a transaction"


def with_noop(code: str) -> str:
    """RunPython with a way back that does nothing; empty if its arguments aren't written out."""
    places, call = Places(f"({code})"), ast.parse(f"({code})", mode="eval").body
    if not isinstance(call, ast.Call) or any(word.arg in (None, "reverse_code") for word in call.keywords):
        return ""
    given = [*call.args, *(word.value for word in call.keywords)]
    if len(call.args) > 1 or not given or isinstance(call.args[:1], ast.Starred):
        return ""
    noop = f"{ast.unparse(call.func)}.noop"
    if not call.keywords:
        at = places.end(call.args[0]) - 1
        return f"{code[:at]}, {noop}{code[at:]}"
    first = call.keywords[0]
    at = places.end(first.value if first.arg == "code" else given[0]) - 1
    return f"{code[:at]}, reverse_code={noop}{code[at:]}"
