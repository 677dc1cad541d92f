"""Judges the statements of one migration, in the order in which they are sent."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

from pglast import ast

from ..hazard import Hazard, NotUnderstood, elided, written_out
from ..scene import Scene
from . import instead
from .alter_table import Effect, functions_in, parts
from .effects import COSTS, HELD, STOPS_WRITERS, TRANSACTION, Cost
from .parse import Statement, Unparsed, body_of, parse, shortened
from .statements import effects

Said = Hazard | NotUnderstood
IN_TRANSACTION = {
    "atomic": "Set atomic = False on the migration.",
    "string": "Give it a RunSQL, or a list item, of its own.",
}


def read(sql: str, scene: Scene) -> Iterator[Said]:
    """What one text does that is sent at once. Without a transaction around it, it is one by itself."""
    if not scene.atomic:
        scene.begin()
    statements = list(parse(sql))
    nodes = [each.node for each in statements if isinstance(each, Statement)]
    scene.remade = {node.view.relname for node in nodes if isinstance(node, ast.ViewStmt)}
    yield from _each(statements, scene)


def _each(statements: Iterable[Statement | Unparsed], scene: Scene) -> Iterator[Said]:
    for statement in statements:
        if isinstance(statement, Unparsed):
            yield NotUnderstood(f"{statement.text}: {statement.why}", statement.line)
        elif made := _made_here(statement, scene):
            yield from _each(body_of(replace(made, line=statement.line)), scene)
        else:
            yield from _judge(statement, scene)


def _made_here(statement: Statement, scene: Scene) -> Statement | None:
    """The function of this migration that a statement calls; None where it does anything else."""
    node = statement.node
    if isinstance(node, ast.CreateFunctionStmt):
        scene.functions[node.funcname[-1].sval] = statement
    if isinstance(node, ast.CallStmt) or (isinstance(node, ast.SelectStmt) and not node.fromClause):
        called = [scene.functions.pop(name, None) for name in functions_in(node)]
        return next(filter(None, called), None)
    return None


def learn(texts: Iterable[str], scene: Scene) -> None:
    """What earlier migrations proved with checks of their own."""
    for text in texts:
        for statement in parse(text):
            if isinstance(statement, Statement):
                remember(statement, scene)


def _judge(statement: Statement, scene: Scene) -> Iterator[Said]:
    if isinstance(statement.node, ast.TransactionStmt):
        scene.begin()
    if "SET NOT NULL" in statement.text.upper():
        learn(scene.earlier_texts(), scene)
    found = effects(statement, scene)
    if found is None:
        yield NotUnderstood(f"{shortened(statement.text)} is not understood", statement.line)
        return
    if scene.elidable and _makes(statement.node):
        yield elided(shortened(statement.text), "what it makes").at(statement.line)
    yield from _in_transaction(statement, scene)
    yield from _not_committed(statement, scene)
    if statement.guessed and found and not any(COSTS[effect.kind].id for effect in found):
        yield NotUnderstood(f"{shortened(statement.text)} has names that only the run knows", statement.line)
    for effect in found:
        if not scene.is_new(effect.table):
            yield from _of_effect(statement, effect, scene)
        elif effect.kind == "copied rows":  # into a new table, from one that may be large
            yield from _while_held(statement, effect, scene)
    for effect in found:
        if COSTS[effect.kind].lock in STOPS_WRITERS:
            scene.hold(effect.table, COSTS[effect.kind].lock, shortened(statement.text))
    remember(statement, scene)


def _of_effect(statement: Statement, effect: Effect, scene: Scene) -> Iterator[Hazard]:
    cost = COSTS[effect.kind]
    if cost.long:
        yield from _while_held(statement, effect, scene)
    if cost.id:
        harm = cost.work.format(table=effect.table)
        yield Hazard(
            cost.id,
            f"{shortened(statement.text)} {harm}.",
            _hint(statement, effect, cost, scene),
            cost.level,
            statement.line,
        )


def _while_held(statement: Statement, effect: Effect, scene: Scene) -> Iterator[Hazard]:
    if not (held := next(scene.holding(), None)):
        return
    table, lock, by = held
    yield Hazard(
        HELD,
        f"{shortened(statement.text)} takes longer the larger {effect.table} is, and until it ends {by} keeps its "
        f"{lock} lock on {table}: everybody who uses {table} waits.",
        "Put it into a migration of its own, or into a transaction of its own with atomic = False.",
        line=statement.line,
    )


def _hint(statement: Statement, effect: Effect, cost: Cost, scene: Scene) -> str:
    table = scene.table(effect.table)
    node, written = statement.node, ""
    if isinstance(node, ast.IndexStmt) and table and effect.kind == "CREATE INDEX":
        written = instead.index(node, table)
    elif isinstance(node, ast.UpdateStmt) and table:
        written = instead.backfill(node, table)
    elif isinstance(node, ast.UpdateStmt | ast.DeleteStmt | ast.SelectStmt):
        return (
            "Work in batches, each in a transaction of its own: RunPython in a migration with atomic = False, over "
            "ranges of the key. Backfill does that for what an UPDATE sets."
        )
    if not written or not table:
        return cost.remedy
    return written_out(written, scene.unless_own(table.model.app_label))


OF_SCHEMA = ("Create", "Alter", "Index", "View", "Rename", "Drop", "Comment", "Grant", "Rule")


def _makes(node: Any) -> bool:
    """Does a new database need it? Rows that are made of other rows aren't there yet."""
    if isinstance(node, ast.InsertStmt):
        return bool(node.selectStmt and node.selectStmt.valuesLists)
    return type(node).__name__.startswith(OF_SCHEMA)


