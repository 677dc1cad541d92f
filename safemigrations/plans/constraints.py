"""Plans for constraints of Meta.constraints: how each is added without blocking, and what the rows are asked first.

All SQL of conditions, expressions and checks comes from Django's own compilers, so that the end is Django's own.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.models import BaseConstraint, CheckConstraint, Model, UniqueConstraint
from django.db.models.expressions import Col
from django.db.models.sql import Query

from ..postgres.blocks import drop_found, for_each
from ..postgres.constraints import checks_of_twins, constraint_exists, constraint_missing
from ..postgres.lock import Lock
from ..postgres.names import Name
from ..postgres.probe import NEVER, Probe
from ..typed import check_sql, column_of, condition_sql
from . import claims
from .column import Column, key_of, table_of
from .index_and_check import build_index, check_constraint, unique_constraint
from .indexes import DropIndex
from .steps import Plan, Proof, Statement, Step

Editor = BaseDatabaseSchemaEditor


def name_of(constraint: BaseConstraint) -> Name:
    return Name.from_django(constraint.name)


def add(editor: Editor, model: type[Model], constraint: BaseConstraint) -> Plan:
    """Adds the constraint without blocking.

    An exclusion constraint has no such way. The plan is empty where this PostgreSQL doesn't have the constraint, as
    with Django.
    """
    if isinstance(constraint, CheckConstraint):
        return add_check(editor, model, constraint)
    if isinstance(constraint, UniqueConstraint):
        return add_unique(editor, model, constraint)
    table, name, create = table_of(model), name_of(constraint).raw, constraint.create_sql(model, editor)
    if not create:
        return ()
    return (
        Statement(
            why=f"{table.raw}: add constraint {name}",
            sql=str(create),
            locks={table: Lock.ACCESS_EXCLUSIVE},
            done=constraint_exists(table, name),
        ),
    )


def is_index(constraint: BaseConstraint) -> bool:
    """Does Django create the constraint as an index alone?"""
    parts = ("condition", "include", "opclasses", "expressions")
    return isinstance(constraint, UniqueConstraint) and any(getattr(constraint, part) for part in parts)


def drop(model: type[Model], constraint: BaseConstraint, *, undo: Plan = ()) -> Step:
    table, quoted = table_of(model), name_of(constraint)
    label, name = table.raw, quoted.raw
    if is_index(constraint):
        why = f"{label}: drop unique index {name}"
        return DropIndex(why=why, table=table, name=name, undo=undo, frees=(claims.index(table, name),))
    has_index = not isinstance(constraint, CheckConstraint)
    kind = "" if has_index else "c"  # one of another kind has taken the name since
    return Statement(
        why=f"{label}: drop constraint {name}",
        sql=f"ALTER TABLE {table} DROP CONSTRAINT IF EXISTS {quoted}",
        locks={table: Lock.ACCESS_EXCLUSIVE},
        done=constraint_missing(table, name, kind=kind),
        undo=undo,
        # A check that waits for the contract must not be added after it was dropped.
        takes=() if has_index else (claims.constraint(table, name),),
        frees=(claims.index(table, name),) if has_index else (),
    )


def drop_check_of_twins(model: type[Model], constraint: CheckConstraint) -> Step:
    """Drop what stands in for the check on the columns of new types: it would refuse the same rows, and stay."""
    table, name = table_of(model), name_of(constraint).raw
    found = checks_of_twins(table, name)
    return Statement(
        why=f"{table.raw}: drop what stands in for check {name} on a column that gets another type",
        sql=for_each(found, drop_found(table)),
        locks={table: Lock.ACCESS_EXCLUSIVE},
        only_where=found,
    )


# Unique.


def add_unique(editor: Editor, model: type[Model], constraint: UniqueConstraint) -> Plan:
    create: Any = constraint.create_sql(model, editor)
    table, name = table_of(model), name_of(constraint).raw
    if not create:
        return ()
    if is_index(constraint):
        why, analyze = f"{table.raw}: unique index {name}", constraint.contains_expressions
        build = build_index(why, table, create, analyze=analyze)
        return (replace(build, undo=(drop(model, constraint),)),)
    options = {part: str(create.parts[part]) for part in ("deferrable", "nulls_distinct")}
    return unique_constraint(table, name, _columns_of(model, constraint), **options)


def no_duplicates(editor: Editor, model: type[Model], constraint: UniqueConstraint, *, done: Probe = NEVER) -> Proof:
    """A proof that no two rows are equal for a unique constraint that doesn't exist yet."""
    table = table_of(model)
    keys = _keys(editor, model, constraint)
    numbers = ", ".join(str(number) for number in range(1, len(keys) + 1))
    where = [f"({_condition(editor, model, constraint)})"] if constraint.condition else []
    if constraint.nulls_distinct is not False:
        where += [f"{key} IS NOT NULL" for key in keys]
    condition = f" WHERE {' AND '.join(where)}" if where else ""
    together = f"({', '.join(constraint.fields)})" if constraint.fields else f"key of {constraint.name}"
    among = f" among those of {constraint.name}" if constraint.condition else ""
    return Proof(
        why=f"{table.raw}: no two rows have the same {together}{among}",
        query=f"SELECT {', '.join(keys)} FROM {table}{condition} GROUP BY {numbers} HAVING count(*) > 1",
        failure=(
            f"{model._meta.label}: several rows have the same {together}{among}: {{rows}}. Nothing was "
            "changed. Remove the duplicates, then run the same command again."
        ),
        done=done,
    )


