"""Plans for a column and for what hangs on it: default, NOT NULL, index, unique, check, foreign key.

All SQL for types, indexes and constraints comes from Django's schema editor, so that the end is Django's own. What
the stock operations do in one blocking statement is taken apart here into steps that block nobody.
"""

from __future__ import annotations

import copy
from typing import Any

from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.backends.ddl_references import Statement as Reference
from django.db.models import NOT_PROVIDED, Field, Model

from ..data import Data
from ..postgres import catalog
from ..postgres.catalog import literal, object_name, temporary_name
from ..postgres.lock import Lock
from . import defaults
from .defaults import Kind
from .steps import AddUnique, BuildIndex, DropIndex, Instead, Online, Plan, Proof, Statement, Together

FK_SUFFIX = "_fk_%(to_table)s_%(to_column)s"  # BaseDatabaseSchemaEditor.add_field()
# pg_constraint.confdeltype: https://www.postgresql.org/docs/current/catalog-pg-constraint.html
ON_DELETE = {"": "a", "NO ACTION": "a", "RESTRICT": "r", "CASCADE": "c", "SET NULL": "n", "SET DEFAULT": "d"}


def raw(name: str) -> str:
    """A name without the quotes that a db_table or db_column may carry."""
    return name[1:-1] if name.startswith('"') and name.endswith('"') else name


def build_index(why: str, table: str, reference: Reference, *, analyze: bool = False) -> BuildIndex:
    """The step for an index that Django's builder described."""
    head, _, tail = reference.template.partition("%(table)s")
    name = catalog.identifier(raw(str(reference.parts["name"])))
    return BuildIndex(
        why=why,
        table=table,
        name=name,
        definition=str(Reference(tail, **reference.parts)).strip(),
        unique="UNIQUE" in head,
        analyze=analyze,
        takes=(f"index {name}",),
    )


def unique_constraint(
    editor: BaseDatabaseSchemaEditor,
    table: str,
    name: str,
    columns: tuple[str, ...],
    *,
    deferrable: str = "",
    nulls_distinct: str = "",
) -> Plan:
    """UNIQUE over quoted columns: the index is built without blocking, the constraint takes it over."""
    name = catalog.identifier(name)
    exists, label = catalog.unique_exists(table, name), catalog.bare(table)
    drop = Statement(
        why=f"{label}: drop unique constraint {name}",
        sql=f"ALTER TABLE {table} DROP CONSTRAINT IF EXISTS {editor.quote_name(name)}",
        locks={table: Lock.ACCESS_EXCLUSIVE},
        done=catalog.constraint_missing(table, name),
    )
    add = AddUnique(
        why=f"{label}: ({', '.join(map(raw, columns))}) is unique",
        table=table,
        name=name,
        columns=columns,
        deferrable=deferrable,
        nulls_distinct=nulls_distinct,
        done=exists,
        undo=(drop,),
    )
    return (
        BuildIndex(
            why=f"{label}: unique index {name}",
            table=table,
            name=name,
            definition=add.definition,
            unique=True,
            for_constraint=True,
            done=exists,
            takes=(f"index {name}",),
            undo=(DropIndex(why=f"{label}: drop index {name}", table=table, name=name),),
        ),
        add,
    )


def bound(field: Field[Any, Any], name: str) -> Any:
    """A field of a migration as its model will know it, with its column."""
    field = field.clone()
    field.set_attributes_from_name(name)
    return field


def check_constraint(
    editor: BaseDatabaseSchemaEditor,
    table: str,
    name: str,
    add: str,
    *,
    about: str = "",
    uses: tuple[str, ...] = (),
    violators: str = "",
) -> Plan:
    """A check added NOT VALID, behind a short lock, then validated online; `add` is the statement that does both."""
    name = catalog.identifier(name)
    label, quoted = catalog.bare(table), editor.quote_name(name)
    drop = Statement(
        why=f"{label}: drop check {name}",
        sql=f"ALTER TABLE {table} DROP CONSTRAINT IF EXISTS {quoted}",
        locks={table: Lock.ACCESS_EXCLUSIVE},
        done=catalog.constraint_missing(table, name, kind="c"),
        about=about,
        uses=uses,
    )
    return (
        Statement(
            why=f"{label}: check {name} holds for new rows",
            sql=f"{add} NOT VALID",
            locks={table: Lock.ACCESS_EXCLUSIVE},
            done=catalog.constraint_exists(table, name, kind="c"),
            undo=(drop,),
            about=about,
            uses=uses,
        ),
        Online(
            why=f"{label}: check {name} holds for every row (checked without blocking)",
            sql=f"ALTER TABLE {table} VALIDATE CONSTRAINT {quoted}",
            locks={table: Lock.SHARE_UPDATE_EXCLUSIVE},
            done=catalog.constraint_exists(table, name, validated=True, kind="c"),
            on_failure=(drop,),
            violators=violators,
            about=about,
            uses=uses,
        ),
    )


