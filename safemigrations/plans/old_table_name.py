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
from ..postgres import catalog
from ..postgres.catalog import bare, literal, raw, regclass, temporary_name
from ..postgres.lock import Lock
from ..typed import create_fk_sql, field_should_be_altered, through
from . import claims
from .claims import Claim
from .foreign_key import FK_SUFFIX
from .steps import Plan, Proof, Statement, Step, Together
from .tables import bare_name


class Move(Data):
    """A table whose name changes, or the names of its columns, or both; it is a table of Django's two states."""

    editor: BaseDatabaseSchemaEditor
    before: type[Model]
    after: type[Model]

    @property
    def old(self) -> str:
        return self.editor.quote_name(self.before._meta.db_table)

    @property
    def new(self) -> str:
        return self.editor.quote_name(self.after._meta.db_table)

    @property
    def label(self) -> str:
        return bare(self.old)

    @property
    def claim(self) -> Claim:
        """What keeps the types of the table's columns as they are."""
        return claims.view_of(self.new)

    @property
    def aside(self) -> str:
        """Where the table is until the contract: under its new name, or, where that is the old one, out of the way."""
        if self.old != self.new:
            return self.new
        return catalog.beside(self.old, temporary_name(self.label))

    @property
    def columns(self) -> list[tuple[str, str]]:
        """Quoted old and new names of the columns that are renamed."""
        pairs = zip(self.before._meta.local_concrete_fields, self.after._meta.local_concrete_fields, strict=True)
        quote = self.editor.quote_name
        quoted = [(quote(str(old.column)), quote(str(new.column))) for old, new in pairs]
        return [(old, new) for old, new in quoted if old != new]

    def plan(self) -> Plan:
        if moves_to_another_schema(raw(self.before._meta.db_table), raw(self.after._meta.db_table)):
            raise StepFailed(f"{self.label} can't be renamed to {self.new}. {OTHER_SCHEMA}")
        return (_is_safe_behind_a_view(self), self._expand())

    def _expand(self) -> Together:
        names = f"{self.label} is called {bare(self.new)}" if self.old != self.new else f"{self.label} is set aside"
        return Together(
            why=f"{self.label}: {names}, and a view has the old names",
            sql=(*_rename(self.old, self.aside), *self._view(), *_like_the_table(self.old, self.aside)),
            locks={self.old: Lock.ACCESS_EXCLUSIVE},
            done=self._is_done(),
            undo=(self._back(),),
            takes=tuple(dict.fromkeys(map(claims.table, (self.old, self.new)))),
        )

    def _is_done(self) -> str:
        """Also when the contract has been run already, in a run that was killed before it was recorded."""
        if self.old != self.new:
            return f"{catalog.table_exists(self.new)} AND NOT EXISTS ({catalog.is_table(self.old)})"
        return catalog.column_exists(self.old, raw(self.columns[0][1]))

    def _view(self) -> tuple[str, ...]:
        """The view gets the column names of the moment, so it has those that the state no longer knows, too."""
        comment = f"COMMENT ON VIEW {self.old} IS {literal(catalog.VIEW_MARK)}"
        if self.old != self.new:
            view = f"CREATE VIEW {self.old} AS SELECT * FROM {self.aside}"
            return (view, *self._rename_columns(self.aside), comment)
        also = "".join(f", {old} AS {new}" for old, new in self.columns)
        return (f"CREATE VIEW {self.old} AS SELECT *{also} FROM {self.aside}", comment)

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
            done=catalog.is_table(self.old),
            takes=(claims.table(self.old),),
        )

    def contract(self) -> Step:
        if self.old != self.new:
            return Statement(
                why=f"{self.label}: drop the view; the table is called {bare(self.new)}",
                sql=f"DROP VIEW IF EXISTS {self.old}",
                locks={self.old: Lock.ACCESS_EXCLUSIVE},
                done=f"SELECT 1 WHERE NOT EXISTS ({catalog.is_marked_view(self.old)})",
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
            done=catalog.column_exists(self.old, raw(self.columns[0][1])) + f" AND ({catalog.is_table(self.old)}) = 1",
            undo=(self._names_of_columns_back(),),
            takes=(claims.table(self.old),),
            works_on=(self.claim,),
        )

    def _names_of_columns_back(self) -> Together:
        return Together(
            why=f"{self.label}: its columns have their old names again",
            sql=tuple(f"ALTER TABLE {self.old} RENAME COLUMN {new} TO {old}" for old, new in self.columns),
            locks={self.old: Lock.ACCESS_EXCLUSIVE},
            done=catalog.column_exists(self.old, raw(self.columns[0][0])),
        )


OTHER_SCHEMA = (
    "Django can't move a table into another schema. Do it by hand: ALTER TABLE ... SET SCHEMA, and a view under the "
    "old name for the release that is still running, in a RunSQL beside AlterModelTable in SeparateDatabaseAndState."
)


def moves_to_another_schema(old: str, new: str) -> bool:
    """Of two db_tables; the schema that an unqualified one is in only the search_path knows."""
    schemas = [table.strip('"').rpartition('"."')[0] for table in (old, new)]
    return schemas[0] != schemas[1]


def _rename(table: str, to: str) -> tuple[str, ...]:
    return (f'ALTER TABLE {table} RENAME TO "{bare(to)}"',)