def _keys(editor: Editor, model: type[Model], constraint: UniqueConstraint) -> list[str]:
    """The columns or expressions of a unique constraint, without order and operator classes."""
    expressions = [f"({_expression(editor, model, expression)})" for expression in constraint.expressions]
    return expressions or list(_columns_of(model, constraint))


def _columns_of(model: type[Model], constraint: UniqueConstraint) -> tuple[Name, ...]:
    return tuple(Name.from_django(column_of(model, name)) for name in constraint.fields)


def _expression(editor: Editor, model: type[Model], expression: Any) -> str:
    if hasattr(expression, "get_expression_for_validation"):  # OrderBy, OpClass
        expression = expression.get_expression_for_validation()
    query = Query(model, alias_cols=False)
    resolved = expression.resolve_expression(query, allow_joins=False, for_save=False)
    sql, params = query.get_compiler(connection=editor.connection).compile(resolved)
    return str(sql % tuple(editor.quote_value(param) for param in params))


def _condition(editor: Editor, model: type[Model], constraint: UniqueConstraint) -> str:
    return condition_sql(constraint, model, editor)


# Check.


def add_check(editor: Editor, model: type[Model], constraint: CheckConstraint) -> Plan:
    create: Any = constraint.create_sql(model, editor)
    table, name = table_of(model), name_of(constraint).raw
    return check_constraint(
        table,
        name,
        str(create),
        works_on=(
            claims.constraint(table, name),
            *(column.claim for column in _columns(editor, model, constraint)),
        ),
        violators=_violators(editor, model, constraint),
    )


def no_violators(editor: Editor, model: type[Model], constraint: CheckConstraint) -> Proof:
    """A proof that every row satisfies a check that doesn't exist yet."""
    table = table_of(model)
    key = ", ".join(column.raw for column in key_of(model))
    return Proof(
        why=f"{table.raw}: every row satisfies {constraint.name}",
        query=_violators(editor, model, constraint),
        failure=(
            f"{model._meta.label}: rows violate the check {constraint.name}; their {key}: {{rows}}. "
            "Nothing was changed. Fix them, then run the same command again."
        ),
        done=constraint_exists(table, name_of(constraint).raw, kind="c"),
    )


def _violators(editor: Editor, model: type[Model], constraint: CheckConstraint) -> str:
    """Rows for which the check is false; PostgreSQL accepts a check that is null."""
    key, table = key_of(model), table_of(model)
    check = check_sql(constraint, model, editor)
    return f"SELECT {', '.join(key)} FROM {table} WHERE NOT ({check})"


def _columns(editor: Editor, model: type[Model], constraint: CheckConstraint) -> list[Column]:
    """The columns that a check looks at."""
    condition: Any = constraint.condition
    left: list[Any] = [Query(model, alias_cols=False).build_where(condition)]
    found: dict[Any, Column] = {}
    while left:
        expression = left.pop()
        if isinstance(expression, Col):
            found[expression.target.column] = Column(editor, model, expression.target)
        left += [source for source in expression.get_source_expressions() if source is not None]
    return [found[name] for name in sorted(found)]
