"""Plans for what stands in Meta.constraints: how each is added without blocking, and what is asked of the rows first.

All SQL of conditions, expressions and checks comes from Django's own compilers, so that the end is Django's own.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.models import BaseConstraint, CheckConstraint, Model, UniqueConstraint
from django.db.models.expressions import Col
from django.db.models.sql import Query

from ..postgres import catalog
from ..postgres.catalog import raw
from ..postgres.lock import Lock
from ..typed import check_sql, condition_sql
from . import claims
from .column import Column
from .index_and_check import build_index, check_constraint, unique_constraint
from .indexes import DropIndex
from .steps import Plan, Proof, Statement, Step

Editor = BaseDatabaseSchemaEditor


def table_of(editor: Editor, model: type[Model]) -> str:
    return editor.quote_name(model._meta.db_table)


def add(editor: Editor, model: type[Model], constraint: BaseConstraint) -> Plan:
    """The constraint without blocking anybody; an exclusion constraint has no such way.

    Nothing where this version of PostgreSQL doesn't have it, as with Django.
    """
    if isinstance(constraint, CheckConstraint):
        return add_check(editor, model, constraint)
    if isinstance(constraint, UniqueConstraint):
        return add_unique(editor, model, constraint)
    table, create = table_of(editor, model), constraint.create_sql(model, editor)
    if not create:
        return ()
    return (
        Statement(
            why=f"{catalog.bare(table)}: add constraint {constraint.name}",
            sql=str(create),
            locks={table: Lock.ACCESS_EXCLUSIVE},
            done=catalog.constraint_exists(table, constraint.name),
        ),
    )


def is_index(constraint: BaseConstraint) -> bool:
    """Does Django make the constraint as a mere index?"""
    parts = ("condition", "include", "opclasses", "expressions")
    return isinstance(constraint, UniqueConstraint) and any(getattr(constraint, part) for part in parts)


def drop(editor: Editor, model: type[Model], constraint: BaseConstraint, *, undo: Plan = ()) -> Step:
    table, name = table_of(editor, model), catalog.identifier(constraint.name)
    label = catalog.bare(table)
    if is_index(constraint):
        why = f"{label}: drop unique index {name}"
        return DropIndex(why=why, table=table, name=name, undo=undo, frees=(claims.index(table, name),))
    has_index = not isinstance(constraint, CheckConstraint)
    kind = "" if has_index else "c"  # one of another kind has taken the name since
    return Statement(
        why=f"{label}: drop constraint {name}",
        sql=f"ALTER TABLE {table} DROP CONSTRAINT IF EXISTS {editor.quote_name(name)}",
        locks={table: Lock.ACCESS_EXCLUSIVE},
        done=catalog.constraint_missing(table, name, kind=kind),
        undo=undo,
        # A check that waits for the contract must not be added after it was dropped.
        takes=() if has_index else (claims.constraint(table, name),),
        frees=(claims.index(table, name),) if has_index else (),
    )


# Unique.


def add_unique(editor: Editor, model: type[Model], constraint: UniqueConstraint) -> Plan:
    create: Any = constraint.create_sql(model, editor)
    table, label = table_of(editor, model), catalog.bare(table_of(editor, model))
    if not create:
        return ()
    if is_index(constraint):
        why, analyze = f"{label}: unique index {constraint.name}", constraint.contains_expressions
        build = build_index(why, table, create, analyze=analyze)
        return (replace(build, undo=(drop(editor, model, constraint),)),)
    options = {part: str(create.parts[part]) for part in ("deferrable", "nulls_distinct")}
    return unique_constraint(editor, table, constraint.name, _columns_of(editor, model, constraint), **options)


def no_duplicates(editor: Editor, model: type[Model], constraint: UniqueConstraint, *, done: str = "") -> Proof:
    """No two rows are the same to a unique constraint that is still to come."""
    table = table_of(editor, model)
    keys = _keys(editor, model, constraint)
    numbers = ", ".join(str(number) for number in range(1, len(keys) + 1))
    where = [f"({_condition(editor, model, constraint)})"] if constraint.condition else []
    if constraint.nulls_distinct is not False:
        where += [f"{key} IS NOT NULL" for key in keys]
    condition = f" WHERE {' AND '.join(where)}" if where else ""
    together = f"({', '.join(constraint.fields)})" if constraint.fields else f"key of {constraint.name}"
    among = f" among those of {constraint.name}" if constraint.condition else ""
    return Proof(
        why=f"{catalog.bare(table)}: no two rows have the same {together}{among}",
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
    return expressions or list(_columns_of(editor, model, constraint))


def _columns_of(editor: Editor, model: type[Model], constraint: UniqueConstraint) -> tuple[str, ...]:
    fields: list[Any] = [model._meta.get_field(name) for name in constraint.fields]
    return tuple(editor.quote_name(field.column) for field in fields)


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
    return check_constraint(
        editor,
        table_of(editor, model),
        constraint.name,
        str(create),
        works_on=(
            claims.constraint(table_of(editor, model), constraint.name),
            *(column.claim for column in _columns(editor, model, constraint)),
        ),
        violators=_violators(editor, model, constraint),
    )


def no_violators(editor: Editor, model: type[Model], constraint: CheckConstraint) -> Proof:
    """Every row satisfies a check that is still to come."""
    table = table_of(editor, model)
    key = ", ".join(map(raw, Column(editor, model, model._meta.pk).key))
    return Proof(
        why=f"{catalog.bare(table)}: every row satisfies {constraint.name}",
        query=_violators(editor, model, constraint),
        failure=(
            f"{model._meta.label}: rows violate the check {constraint.name}; their {key}: {{rows}}. "
            "Nothing was changed. Mend them, then run the same command again."
        ),
        done=catalog.constraint_exists(table, constraint.name, kind="c"),
    )


def _violators(editor: Editor, model: type[Model], constraint: CheckConstraint) -> str:
    """Rows whose check is false; where it is null PostgreSQL is content."""
    key, table = Column(editor, model, model._meta.pk).key, table_of(editor, model)
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