class Column(Data):
    """A field's column, as the model of some state describes it."""

    editor: BaseDatabaseSchemaEditor
    model: type[Model]
    field: Any  # a Field; the stubs lack column, target_field and others

    @property
    def table(self) -> str:
        """Quoted, as it stands in a statement."""
        return self.editor.quote_name(self.model._meta.db_table)

    @property
    def label(self) -> str:
        """The table's name for people."""
        return catalog.bare(self.table)

    @property
    def name(self) -> str:
        return raw(self.field.column)

    @property
    def quoted(self) -> str:
        return self.editor.quote_name(self.field.column)

    @property
    def key(self) -> tuple[str, ...]:
        """The quoted columns of the primary key."""
        pk = self.model._meta.pk
        fields = getattr(pk, "fields", None) or [pk]
        return tuple(self.editor.quote_name(field.column) for field in fields)

    @property
    def exists(self) -> str:
        return catalog.column_exists(self.table, self.name)

    @property
    def title(self) -> str:
        """How the queue and the messages call it."""
        return f"column {self.name} of {self.label}"

    @property
    def collation(self) -> str:
        """Quoted; empty where it is that of the type."""
        name = self.field.db_parameters(self.editor.connection).get("collation")
        return self.editor.quote_name(name) if name else ""

    @property
    def type_with_collation(self) -> str:
        return f"{self.type} COLLATE {self.collation}" if self.collation else self.type

    def definition(self, *, null: bool, default: str = "") -> str:
        """The column's type, collation and nullability, and nothing that scans or builds."""
        bare = copy.copy(self.field)
        bare.null, bare._unique, bare.primary_key = null, False, False
        bare.__dict__.pop("unique", None)  # a cached property of these two
        if not bare.generated:
            bare.db_default = NOT_PROVIDED
        sql, params = self.editor.column_sql(self.model, bare)
        text = self.editor.connection.ops.compose_sql(sql, params) if params else sql  # type: ignore[attr-defined]
        return f"{text} DEFAULT {default}" if default else str(text)

    def _alter(self, why: str, change: str, **rest: Any) -> Statement:
        return Statement(
            why=f"{self.label}: {why}",
            sql=f"ALTER TABLE {self.table} {change}",
            locks={self.table: Lock.ACCESS_EXCLUSIVE},
            about=self.title,
            **rest,
        )

    def add(self, why: str, *, null: bool, default: str = "") -> Plan:
        """The bare column, instantly: PostgreSQL stores a constant or STABLE default once for all rows."""
        comment = self._comment()
        sql = f"ALTER TABLE {self.table} ADD COLUMN {self.quoted} {self.definition(null=null, default=default)}"
        return (
            Together(
                why=f"{self.label}: {why}",
                sql=(sql, *comment),
                locks={self.table: Lock.ACCESS_EXCLUSIVE},
                done=f"{self.exists} AND a.atttypid = to_regtype({literal(self.type)})",
                # Its foreign key has gone by then, and with it the need to lock the parent.
                undo=(self.drop(locks={self.table: Lock.ACCESS_EXCLUSIVE}),),
                takes=(self.title,),
            ),
        )

    @property
    def type(self) -> str:
        return str(self.field.db_parameters(self.editor.connection)["type"])

    def _comment(self) -> tuple[str, ...]:
        comment = getattr(self.field, "db_comment", None)
        if not comment:
            return ()
        return (f"COMMENT ON COLUMN {self.table}.{self.quoted} IS {literal(comment)}",)

    def drop(self, why: str = "", *, locks: dict[str, Lock] | None = None, undo: Plan = ()) -> Statement:
        """Instant; PostgreSQL drops the column's indexes and constraints with it."""
        return Statement(
            why=f"{self.label}: {why or f'drop column {self.name}'}",
            sql=f"ALTER TABLE {self.table} DROP COLUMN IF EXISTS {self.quoted}",
            locks=locks or {**self.parent_locks(Lock.ACCESS_EXCLUSIVE), self.table: Lock.ACCESS_EXCLUSIVE},
            done=catalog.column_missing(self.table, self.name),
            undo=undo,
            frees=(self.title,),
        )

    @property
    def has_foreign_key(self) -> bool:
        return bool(self.field.remote_field) and bool(getattr(self.field, "db_constraint", False))

    def parent_locks(self, lock: Lock) -> dict[str, Lock]:
        """The lock on the table that a foreign key points at; it is taken first, as DELETE of a parent does."""
        return {self.parent: lock} if self.has_foreign_key else {}

    @property
    def parent(self) -> str:
        return self.editor.quote_name(self.field.target_field.model._meta.db_table)

    @property
    def default_of_all_rows(self) -> str:
        """SQL of the db_default, where that is no other value for each row; else empty."""
        instant = self.field.has_db_default() and defaults.kind(self.field) is Kind.INSTANT
        return defaults.sql(self.editor.connection, self.field) if instant else ""

    def analyze(self, *, done: str, about: str = "") -> Online:
        return Online(
            why=f"{self.label}: statistics of {self.name}",
            sql=f"ANALYZE {self.table} ({self.quoted})",
            locks={self.table: Lock.SHARE_UPDATE_EXCLUSIVE},
            done=done,
            about=about,
        )

    def set_default(self, default: str) -> Statement:
        return self._alter(
            f"{self.name} defaults to {default}",
            f"ALTER COLUMN {self.quoted} SET DEFAULT {default}",
            done=catalog.column_has_default(self.table, self.name),
        )

    def drop_default(self, *, undo: Plan = ()) -> Statement:
        return self._alter(
            f"{self.name} needs no default in the database any more",
            f"ALTER COLUMN {self.quoted} DROP DEFAULT",
            done=catalog.column_has_no_default(self.table, self.name),
            undo=undo,
        )

    def drop_not_null(self, *, undo: Plan = ()) -> Statement:
        return self._alter(
            f"{self.name} may be null",
            f"ALTER COLUMN {self.quoted} DROP NOT NULL",
            done=catalog.column_nullable(self.table, self.name),
            undo=undo,
        )

    def may_be_null(self) -> Statement:
        """DROP NOT NULL, with a way back that asks first."""
        keys = ", ".join(self.key)
        has_value = Proof(
            why=f"{self.label}: every row has {self.name}",
            query=f"SELECT {keys} FROM {self.table} WHERE {self.quoted} IS NULL",
            failure=(
                f"Rows of {self.label} have no {self.name}, which can't be null in the release that you go back "
                f"to: {keys} {{rows}}. The new release, or the contract, left them so. The column is there and may "
                f"be null: fill it (UPDATE {self.table} SET {self.quoted} = ... WHERE {self.quoted} IS NULL), "
                "then run the same command again."
            ),
            pages_of=self.table,
            done=catalog.column_not_null(self.table, self.name),
            about=self.title,
        )
        # Taken back from the last to the first: the proof comes before NOT NULL.
        return self.drop_not_null(undo=(has_value, *self.not_null()))

    def not_null(self) -> Plan:
        """NOT NULL without a scan under the lock: a CHECK that is validated online proves it.

        Two statements in the last step, because an ALTER TABLE that drops the check too would scan. PostgreSQL 18 has
        NOT NULL ... NOT VALID, which is validated likewise and needs no check, and so one strong lock less.
        https://www.postgresql.org/docs/current/sql-altertable.html#SQL-ALTERTABLE-DESC-SET-DROP-NOT-NULL
        """
        check = temporary_name(self.label, self.name, "not_null")
        quoted, own = (
            self.editor.quote_name(check),
            self.editor.quote_name(object_name(self.label, self.name, "not_null")),
        )
        already, since_18 = catalog.column_not_null(self.table, self.name), catalog.is_server(18)
        drop = self._alter(
            f"drop the check behind {self.name} NOT NULL",
            f"DROP CONSTRAINT IF EXISTS {quoted}",
            done=catalog.constraint_missing(self.table, check),
        )
        back = (drop, self.drop_not_null())
        begun = f"{catalog.constraint_exists(self.table, check)} UNION ALL {self._forbids_null}"
        change = f"ADD CONSTRAINT {own} NOT NULL {self.quoted} NOT VALID"
        return (
            self._alter(
                f"{self.name} can't be null from now on",
                f"ADD CONSTRAINT {quoted} CHECK ({self.quoted} IS NOT NULL) NOT VALID",
                done=f"{already} UNION ALL {begun}",
                undo=back,
                instead=Instead(when=since_18, sql=f"ALTER TABLE {self.table} {change}"),
            ),
            Online(
                why=f"{self.label}: no row has {self.name} null (checked without blocking)",
                sql=f"ALTER TABLE {self.table} VALIDATE CONSTRAINT {quoted}",
                locks={self.table: Lock.SHARE_UPDATE_EXCLUSIVE},
                done=f"{already} UNION ALL {catalog.constraint_exists(self.table, check, validated=True)}",
                on_failure=back,
                violators=f"SELECT {', '.join(self.key)} FROM {self.table} WHERE {self.quoted} IS NULL",
                about=self.title,
                instead=Instead(when=self._forbids_null, sql=f"ALTER TABLE {self.table} VALIDATE CONSTRAINT {own}"),
            ),
            Together(
                why=f"{self.label}: {self.name} NOT NULL, without a scan",
                sql=(
                    f"ALTER TABLE {self.table} ALTER COLUMN {self.quoted} SET NOT NULL",
                    f"ALTER TABLE {self.table} DROP CONSTRAINT IF EXISTS {quoted}",
                ),
                locks={self.table: Lock.ACCESS_EXCLUSIVE},
                done=f"{already} AND NOT EXISTS ({catalog.constraint_exists(self.table, check)})",
                about=self.title,
            ),
        )

    @property
    def _forbids_null(self) -> str:
        """Has it a NOT NULL that may be NOT VALID (PostgreSQL 18)?"""
        return catalog.column_forbids_null(self.table, self.name)

    def indexes(self) -> Plan:
        """The index of db_index=True and, for text, the one for LIKE."""
        return tuple(
            build_index(f"{self.label}: index {raw(str(reference.parts['name']))}", self.table, reference)
            for reference in self.editor._field_indexes_sql(self.model, self.field)  # type: ignore[attr-defined]
        )

    def unique_by_name(self) -> Plan:
        """UNIQUE, under the name that Django gives when it alters a column."""
        name = self.editor._create_index_name(self.model._meta.db_table, [self.field.column], suffix="_uniq")  # type: ignore[attr-defined]
        return unique_constraint(self.editor, self.table, name, (self.quoted,))

    def unique(self) -> Plan:
        """UNIQUE, under the name that PostgreSQL gives to the one that Django writes into ADD COLUMN."""
        if not self.field.unique:
            return ()
        name = object_name(self.label, self.name, "key")
        return unique_constraint(self.editor, self.table, name, (self.quoted,))

    @property
    def check_condition(self) -> str:
        """The check that belongs to the type, as of PositiveIntegerField."""
        return str(self.field.db_parameters(self.editor.connection)["check"] or "")

    def check(self) -> Plan:
        """The check, under the name that PostgreSQL gives to the one that Django writes into ADD COLUMN."""
        return self._check(object_name(self.label, self.name, "check")) if self.check_condition else ()

    def check_by_name(self) -> Plan:
        """The check, under the name that Django gives when it alters a column."""
        return self._check(
            self.editor._create_index_name(self.model._meta.db_table, [self.field.column], suffix="_check")  # type: ignore[attr-defined]
        )

    def _check(self, name: str) -> Plan:
        add = f"ALTER TABLE {self.table} ADD CONSTRAINT {self.editor.quote_name(name)} CHECK ({self.check_condition})"
        violators = f"SELECT {', '.join(self.key)} FROM {self.table} WHERE NOT ({self.check_condition})"
        return check_constraint(self.editor, self.table, name, add, about=self.title, violators=violators)

    # Foreign keys. Django's own has ON DELETE only where the model says DB_CASCADE and the like.

    def _reference(self) -> Reference:
        return self.editor._create_fk_sql(self.model, self.field, FK_SUFFIX)  # type: ignore[attr-defined,no-any-return]

    @property
    def foreign_key_name(self) -> str:
        return raw(str(self._reference().parts["name"]))

    @property
    def on_delete(self) -> str:
        """ON DELETE as the model has it; empty where Django answers, and before Django 6.1."""
        return str(self._reference().parts.get("on_delete_db", ""))

    def _foreign_key(self, action: str) -> str:
        """FOREIGN KEY as it stands in ADD CONSTRAINT, with another ON DELETE than the model's."""
        to = self._reference().parts
        deferrable = self.editor.connection.ops.deferrable_sql()
        return f"FOREIGN KEY ({self.quoted}) REFERENCES {to['to_table']} ({to['to_column']}){action}{deferrable}"

    def _own_foreign_key(self) -> str:
        """Does the column have the foreign key that Django would make?"""
        exists = catalog.constraint_exists(self.table, self.foreign_key_name)
        return f"{exists} AND contype = 'f' AND confdeltype = '{self._on_delete_code}'"

    def _own_foreign_key_or_of_leaves(self) -> str:
        of_leaves = catalog.foreign_key_of_partitions(self.table, self.foreign_key_name, self._on_delete_code)
        return f"{self._own_foreign_key()} UNION ALL {of_leaves}"

    @property
    def _on_delete_code(self) -> str:
        return ON_DELETE[self.on_delete.strip().removeprefix("ON DELETE ")]

    # Before PostgreSQL 18 a partitioned table can't have a foreign key that is NOT VALID. Its partitions can; and when
    # each has a valid one, the table's own takes them over without looking at a row.

    def _on_leaves(self, change: str) -> Instead:
        return Instead(when=self._has_leaves, sql=catalog.alter_partitions(self.table, change))

    @property
    def _has_leaves(self) -> str:
        return catalog.is_partitioned(self.table, before=18)

    def _drop_foreign_key(self) -> Statement:
        drop = f"DROP CONSTRAINT IF EXISTS {self.editor.quote_name(self.foreign_key_name)}"
        return Statement(
            why=f"{self.label}: drop foreign key {self.foreign_key_name}",
            sql=f"ALTER TABLE {self.table} {drop}",
            locks={self.parent: Lock.ACCESS_EXCLUSIVE, self.table: Lock.ACCESS_EXCLUSIVE},
            done=catalog.constraint_missing_everywhere(self.table, self.foreign_key_name),
            about=self.title,
            instead=Instead(when=self._has_leaves, sql=self._drop_everywhere()),
        )

    def foreign_key(self) -> Plan:
        """NOT VALID, then VALIDATE: both tables are locked only for the moment of the first."""
        if not self.has_foreign_key:
            return ()
        quoted, drop = self.editor.quote_name(self.foreign_key_name), self._drop_foreign_key()
        change = f"ADD CONSTRAINT {quoted} {self._foreign_key(self.on_delete)} NOT VALID"
        add = Statement(
            why=f"{self.label}: foreign key {self.foreign_key_name} holds for new rows",
            sql=f"{self._reference()} NOT VALID",
            locks={self.parent: Lock.SHARE_ROW_EXCLUSIVE, self.table: Lock.SHARE_ROW_EXCLUSIVE},
            done=self._own_foreign_key_or_of_leaves(),
            undo=(drop,),
            about=self.title,
            instead=self._on_leaves(change),
        )
        return (add, *self._validate_foreign_key(on_failure=(drop,)))

    def _validate_foreign_key(self, *, on_failure: Plan) -> Plan:
        quoted = self.editor.quote_name(self.foreign_key_name)
        validate = Online(
            why=f"{self.label}: foreign key {self.foreign_key_name} holds for every row (checked without blocking)",
            sql=f"ALTER TABLE {self.table} VALIDATE CONSTRAINT {quoted}",
            locks={self.parent: Lock.ROW_SHARE, self.table: Lock.SHARE_UPDATE_EXCLUSIVE},
            done=f"{self._own_foreign_key()} AND convalidated",
            on_failure=on_failure,
            violators=self.orphans(),
            about=self.title,
            instead=self._on_leaves(f"VALIDATE CONSTRAINT {quoted}"),
        )
        take_over = Statement(
            why=f"{self.label}: the foreign keys of the partitions are the table's",
            sql="",
            locks={self.parent: Lock.ACCESS_EXCLUSIVE, self.table: Lock.SHARE_ROW_EXCLUSIVE},
            done=f"{self._own_foreign_key()} UNION ALL SELECT 1 WHERE NOT EXISTS ({self._has_leaves})",
            about=self.title,
            instead=Instead(when=self._has_leaves, sql=str(self._reference())),
        )
        return (validate, take_over)

    def orphans(self) -> str:
        """The keys of the rows that point at no parent."""
        target = self.editor.quote_name(self.field.target_field.column)
        return (
            f"SELECT {', '.join(self.key)} FROM {self.table} AS child WHERE {self.quoted} IS NOT NULL AND NOT EXISTS"
            f" (SELECT FROM {self.parent} AS parent WHERE parent.{target} = child.{self.quoted})"
        )

    def foreign_key_of_expand(self, *, null: bool) -> Plan:
        """The foreign key of a new column, of which the old release knows nothing and so deletes what it points at.

        Without any, new code would meet rows whose parent is gone; Django's own would refuse the old release's DELETE.
        So it lets go, unless the model has the database answer anyhow (DB_CASCADE).
        """
        if self.has_foreign_key and self.on_delete:
            return self.foreign_key()
        return self.foreign_key_that_lets_go("SET NULL" if null else "SET DEFAULT")

    def foreign_key_that_lets_go(self, action: str) -> Plan:
        """NOT VALID, as own_foreign_key() exchanges it for one that is validated."""
        if not self.has_foreign_key:
            return ()
        quoted, rule = self.editor.quote_name(self.foreign_key_name), f" ON DELETE {action}"
        return (
            Statement(
                why=f"{self.label}: when the old release deletes a parent, {action} {self.name}",
                sql=f"ALTER TABLE {self.table} ADD CONSTRAINT {quoted} {self._foreign_key(rule)} NOT VALID",
                locks={self.parent: Lock.SHARE_ROW_EXCLUSIVE, self.table: Lock.SHARE_ROW_EXCLUSIVE},
                done=(
                    f"{catalog.constraint_exists(self.table, self.foreign_key_name)} UNION ALL"
                    f" {catalog.foreign_key_of_partitions(self.table, self.foreign_key_name, ON_DELETE[action])}"
                ),
                undo=(self._drop_foreign_key(),),
                about=self.title,
                instead=self._on_leaves(f"ADD CONSTRAINT {quoted} {self._foreign_key(rule)} NOT VALID"),
            ),
        )

    def drop_foreign_key(self, action: str = "", *, undo: Plan = ()) -> Statement:
        """Whatever its name, which is read from pg_constraint; or only the one with this ON DELETE."""
        keys = catalog.foreign_keys(self.table, self.name)
        if action:
            keys += f" AND confdeltype = '{ON_DELETE[action]}'"
        of_leaves = catalog.foreign_key_of_partitions(self.table, self.foreign_key_name, ON_DELETE[action])
        return Statement(
            why=f"{self.label}: drop the foreign key of {self.name}{action and f' that says {action}'}",
            sql=catalog.for_each(keys, catalog.drop_found(self.table)),
            locks={self.parent: Lock.ACCESS_EXCLUSIVE, self.table: Lock.ACCESS_EXCLUSIVE},
            done=f"SELECT 1 WHERE NOT EXISTS ({keys}) AND NOT EXISTS ({of_leaves})",
            undo=undo,
            instead=Instead(when=of_leaves, sql=self._drop_everywhere()),
        )

    def _drop_everywhere(self) -> str:
        drop = f"DROP CONSTRAINT IF EXISTS {self.editor.quote_name(self.foreign_key_name)}"
        return catalog.alter_partitions(self.table, drop, leaves_only=False)

    def own_foreign_key(self) -> Plan:
        """Django's own foreign key in the place of the one that lets go."""
        if not self.has_foreign_key:
            return ()
        quoted = self.editor.quote_name(self.foreign_key_name)
        drop = self._drop_foreign_key()
        exchange = Statement(
            why=f"{self.label}: foreign key {self.foreign_key_name} keeps its parents from now on",
            sql=(
                f"ALTER TABLE {self.table} DROP CONSTRAINT IF EXISTS {quoted},"
                f" ADD CONSTRAINT {quoted} {self._foreign_key(self.on_delete)} NOT VALID"
            ),
            locks={self.parent: Lock.ACCESS_EXCLUSIVE, self.table: Lock.ACCESS_EXCLUSIVE},
            done=self._own_foreign_key_or_of_leaves(),
            undo=(drop,),
            about=self.title,
            instead=self._on_leaves(
                f"DROP CONSTRAINT IF EXISTS {quoted},"
                f" ADD CONSTRAINT {quoted} {self._foreign_key(self.on_delete)} NOT VALID"
            ),
        )
        return (exchange, *self._validate_foreign_key(on_failure=(drop,)))

    def exchanged_foreign_key(self) -> Plan:
        """Django's own foreign key in the place of whichever the column has, whatever that is called."""
        quoted, keys = self.editor.quote_name(self.foreign_key_name), catalog.foreign_keys(self.table, self.name)
        add = f"ADD CONSTRAINT {quoted} {self._foreign_key(self.on_delete)} NOT VALID"
        change = (
            f"format('ALTER TABLE %s DROP CONSTRAINT %I, %s', {literal(self.table)}, found.conname, {literal(add)})"
        )
        exchange = Statement(
            why=f"{self.label}: foreign key {self.foreign_key_name} has{self.on_delete or ' no ON DELETE'}",
            sql=catalog.for_each(keys, f"EXECUTE {change};"),
            locks={self.parent: Lock.ACCESS_EXCLUSIVE, self.table: Lock.ACCESS_EXCLUSIVE},
            done=self._own_foreign_key(),
            about=self.title,
        )
        return (exchange, *self._validate_foreign_key(on_failure=()))  # its rows were checked by the one that goes

    def on_parent_delete(self, action: str) -> Plan:
        """Let the database answer for a release that doesn't know the foreign key and deletes a parent.

        The constraint is exchanged in one transaction for the same one with ON DELETE; its name is read from
        pg_constraint, because a table that was renamed keeps the old one. NOT VALID, so nothing is scanned: the rows
        were checked by the constraint that goes.
        https://www.postgresql.org/docs/current/ddl-constraints.html#DDL-CONSTRAINTS-FK
        """
        others = f"{catalog.foreign_keys(self.table, self.name)} AND confdeltype <> '{ON_DELETE[action]}'"
        rest = f" {self._foreign_key(f' ON DELETE {action}')} NOT VALID"
        exchange = "'ALTER TABLE %1$s DROP CONSTRAINT %2$I, ADD CONSTRAINT %2$I%3$s'"
        return (
            Statement(
                why=f"{self.label}: when a parent is deleted, {action} {self.name}: new code doesn't know it",
                sql=catalog.for_each(
                    others,
                    f"EXECUTE format({exchange}, {literal(self.table)}, found.conname, {literal(rest)});",
                ),
                locks={self.parent: Lock.ACCESS_EXCLUSIVE, self.table: Lock.ACCESS_EXCLUSIVE},
                done=f"SELECT 1 WHERE NOT EXISTS ({others})",
                undo=(self.drop_foreign_key(action), *self.foreign_key()),
                instead=Instead(when=self._has_leaves, sql=self._exchange_on_leaves(others, rest)),
            ),
        )

    def _exchange_on_leaves(self, others: str, rest: str) -> str:
        """One for all that the column has; by hand it may have got a second."""
        name = self.foreign_key_name
        change = literal(f"ADD CONSTRAINT {self.editor.quote_name(name)}{rest}")
        without = f"NOT EXISTS (SELECT FROM pg_constraint WHERE conrelid = relid AND conname = {literal(name)})"
        leaves = f"pg_partition_tree({catalog.regclass(self.table)}) WHERE isleaf AND {without}"
        add = f"SELECT string_agg(format('ALTER TABLE %s %s', relid::regclass, {change}), '; ') FROM {leaves}"
        return catalog.for_each(others, f"{catalog.drop_found(self.table)} EXECUTE coalesce(({add}), 'SELECT');")
