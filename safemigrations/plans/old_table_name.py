"""A table under two names: it is renamed, and a view stands where it stood.

A view over all columns of one table is updatable: INSERT with the table's own defaults, ON CONFLICT, RETURNING and FOR
UPDATE go through it (https://www.postgresql.org/docs/current/sql-createview.html#SQL-CREATEVIEW-UPDATABLE-VIEWS). A
query that waits for the lock of the rename looks the name up again when it gets it, and finds the view.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.models import Model

from ..data import Data
from ..errors import StepFailed
from ..postgres.blocks import for_each, rename_found
from ..postgres.columns import column_exists
from ..postgres.constraints import foreign_keys
from ..postgres.lock import Lock
from ..postgres.names import Name, temporary_name
from ..postgres.probe import NEVER, Probe, no_row
from ..postgres.tables import (
    VIEW_ALIAS,
    VIEW_MARK,
    grants_to_carry_over,
    is_marked_view,
    is_table,
    may_be_asked_by_invoker,
    owner_to_carry_over,
    row_security_lost_behind_a_view,
    table_exists,
    table_missing,
)
from ..postgres.triggers import functions_using
from ..postgres.values import literal
from ..typed import create_fk_sql, field_should_be_altered, through
from . import claims
from .carried import Carried, Renamed
from .claims import Claim
from .column import table_of
from .foreign_key import FK_SUFFIX
from .index_and_check import name_in
from .steps import Plan, Proof, Statement, Step, Together
from .tables import bare_name


class Move(Data):
    """A table that gets another name, or whose columns do; it exists in both of Django's states."""

    editor: BaseDatabaseSchemaEditor
    before: type[Model]
    after: type[Model]

    @property
    def old(self) -> Name:
        return table_of(self.before)

    @property
    def new(self) -> Name:
        return table_of(self.after)

    @property
    def label(self) -> str:
        return self.old.raw

    @property
    def claim(self) -> Claim:
        """The claim that keeps the types of the table's columns as they are."""
        return claims.view_of(self.new)

    @property
    def aside(self) -> Name:
        """Where the table is until the contract: under its new name, or, where that is the old one, out of the way."""
        if self.old != self.new:
            return self.new
        return self.old.beside(temporary_name(self.label))

    @property
    def columns(self) -> list[tuple[Name, Name]]:
        """Old and new names of the columns that are renamed."""
        return [(old, new) for old, new in self._all_columns if old != new]

    @property
    def _all_columns(self) -> list[tuple[Name, Name]]:
        pairs = zip(self.before._meta.local_concrete_fields, self.after._meta.local_concrete_fields, strict=True)
        return [(Name.from_django(str(old.column)), Name.from_django(str(new.column))) for old, new in pairs]

    def plan(self) -> Plan:
        if moves_to_another_schema(self.old, self.new):
            raise StepFailed(f"{self.label} can't be renamed to {self.new}. {OTHER_SCHEMA}")
        return (_is_safe_behind_a_view(self), self._expand())

    def _expand(self) -> Together:
        names = f"{self.label} is called {self.new.raw}" if self.old != self.new else f"{self.label} is set aside"
        return Together(
            why=f"{self.label}: {names}, and a view has the old names",
            sql=(*_rename(self.old, self.aside), *self._view(), *_like_the_table(self.old, self.aside)),
            locks={self.old: Lock.ACCESS_EXCLUSIVE},
            done=self._is_done(),
            undo=(self._back(),),
            takes=tuple(dict.fromkeys(map(claims.table, (self.old, self.new)))),
        )

    def _is_done(self) -> Probe:
        """Is the rename done? Also yes if the contract has run, in a run that was killed before it was recorded."""
        if self.old != self.new:
            return table_exists(self.new).unless(is_table(self.old))
        return self._has_column(self.columns[0][1])

    def _has_column(self, column: Name) -> Probe:
        return column_exists(self.old, column.raw)

    def _view(self) -> tuple[str, ...]:
        """The view over the present columns, including columns that the state no longer has."""
        comment = f"COMMENT ON VIEW {self.old} IS {literal(VIEW_MARK)}"
        if self.old != self.new:
            view = f"CREATE VIEW {self.old} AS SELECT * FROM {self.aside} {VIEW_ALIAS}"
            return (view, *self._rename_columns(self.aside), comment)
        also = "".join(f", {old} AS {new}" for old, new in self.columns)
        return (f"CREATE VIEW {self.old} AS SELECT *{also} FROM {self.aside} {VIEW_ALIAS}", comment)

    def _rename_columns(self, table: str) -> tuple[str, ...]:
        return tuple(f"ALTER TABLE {table} RENAME COLUMN {old} TO {new}" for old, new in self.columns)

    def _back(self) -> Together:
        columns = self.columns if self.old != self.new else []
        return Together(
            why=f"{self.label}: the table has its old name again",
            sql=(
                f"DROP VIEW IF EXISTS {self.old}",
                *(f"ALTER TABLE {self.aside} RENAME COLUMN {new} TO {old}" for old, new in columns),
                *_rename(self.aside, self.old),
            ),
            locks={self.old: Lock.ACCESS_EXCLUSIVE, self.aside: Lock.ACCESS_EXCLUSIVE},
            done=is_table(self.old),
            takes=(claims.table(self.old),),
        )

    def contract(self) -> Step:
        if self.old != self.new:
            return Statement(
                why=f"{self.label}: drop the view; the table is called {self.new.raw}",
                sql=f"DROP VIEW IF EXISTS {self.old}",
                locks={self.old: Lock.ACCESS_EXCLUSIVE},
                done=is_marked_view(self.old).negated(),
                undo=(self._view_again(),),
                takes=(claims.table(self.new),),
                frees=(claims.table(self.old),),
                works_on=(self.claim,),
            )
        return Together(
            why=f"{self.label}: the table stands under its name again, with the new names of its columns",
            sql=(
                f"DROP VIEW IF EXISTS {self.old}",
                *_rename(self.aside, self.old),
                *self._rename_columns(self.old),
            ),
            locks={self.old: Lock.ACCESS_EXCLUSIVE, self.aside: Lock.ACCESS_EXCLUSIVE},
            done=self._has_column(self.columns[0][1]).and_(is_table(self.old)),
            undo=(self._names_of_columns_back(),),
            takes=(claims.table(self.old),),
            works_on=(self.claim,),
        )

    def _view_again(self) -> Together:
        """Whoever migrates forwards again from half way finds both names.

        There is no view where row-level security has come meanwhile that a view would lose: then only the new name is
        there until the way back has ended.
        """
        columns = ", ".join(f"{new} AS {old}" for old, new in self._all_columns)
        is_contracted = table_missing(self.old).and_(table_exists(self.aside))
        return Together(
            why=f"{self.label}: a view has the old names again",
            sql=(
                f"CREATE VIEW {self.old} AS SELECT {columns} FROM {self.aside} {VIEW_ALIAS}",
                f"COMMENT ON VIEW {self.old} IS {literal(VIEW_MARK)}",
                *_like_the_table(self.old, self.aside),
            ),
            locks={},
            done=table_exists(self.old),
            only_where=is_contracted.and_(no_row(row_security_lost_behind_a_view(self.aside))),
        )

    def _names_of_columns_back(self) -> Together:
        return Together(
            why=f"{self.label}: its columns have their old names again",
            sql=tuple(f"ALTER TABLE {self.old} RENAME COLUMN {new} TO {old}" for old, new in self.columns),
            locks={self.old: Lock.ACCESS_EXCLUSIVE},
            done=self._has_column(self.columns[0][0]),
        )