# CONCURRENTLY, VACUUM and the like.


def _in_transaction(statement: Statement, scene: Scene) -> Iterator[Hazard]:
    if not needs_no_transaction(statement) or not (scene.atomic or not statement.alone):
        return
    why = "atomic" if scene.atomic else "string"
    what = "the migration is one" if scene.atomic else "several statements that are sent as one text are one"
    yield Hazard(
        TRANSACTION,
        f"{shortened(statement.text)} fails: PostgreSQL refuses it inside a transaction, and {what}.",
        IN_TRANSACTION[why],
        line=statement.line,
    )


def _not_committed(statement: Statement, scene: Scene) -> Iterator[Hazard]:
    """https://www.postgresql.org/docs/current/sql-altertype.html: a new value can't be used until it is committed."""
    if isinstance(statement.node, ast.AlterEnumStmt):
        return
    for value in sorted(scene.values.keys() & set(_texts_in(statement.node))):
        yield Hazard(
            TRANSACTION,
            f"{shortened(statement.text)} fails: it uses {value!r}, which the same transaction adds to "
            f"{scene.values[value]}, and PostgreSQL refuses a value that isn't committed.",
            "Add the value in a migration of its own, or set atomic = False.",
            line=statement.line,
        )


def _texts_in(tree: Any) -> Iterator[str]:
    if isinstance(tree, ast.A_Const) and isinstance(tree.val, ast.String):
        yield tree.val.sval
    for part in parts(tree):
        yield from _texts_in(part)


def needs_no_transaction(statement: Statement) -> bool:
    node = statement.node
    if isinstance(node, ast.DoStmt):
        return True  # it commits
    if isinstance(node, ast.VacuumStmt):
        return bool(node.is_vacuumcmd)
    if isinstance(node, ast.ReindexStmt):
        return any(option.defname == "concurrently" for option in node.params or ())
    if isinstance(node, ast.AlterTableStmt):
        return any(getattr(command.def_, "concurrent", False) for command in node.cmds)
    return bool(isinstance(node, ast.IndexStmt | ast.DropStmt) and node.concurrent)


# Checks that prove that a column has no null.


def remember(statement: Statement, scene: Scene) -> None:
    if not isinstance(statement.node, ast.AlterTableStmt):
        return
    table = statement.node.relation.relname
    for command in statement.node.cmds:
        match command.subtype.name:
            case "AT_AddConstraint" if column := _not_null(command.def_.raw_expr):
                scene.check_not_null(table, column, command.def_.conname or "", valid=not command.def_.skip_validation)
            case "AT_ValidateConstraint":
                scene.validated(table, command.name)
            case "AT_DropConstraint":
                scene.dropped(table, command.name)


def _not_null(expression: Any) -> str:
    """The column of CHECK (column IS NOT NULL)."""
    if not isinstance(expression, ast.NullTest) or expression.nulltesttype.name != "IS_NOT_NULL":
        return ""
    return str(expression.arg.fields[-1].sval) if isinstance(expression.arg, ast.ColumnRef) else ""
