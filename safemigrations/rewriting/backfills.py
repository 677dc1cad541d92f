"""The Backfill that replaces RunSQL or RunPython, if it is known to do the same to the same rows."""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from django.core.exceptions import FieldError
from django.db import migrations
from django.db.migrations import Migration
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState
from django.db.models import F, Q
from django.db.models.functions import Lower, Upper

from ..checking.grammar import HAS_GRAMMAR
from ..checking.python import instead
from ..checking.refused import without_server
from ..data import Data
from ..operations import Backfill
from ..operations.base import Situation
from ..operations.home import home_of
from . import plain_functions
from .plain_functions import NotPlain

if HAS_GRAMMAR:  # without it nothing is found in SQL that could be fixed
    from . import sql

OURS = "from safemigrations.operations import Backfill"
NAMES: dict[str, tuple[str, Any]] = {  # what an expression may need -> the module that has it
    "Decimal": ("decimal", Decimal),
    "F": ("django.db.models", F),
    "Q": ("django.db.models", Q),
    "Lower": ("django.db.models.functions", Lower),
    "Upper": ("django.db.models.functions", Upper),
}
NOTHING = ("", migrations.RunSQL.noop, None)


class Filled(Data):
    """The Backfill, how it is written, and what it needs at the top of the file."""

    operation: Backfill
    code: str
    imports: set[str]
    function: str = ""


class Arguments(Data):
    """What a Backfill is given, as Python."""

    model: str
    set: str
    where: str = ""
    function: str = ""
    reverse: str = ""


def instead_of(
    operation: Operation, migration: Migration, state: ProjectState, free: Callable[[str], str]
) -> Filled | None:
    """The Backfill; None if none is known to do the same. `free` gives a name that the file doesn't have yet."""
    if isinstance(operation, migrations.RunSQL):
        given = _of_sql(operation, migration.app_label, state)
    elif isinstance(operation, migrations.RunPython):
        given = _of_python(operation, migration, state, free)
    else:
        return None
    return _filled(given, operation, migration, state) if given else None


def _of_sql(operation: migrations.RunSQL, app_label: str, state: ProjectState) -> Arguments | None:
    if operation.state_operations or operation.hints:
        return None
    found = sql.update_instead(operation.sql, app_label, state)
    if found is None:
        return None
    model, values, where = found
    if operation.reverse_sql in NOTHING:
        return Arguments(model, values, where)
    back = sql.update_instead(operation.reverse_sql, app_label, state)
    return Arguments(model, values, where, reverse=back[1]) if back and (back[0], back[2]) == (model, "") else None


def _of_python(
    operation: migrations.RunPython, migration: Migration, state: ProjectState, free: Callable[[str], str]
) -> Arguments | None:
    if operation.hints or operation.code.__module__ != migration.__module__:
        return None
    label = migration.app_label
    try:
        plain = plain_functions.read(operation.code, label, state)
        reverse = _back(operation, label, state, plain.chain.model)
    except NotPlain:
        return None
    model, where = plain.chain.model.lower(), plain.where
    if not plain.row:
        return Arguments(model, instead.dictionary(plain.values), where, reverse=reverse)
    name = free(f"fill_{model}")
    return Arguments(model, name, where, instead.function(name, plain.row, plain.values), reverse)


def _back(operation: migrations.RunPython, label: str, state: ProjectState, model: str) -> str:
    """What it sets on the way back; that goes over the whole table."""
    if operation.reverse_code in (None, migrations.RunPython.noop):
        return ""
    plain = plain_functions.read(operation.reverse_code, label, state)
    if plain.row or plain.where or plain.chain.model != model:
        raise NotPlain
    return instead.dictionary(plain.values)


# As it stands in the file.


def _filled(given: Arguments, operation: Any, migration: Migration, state: ProjectState) -> Filled | None:
    words = {
        "set": given.set,
        "where": given.where,
        "reverse": given.reverse,
        "elidable": "True" if operation.elidable else "",
    }
    rest = "".join(f", {name}={value}" for name, value in words.items() if value)
    code = f"Backfill({given.model!r}{rest})"
    made = _made(code, given.function, migration)
    if made is None or not _has_a_plan(made, migration, state):
        return None
    imports = {f"from {NAMES[name][0]} import {name}" for name in _needed(code)}
    return Filled(made, code, {OURS, *imports}, given.function and f"{given.function}\n\n")


def _needed(code: str) -> set[str]:
    return {node.id for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Name)} & NAMES.keys()


def _made(code: str, function: str, migration: Migration) -> Backfill | None:
    """The operation itself, as the file will make it; it may refuse its arguments."""
    known = {"Backfill": Backfill, **{name: NAMES[name][1] for name in _needed(code)}}
    of_file = vars(sys.modules[migration.__module__])
    if any(of_file.get(name, value) is not value for name, value in known.items()):
        return None  # the file calls something else so
    known = {**of_file, **known}
    exec(function, known)  # it is what the file is going to say
    try:
        made: Backfill = eval(code, known)
    except ValueError:
        return None
    return made


def _has_a_plan(operation: Backfill, migration: Migration, state: ProjectState) -> bool:
    """Does Django know how to write it as SQL for this model?"""
    home = home_of(state.models[migration.app_label, operation.model_name.lower()])
    if home is None or home.vendor != "postgresql":
        return False
    with without_server(home).schema_editor(collect_sql=True, atomic=False) as editor:
        at = Situation(migration.app_label, editor, before=state, after=state, migration=migration)
        try:
            return bool(operation.expand(at))
        except (ValueError, FieldError):
            return False