OTHER_SCHEMA = (
    "Django can't move a table into another schema. Do it by hand: ALTER TABLE ... SET SCHEMA, and a view under the "
    "old name for the old release, in a RunSQL beside AlterModelTable in SeparateDatabaseAndState."
)


def moves_to_another_schema(old: Name, new: Name) -> bool:
    """Do the names say that the schema changes? A name without a schema says nothing."""
    return old.schema != new.schema


def _rename(table: Name, to: Name) -> tuple[str, ...]:
    return (f"ALTER TABLE {table} RENAME TO {to.bare}",)


def _is_safe_behind_a_view(move: Move) -> Proof:
    """A view asks for the rights of its owner, who may do all; or (security_invoker) for those of who reads, on all
    columns of the table. Row-level security needs the second, which PostgreSQL 14 doesn't have; grants on single
    columns need the first.
    """
    return Proof(
        why=f"{move.label}: its row-level security holds behind a view, too",
        query=row_security_lost_behind_a_view(move.old),
        failure=(
            f"A view can't stand for {move.label}, which has row-level security and {{rows}}. Nothing was changed. "
            f"Give the model db_table = '{move.label}' in its Meta instead, which leaves the table alone."
        ),
    )


def _like_the_table(view: Name, table: Name) -> tuple[str, ...]:
    """Owner, rights of the one who asks (PostgreSQL 15), and grants: only the catalog knows them."""
    grant = f"EXECUTE format('GRANT %s ON %s TO %s%s', found.what, {literal(view)}, found.who, found.further);"
    own = f"EXECUTE format('ALTER VIEW %s OWNER TO %I', {literal(view)}, found.name);"
    # The grants first, while the view still belongs to who makes them.
    return (
        for_each(grants_to_carry_over(table, view), grant),
        for_each(may_be_asked_by_invoker(table), f"ALTER VIEW {view} SET (security_invoker = true);"),
        for_each(owner_to_carry_over(table, view), own),
    )