def _is_safe_behind_a_view(move: Move) -> Proof:
    """A view asks for the rights of its owner, who may do all; or (security_invoker) for those of who reads, on all
    columns of the table. Row-level security needs the second, which PostgreSQL 14 doesn't have; grants on single
    columns need the first.
    """
    reason = f"CASE WHEN {NEW_ENOUGH} THEN 'grants on columns' ELSE 'a server before PostgreSQL 15' END"
    return Proof(
        why=f"{move.label}: its row-level security holds behind a view, too",
        query=(
            f"SELECT {reason} FROM pg_class WHERE oid = {regclass(move.old)} AND relkind <> 'v' AND relrowsecurity"
            f" AND NOT ({NEW_ENOUGH} AND NOT EXISTS ({_column_grants(move.old)}))"
        ),
        failure=(
            f"A view can't stand for {move.label}, which has row-level security and {{rows}}. Nothing was changed. "
            f"Give the model db_table = '{move.label}' in its Meta instead, which leaves the table alone."
        ),
    )


NEW_ENOUGH = "current_setting('server_version_num')::int >= 150000"


def _column_grants(table: str) -> str:
    return f"SELECT 1 FROM pg_attribute WHERE attrelid = {regclass(table)} AND attacl IS NOT NULL"


def _like_the_table(view: str, table: str) -> tuple[str, ...]:
    """Owner, rights of the one who asks (PostgreSQL 15), and grants: only the catalog knows them."""
    owner = (
        f"SELECT pg_get_userbyid(relowner) AS name FROM pg_class WHERE oid = {regclass(table)}"
        f" AND relowner <> (SELECT relowner FROM pg_class WHERE oid = {regclass(view)})"
    )
    grants = (
        "SELECT g.privilege_type || g.columns AS what, CASE g.grantee WHEN 0 THEN 'PUBLIC' ELSE"
        " quote_ident(pg_get_userbyid(g.grantee)) END AS who, CASE WHEN g.is_grantable THEN ' WITH GRANT OPTION' ELSE"
        " '' END AS further FROM (SELECT a.*, '' AS columns FROM pg_class c, aclexplode(c.relacl) a"
        f" WHERE c.oid = {regclass(table)} UNION ALL SELECT a.*, format(' (%I)', v.attname) FROM pg_attribute t"
        f" JOIN pg_attribute v ON v.attrelid = {regclass(view)} AND v.attname = t.attname, aclexplode(t.attacl) a"
        f" WHERE t.attrelid = {regclass(table)} AND t.attnum > 0) AS g"
    )
    invoker = f"SELECT 1 WHERE {NEW_ENOUGH} AND NOT EXISTS ({_column_grants(table)})"
    # The grants first, while the view still belongs to who makes them.
    return (
        catalog.for_each(
            grants, f"EXECUTE format('GRANT %s ON %s TO %s%s', found.what, {literal(view)}, found.who, found.further);"
        ),
        catalog.for_each(invoker, f"ALTER VIEW {view} SET (security_invoker = true);"),
        catalog.for_each(owner, f"EXECUTE format('ALTER VIEW %s OWNER TO %I', {literal(view)}, found.name);"),
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


def labels(pairs: Iterable[Pair]) -> str:
    return ", ".join(bare_name(before._meta.db_table) for before, _ in pairs)


def _differ(before: type[Model], after: type[Model]) -> bool:
    names = [(each._meta.db_table, *(f.column for f in each._meta.local_concrete_fields)) for each in (before, after)]
    return names[0] != names[1]


def _own(old: type[Model], new: type[Model]) -> Iterator[tuple[Any, Any]]:
    """The many-to-many fields of the model whose tables Django makes."""
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
    """Django drops and adds the foreign keys that point at a renamed table; all that changes is their names."""
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
    names = [str(create_fk_sql(editor, field.model, field, FK_SUFFIX).parts["name"]) for field in (before, after)]
    table, column = editor.quote_name(after.model._meta.db_table), raw(after.column)
    return _rename_foreign_key(table, column, names[1], undo=(_rename_foreign_key(table, column, names[0]),))


def _rename_foreign_key(table: str, column: str, name: str, undo: Plan = ()) -> Statement:
    others = f"{catalog.foreign_keys(table, column)} AND conname <> {literal(raw(name))}"
    arguments = f"{literal(table)}, found.conname, {literal(raw(name))}"
    rename = f"EXECUTE format('ALTER TABLE %s RENAME CONSTRAINT %I TO %I', {arguments});"
    return Statement(
        why=f"{bare(table)}: the foreign key of {column} is called {raw(name)}",
        sql=catalog.for_each(others, rename),
        locks={table: Lock.ACCESS_EXCLUSIVE},
        done=f"SELECT 1 WHERE NOT EXISTS ({others})",
        undo=undo,
    )


def expand(editor: BaseDatabaseSchemaEditor, pairs: Iterable[Pair]) -> Plan:
    """The proofs first, so that nothing has been touched when one fails."""
    plans = [Move(editor, *pair).plan() for pair in pairs]
    return (*(proof for proof, _ in plans), *(step for _, step in plans))


def contract(editor: BaseDatabaseSchemaEditor, pairs: Iterable[Pair]) -> Plan:
    moves = [Move(editor, *pair) for pair in pairs]
    renamed = [move for move in moves if move.old != move.new]
    return (*([_no_function_uses(renamed)] if renamed else []), *(move.contract() for move in moves))


def _no_function_uses(moves: list[Move]) -> Proof:
    views, names = [move.old for move in moves], ", ".join(move.label for move in moves)
    return Proof(
        why=f"{moves[0].label}: no function of your triggers uses the old name",
        query=catalog.functions_using(views),
        failure=(
            f"{names}: that name can't go yet, because functions of triggers use it, and writes would fail. They are: "
            "{rows}. Nothing was changed. Let them use the new name, which works already, and run the same command "
            "again."
        ),
        done=f"SELECT 1 WHERE NOT EXISTS ({' UNION ALL '.join(map(catalog.is_marked_view, views))})",
    )
