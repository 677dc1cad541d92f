"""Does an expression compute its value of one row and do nothing else? Then it may be computed whenever, and again."""

from __future__ import annotations

import ast
from collections.abc import Collection, Mapping
from dataclasses import field

from ...data import Data
from . import outside
from .functions import Function, Module

OF_PYTHON = """
abs all any bool chr dict divmod enumerate float int len list max min ord range repr reversed round set sorted str sum
tuple zip
"""
OF_VALUES = """
capitalize casefold center count date decode digest encode endswith find format get hex hexdigest index isalnum isalpha
isdigit isnumeric isoformat isspace items join keys ljust lower lstrip partition quantize replace rfind rjust rpartition
rsplit rstrip split splitlines startswith strftime strip swapcase time timestamp title total_seconds upper values
weekday zfill
"""
BUILTINS, METHODS = set(OF_PYTHON.split()), set(OF_VALUES.split())
MODULES = (
    "base64.",
    "datetime.",
    "decimal.",
    "django.utils.crypto.",
    "django.utils.html.",
    "django.utils.text.",
    "django.utils.timezone.",
    "hashlib.",
    "html.",
    "json.dumps",
    "json.loads",
    "math.",
    "random.",
    "re.",
    "secrets.",
    "string.",
    "unicodedata.",
    "urllib.parse.",
    "uuid.",
)
PLAIN = (
    ast.BinOp,
    ast.BoolOp,
    ast.Compare,
    ast.Constant,
    ast.Dict,
    ast.FormattedValue,
    ast.IfExp,
    ast.JoinedStr,
    ast.List,
    ast.Set,
    ast.Slice,
    ast.Subscript,
    ast.Tuple,
    ast.UnaryOp,
)
MARKS = (ast.operator, ast.unaryop, ast.cmpop, ast.boolop, ast.expr_context)


class Scope(Data):
    """The meaning of the names in an expression: rows, whose attributes are `fields`, and plain values."""

    module: Module
    fields: Collection[str]
    rows: frozenset[str]
    values: frozenset[str] = frozenset()
    within: tuple[str, ...] = ()  # functions that are being looked at
    read: set[str] = field(default_factory=set)  # the fields that are read


def is_pure(node: ast.AST, at: Scope) -> bool:
    match node:
        case ast.Name():
            return node.id in at.values or _is_literal(at.module.constants.get(node.id))
        case ast.Attribute(value=ast.Name(id=name)) if name in at.rows:
            at.read.add(node.attr)
            return node.attr in at.fields
        case ast.Attribute():
            return _is_of_module(node, at) or is_pure(node.value, at)
        case ast.Call():
            return _is_pure_call(node, at)
        case ast.ListComp() | ast.SetComp() | ast.GeneratorExp():
            return _is_pure_comprehension(node, at)
    return isinstance(node, MARKS) or (
        isinstance(node, PLAIN) and all(is_pure(each, at) for each in ast.iter_child_nodes(node))
    )


def _is_literal(node: ast.expr | None) -> bool:
    try:
        return node is not None and ast.literal_eval(node) is not Ellipsis
    except ValueError:
        return False


def _is_of_module(node: ast.expr, at: Scope) -> bool:
    return outside.full_name(node, _imported(at)).startswith(MODULES)


def _imported(at: Scope) -> Mapping[str, str]:
    return {name: path for name, path in at.module.imported.items() if name not in at.values | at.rows}


def _is_pure_comprehension(node: ast.ListComp | ast.SetComp | ast.GeneratorExp, at: Scope) -> bool:
    for each in node.generators:
        if not is_pure(each.iter, at):
            return False
        at = _with_names(at, each.target)
        if not all(is_pure(test, at) for test in each.ifs):
            return False
    return is_pure(node.elt, at)


def _with_names(at: Scope, target: ast.expr) -> Scope:
    names = frozenset(node.id for node in ast.walk(target) if isinstance(node, ast.Name))
    return Scope(at.module, at.fields, at.rows - names, at.values | names, at.within, at.read)


def _is_pure_call(node: ast.Call, at: Scope) -> bool:
    given = [*node.args, *(word.value for word in node.keywords)]
    match node.func:
        case ast.Name(id=name) if name in at.module.functions:
            return _is_pure_function(at.module.functions[name], node, at)
        case ast.Name(id=name) if name not in at.values | at.rows and name not in at.module.imported:
            known = name in BUILTINS
        case ast.Attribute(attr=method, value=owner) if not _is_of_module(node.func, at):
            known = method in METHODS and is_pure(owner, at)
        case _:
            known = _is_of_module(node.func, at)
    return known and all(is_pure(each, at) for each in given)


# Functions of the same module.


def _is_pure_function(function: Function, call: ast.Call, at: Scope) -> bool:
    """Does the function only compute? Its statements may assign names, branch and return."""
    parameters = function.args
    special = parameters.vararg or parameters.kwarg or parameters.posonlyargs or parameters.kwonlyargs
    plain = isinstance(function, ast.FunctionDef) and not function.decorator_list and not special and not call.keywords
    if not plain or function.name in at.within or len(call.args) != len(parameters.args):
        return False
    given = list(zip((each.arg for each in parameters.args), call.args, strict=True))
    rows = frozenset(name for name, value in given if isinstance(value, ast.Name) and value.id in at.rows)
    if not all(is_pure(value, at) for name, value in given if name not in rows):
        return False
    values = frozenset(name for name, _ in given) - rows
    inner = Scope(at.module, at.fields, rows, values, (*at.within, function.name), at.read)
    return _after(function.body, inner) is not None


def _after(body: list[ast.stmt], at: Scope | None) -> Scope | None:
    """What names stand for after these statements; None if a statement does anything else."""
    for node in body:
        at = _after_one(node, at) if at else None
    return at


def _after_one(node: ast.stmt, at: Scope) -> Scope | None:
    match node:
        case ast.Return(value=value):
            return at if value is None or is_pure(value, at) else None
        case ast.Expr(value=ast.Constant()) | ast.Pass():
            return at
        case ast.Assign(targets=[ast.Name(id=name) as target], value=value) if name not in at.rows:
            return _with_names(at, target) if is_pure(value, at) else None
        case ast.If():
            within = _after(node.body, at) if is_pure(node.test, at) else None
            return _after(node.orelse, within)
    return None