# What moves when a model or its table is renamed: the same tables, columns and foreign keys that Django moves.

Pair = tuple[type[Model], type[Model]]  # a table as the state before has it, and as the state after


def renamed_with_model(old: type[Model], new: type[Model]) -> list[Pair]:
    """RenameModel.database_forwards(): the table, and the through tables of its relations in both directions."""
    through = [(before.remote_field.through, after.remote_field.through) for before, after in _many_to_many(old, new)]
    unique = {before._meta.db_table: (before, after) for before, after in [(old, new), *through]}
    return [pair for pair in unique.values() if _differ(*pair)]


def renamed_with_table(old: type[Model], new: type[Model]) -> list[Pair]:
    """AlterModelTable.database_forwards(): the table, and the through tables that are called after it."""
    through = [(before.remote_field.through, after.remote_field.through) for before, after in _own(old, new)]
    return [pair for pair in [(old, new), *through] if pair[0]._meta.db_table != pair[1]._meta.db_table]


def renamed_with_field(before: Any, after: Any) -> list[Pair]:
    """A many-to-many field that is renamed, or gets another db_table: the table that Django makes for it."""
    pair = through(before), through(after)
    return [pair] if pair[1]._meta.auto_created and pair[0]._meta.db_table != pair[1]._meta.db_table else []


def contract_label(pairs: Iterable[Pair]) -> str:
    return f"drop the old name of {', '.join(bare_name(after._meta.db_table) for _, after in pairs)}"


def labels(pairs: Iterable[Pair]) -> str:
    return ", ".join(bare_name(before._meta.db_table) for before, _ in pairs)


def _differ(before: type[Model], after: type[Model]) -> bool:
    names = [(each._meta.db_table, *(f.column for f in each._meta.local_concrete_fields)) for each in (before, after)]
    return names[0] != names[1]


def _own(old: type[Model], new: type[Model]) -> Iterator[tuple[Any, Any]]:
    """The many-to-many fields of the model whose tables Django creates."""
    for before, after in zip(old._meta.local_many_to_many, new._meta.local_many_to_many, strict=True):
        if through(after)._meta.auto_created:
            yield before, after


def _many_to_many(old: type[Model], new: type[Model]) -> Iterator[tuple[Any, Any]]:
    yield from _own(old, new)
    for before, after in _related(old, new):
        if before.many_to_many and after.remote_field.through._meta.auto_created:
            yield before, after


