"""Spells an operation that replaces another one in a file."""

from __future__ import annotations

import ast
from inspect import Parameter, signature
from typing import Any

from django.db.migrations.operations.base import Operation
from django.db.migrations.serializer import serializer_factory

from ..data import Data
from ..operations.written import PACKAGE, OperationWriter
from .text import Places

DJANGO = "django.db.migrations.operations"


class Spelled(Data):
    """The code of an operation, without indentation of its first line, and the imports that it needs."""

    code: str
    imports: set[str]


def spelled(new: Operation, old: Operation, code: str, indent: str) -> Spelled:
    """The new operation, spelled as the old one was where nothing but its name changes."""
    written, imports = OperationWriter(new, indentation=0).serialize()
    if renamed := _renamed(new, old, code):
        return Spelled(renamed, {_import(new)})
    first, *rest = written.removesuffix(",").split("\n")
    return Spelled("\n".join([first, *(f"{indent}{line}" for line in rest)]), imports)


def name_of(operation: Operation) -> str:
    """The operation's name in migration files."""
    name = type(operation).__name__
    return f"migrations.{name}" if type(operation).__module__.startswith(DJANGO) else name


def _import(operation: Operation) -> str:
    module, name = type(operation).__module__, type(operation).__name__
    if module.startswith(DJANGO):
        return "from django.db import migrations"
    return f"from {PACKAGE if module.startswith(PACKAGE) else module} import {name}"


def _renamed(new: Operation, old: Operation, code: str) -> str:
    """The old code with another name; empty where its arguments would mean something else."""
    call = ast.parse(f"({code})", mode="eval").body
    if not isinstance(call, ast.Call) or not _same_arguments(call, new, old):
        return ""
    places = Places(f"({code})")
    return f"{code[: places.start(call) - 1]}{name_of(new)}{code[places.end(call.func) - 1 :]}"


def _same_arguments(call: ast.Call, new: Operation, old: Operation) -> bool:
    olds, news = _parameters(old), _parameters(new)
    if any(isinstance(each, ast.Starred) for each in call.args) or any(word.arg is None for word in call.keywords):
        return False
    by_place = olds[: len(call.args)]
    given = {*by_place, *(str(word.arg) for word in call.keywords)}
    if by_place != news[: len(by_place)] or not given <= {*olds, *news} or not given <= set(news):
        return False
    wanted = {name for name, value in new.deconstruct()[2].items() if not _is_same(value, _default(new, name))}
    return wanted <= given and all(_is_same(getattr(old, name, None), getattr(new, name, None)) for name in given)


def _parameters(operation: Operation) -> list[str]:
    return [name for name in signature(type(operation).__init__).parameters if name != "self"]


def _default(operation: Operation, name: str) -> Any:
    return signature(type(operation).__init__).parameters[name].default if name in _parameters(operation) else None


def _is_same(one: Any, other: Any) -> bool:
    if one is other:
        return True
    if Parameter.empty in (one, other):
        return False
    return bool(serializer_factory(one).serialize() == serializer_factory(other).serialize())
