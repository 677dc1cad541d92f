"""What a loop does with its row."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from .functions import Function, Lookup, dotted

SAVES = ("save", "delete", "asave", "adelete")


def saves(loop: ast.For, lookup: Lookup) -> bool:
    """Does the loop write its row, one by one? `lookup` finds the functions that may do so."""
    return _writes(loop, _row_of(loop), lookup)


def of_map(call: ast.Call) -> ast.For:
    """map(fix, orders) as the loop that it is."""
    row = ast.Name("row", ast.Load())
    body: list[ast.stmt] = [ast.Expr(ast.Call(call.args[0], [row], []))]
    return ast.copy_location(ast.For(row, call.args[1], body, []), call)


Comprehension = ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp


def of_comprehension(node: Comprehension, generator: ast.comprehension) -> ast.For:
    """[order.save() for order in orders] as the loop that it is."""
    given = node.value if isinstance(node, ast.DictComp) else node.elt
    return ast.copy_location(ast.For(generator.target, generator.iter, [ast.Expr(given)], []), node)


PASS_ROWS = {"iter", "list", "reversed", "sorted", "tqdm", "tuple"}


def over_rows(loop: ast.For) -> list[ast.For]:
    """What `for number, row in enumerate(rows)` and the like go over, as plain loops; two of zip(one, other)."""
    pairs: list[tuple[ast.expr, ast.expr]] = []
    match loop.target, loop.iter:
        case ast.Tuple(elts=[_, row]), ast.Call(func=ast.Name("enumerate"), args=[rows, *_]):
            pairs = [(row, rows)]
        case ast.Tuple(elts=targets), ast.Call(func=ast.Name("zip"), args=args) if len(targets) == len(args):
            pairs = list(zip(targets, args, strict=True))
        case row, ast.Call(func=ast.Name(id=name), args=[rows, *_]) if name in PASS_ROWS:
            pairs = [(row, rows)]
    plain = [ast.copy_location(ast.For(target, rows, loop.body, []), loop) for target, rows in pairs]
    return [each for one in plain for each in over_rows(one)] or [loop]


def names_in(target: ast.expr) -> list[str]:
    """The names that a loop gives its values; empty where it unpacks more than a row of names."""
    parts = target.elts if isinstance(target, ast.Tuple | ast.List) else [target]
    names = [each.id for each in parts if isinstance(each, ast.Name)]
    return names if len(names) == len(parts) else []


def _row_of(loop: ast.For) -> str:
    return loop.target.id if isinstance(loop.target, ast.Name) else ""


def _writes(tree: ast.AST, row: str, lookup: Lookup, within: tuple[Function, ...] = ()) -> bool:
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    return any(_saves_it(call, row) or _passes_it_on(call, row, lookup, within) for call in calls)


def _saves_it(call: ast.Call, row: str) -> bool:
    """Does the call save the row, or a row that it points at, as in order.customer.save()?"""
    name, _, method = dotted(call.func).rpartition(".")
    return method in SAVES and bool(row) and name.partition(".")[0] == row


def _passes_it_on(call: ast.Call, row: str, lookup: Lookup, within: tuple[Function, ...]) -> bool:
    """Does the call give the row to a function that writes it?"""
    given = {value.id for value in call.args if isinstance(value, ast.Name)}
    found = lookup.find(dotted(call.func)) if row in given else None
    if found is None or found[1] in within:
        return False
    there, function = found
    pairs = zip(parameters(function), call.args, strict=False)
    own = [name for name, value in pairs if isinstance(value, ast.Name) and value.id == row]
    return any(_writes(function, name, there, (*within, function)) for name in own)


def parameters(function: Function) -> list[str]:
    """The parameters that a call can fill, in order."""
    names = [each.arg for each in function.args.args]
    return names[1:] if names[:1] in (["self"], ["cls"]) else names


def collected_by(loop: ast.For) -> set[str]:
    """The lists to which the loop adds something for each row, and which it never empties."""
    return set(_appended_to(loop)) - set(_emptied(loop))


def _appended_to(loop: ast.For) -> Iterator[str]:
    for node in ast.walk(loop):
        match node:
            case ast.Call(func=ast.Attribute(attr="append", value=ast.Name(id=name)), args=[given]):
                if set(names_in(loop.target)) & {each.id for each in ast.walk(given) if isinstance(each, ast.Name)}:
                    yield name


def _emptied(loop: ast.For) -> Iterator[str]:
    for node in ast.walk(loop):
        match node:
            case ast.Assign(targets=[ast.Name(id=name)]):
                yield name
            case ast.Call(func=ast.Attribute(attr="clear", value=ast.Name(id=name))):
                yield name
            case ast.Delete(targets=[ast.Subscript(value=ast.Name(id=name))]):
                yield name


def computed_from_itself(call: ast.Call) -> set[str]:
    """The fields of update(total=F("total") + 1)."""
    return {
        word.arg
        for word in call.keywords
        if word.arg and isinstance(word.value, ast.BinOp) and f"F('{word.arg}')" in ast.unparse(word.value)
    }