def _related(old: type[Model], new: type[Model]) -> Iterator[tuple[Any, Any]]:
    """The fields that point at the model, as both states have them."""
    relations: Any = old._meta.related_objects
    for relation in relations:
        model = relation.related_model
        key = model._meta.app_label, model._meta.model_name
        after = new if model is old else new._meta.apps.get_model(*key)
        yield relation.field, after._meta.get_field(relation.field.name)


def names_of_foreign_keys(editor: BaseDatabaseSchemaEditor, old: type[Model], new: type[Model]) -> Plan:
    """Rename foreign keys that point at a renamed table. Django drops and adds them, only to change their names."""
    fields = [pair for pair in _related(old, new) if not pair[0].many_to_many]
    for before, after in _many_to_many(old, new):
        through = before.remote_field.through._meta, after.remote_field.through._meta
        fields += zip(through[0].local_concrete_fields, through[1].local_concrete_fields, strict=True)
    return tuple(
        _name_of_foreign_key(editor, before, after)
        for before, after in fields
        if after.remote_field and after.db_constraint and field_should_be_altered(editor, before, after)
    )


def _name_of_foreign_key(editor: BaseDatabaseSchemaEditor, before: Any, after: Any) -> Statement:
    names = [name_in(create_fk_sql(editor, field.model, field, FK_SUFFIX)).raw for field in (before, after)]
    table, column = table_of(after.model), Name.from_django(after.column).raw
    return _rename_foreign_key(table, column, names[1], undo=(_rename_foreign_key(table, column, names[0]),))


def _rename_foreign_key(table: Name, column: str, name: str, undo: Plan = ()) -> Statement:
    others = foreign_keys(table, column, but_named=name)
    return Statement(
        why=f"{table.raw}: the foreign key of {column} is called {name}",
        sql=for_each(others, rename_found(table, literal(name))),
        locks={table: Lock.ACCESS_EXCLUSIVE},
        done=no_row(others),
        undo=undo,
    )


def expand(editor: BaseDatabaseSchemaEditor, pairs: Iterable[Pair]) -> Plan:
    """The expand plans. The proofs come first, so that nothing is changed if one fails."""
    plans = [Move(editor, *pair).plan() for pair in pairs]
    return (*(proof for proof, _ in plans), *(step for _, step in plans))


def contract(editor: BaseDatabaseSchemaEditor, pairs: Iterable[Pair]) -> Plan:
    moves = [Move(editor, *pair) for pair in pairs]
    renamed = [move for move in moves if move.old != move.new]
    return (*([_no_function_uses(renamed)] if renamed else []), *(move.contract() for move in moves))


def renames(pairs: Iterable[Pair]) -> tuple[Renamed, ...]:
    """The tables that get another name which can be told from everything else in a query."""
    return tuple(
        Renamed(old=claims.table(table_of(old)), new=claims.table(table_of(new)))
        for old, new in pairs
        if old._meta.db_table != new._meta.db_table and _is_unmistakable(old, new)
    )


def _is_unmistakable(*states: type[Model]) -> bool:
    """No column has such a name, and it is spelled alike in a statement and in a literal of one."""
    columns = {str(field.column) for model in states for field in model._meta.local_concrete_fields}
    return not any(table_of(model).raw in columns or "'" in table_of(model) for model in states)


def carries(editor: BaseDatabaseSchemaEditor, pairs: Iterable[Pair]) -> tuple[Carried, ...]:
    """The columns that get another name together with their table, or without it."""
    return tuple(
        Carried(original=claims.column(move.old, old.raw), column=claims.column(move.new, new.raw), value="{}")
        for move in (Move(editor, *pair) for pair in pairs)
        for old, new in move.columns
    )


def _no_function_uses(moves: list[Move]) -> Proof:
    views, names = [move.old for move in moves], ", ".join(move.label for move in moves)
    return Proof(
        why=f"{moves[0].label}: no function of your triggers uses the old name",
        query=functions_using(views),
        failure=(
            f"{names}: that name can't go yet, because functions of triggers use it, and writes would fail. They are: "
            "{rows}. Nothing was changed. Let them use the new name, which works already, and run the same command "
            "again."
        ),
        done=NEVER.or_(*map(is_marked_view, views)).negated(),
    )
