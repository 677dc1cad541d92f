"""Plans for a column and for what hangs on it: default, NOT NULL, index, unique, check, foreign key.

All SQL for types, indexes and constraints comes from Django's schema editor, so that the end is Django's own. What
the stock operations do in one blocking statement is taken apart here into steps that block nobody.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from typing import Any

from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.backends.ddl_references import Statement as Reference
from django.db.models import NOT_PROVIDED, Model

from . import catalog
from .catalog import literal, object_name, temporary_name
from .steps import BuildIndex, DropIndex, Lock, Online, Plan, Statement, Together

ON_DELETE = {"SET NULL": "n", "CASCADE": "c"}  # as pg_constraint has it
FK_SUFFIX = "_fk_%(to_table)s_%(to_column)s"  # BaseDatabaseSchemaEditor.add_field()


def raw(name: str) -> str:
    """A name without the quotes that a db_table or db_column may carry."""
    return name[1:-1] if name.startswith('"') and name.endswith('"') else name


def build_index(why: str, table: str, reference: Reference, *, analyze: bool = False) -> BuildIndex:
    """The step for an index that Django's builder described."""
    head, _, tail = reference.template.partition("%(table)s")
    return BuildIndex(
        why=why,
        table=table,
        name=raw(str(reference.parts["name"])),
        definition=str(Reference(tail, **reference.parts)).strip(),
        unique="UNIQUE" in head,
        analyze=analyze,
        takes=(f"index {raw(str(reference.parts['name']))}",),
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
    exists = catalog.constraint_exists(table, name)
    label, quoted = catalog.bare(table), editor.quote_name(name)
    drop = Statement(
        why=f"{label}: drop unique constraint {name}",
        sql=f"ALTER TABLE {table} DROP CONSTRAINT IF EXISTS {quoted}",
        locks={table: Lock.ACCESS_EXCLUSIVE},
        done=catalog.constraint_missing(table, name),
    )
    return (
        BuildIndex(
            why=f"{label}: unique index {name}",
            table=table,
            name=name,
            definition=f"({', '.join(columns)}){nulls_distinct}",
            unique=True,
            done=exists,
            takes=(f"index {name}",),
            undo=(DropIndex(why=f"{label}: drop index {name}", table=table, name=name),),
        ),
        Statement(
            why=f"{label}: ({', '.join(map(raw, columns))}) is unique",
            sql=f"ALTER TABLE {table} ADD CONSTRAINT {quoted} UNIQUE USING INDEX {quoted}{deferrable}",
            locks={table: Lock.ACCESS_EXCLUSIVE},
            done=exists,
            undo=(drop,),
        ),
    )


def check_constraint(
    editor: BaseDatabaseSchemaEditor, table: str, name: str, add: str, *, about: str = "", violators: str = ""
) -> Plan:
    """A check added NOT VALID, behind a short lock, then validated online; `add` is the statement that does both."""
    label, quoted = catalog.bare(table), editor.quote_name(name)
    drop = Statement(
        why=f"{label}: drop check {name}",
        sql=f"ALTER TABLE {table} DROP CONSTRAINT IF EXISTS {quoted}",
        locks={table: Lock.ACCESS_EXCLUSIVE},
        done=catalog.constraint_missing(table, name),
        about=about,
    )
    return (
        Statement(
            why=f"{label}: check {name} holds for new rows",
            sql=f"{add} NOT VALID",
            locks={table: Lock.ACCESS_EXCLUSIVE},
            done=catalog.constraint_exists(table, name),
            undo=(drop,),
            about=about,
        ),
        Online(
            why=f"{label}: check {name} holds for every row (checked without blocking)",
            sql=f"ALTER TABLE {table} VALIDATE CONSTRAINT {quoted}",
            locks={table: Lock.SHARE_UPDATE_EXCLUSIVE},
            done=catalog.constraint_exists(table, name, validated=True),
            on_failure=(drop,),
            violators=violators,
            about=about,
        ),
    )


@dataclass(frozen=True)
class Column:
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

    def definition(self, *, null: bool, default: str = "") -> str:
        """The column's type, collation and nullability, and nothing that scans or builds."""
        bare = copy.copy(self.field)
        bare.null, bare._unique, bare.primary_key = null, False, False
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

    def unless_gone(self, step: Statement) -> Statement:
        """A step of a way back: done again after a crash, it may find that the rest has dropped the column."""
        return replace(step, done=f"{step.done} UNION ALL {catalog.column_missing(self.table, self.name)}")

    def not_null(self) -> Plan:
        """NOT NULL without a scan under the lock: a CHECK that is validated online proves it.

        Two statements in the last step, because an ALTER TABLE that drops the check too would scan.
        https://www.postgresql.org/docs/current/sql-altertable.html#SQL-ALTERTABLE-DESC-SET-DROP-NOT-NULL
        """
        check = temporary_name(self.label, self.name, "not_null")
        already = catalog.column_not_null(self.table, self.name)
        drop = self._alter(
            f"drop the check behind {self.name} NOT NULL",
            f"DROP CONSTRAINT IF EXISTS {self.editor.quote_name(check)}",
            done=catalog.constraint_missing(self.table, check),
        )
        return (
            self._alter(
                f"{self.name} can't be null from now on",
                f"ADD CONSTRAINT {self.editor.quote_name(check)} CHECK ({self.quoted} IS NOT NULL) NOT VALID",
                done=f"{already} UNION ALL {catalog.constraint_exists(self.table, check)}",
                undo=(drop, self.unless_gone(self.drop_not_null())),
            ),
            Online(
                why=f"{self.label}: no row has {self.name} null (checked without blocking)",
                sql=f"ALTER TABLE {self.table} VALIDATE CONSTRAINT {self.editor.quote_name(check)}",
                locks={self.table: Lock.SHARE_UPDATE_EXCLUSIVE},
                done=f"{already} UNION ALL {catalog.constraint_exists(self.table, check, validated=True)}",
                on_failure=(drop,),
                violators=f"SELECT {', '.join(self.key)} FROM {self.table} WHERE {self.quoted} IS NULL",
                about=self.title,
            ),
            Together(
                why=f"{self.label}: {self.name} NOT NULL, without a scan",
                sql=(
                    f"ALTER TABLE {self.table} ALTER COLUMN {self.quoted} SET NOT NULL",
                    f"ALTER TABLE {self.table} DROP CONSTRAINT IF EXISTS {self.editor.quote_name(check)}",
                ),
                locks={self.table: Lock.ACCESS_EXCLUSIVE},
                done=f"{already} AND NOT EXISTS ({catalog.constraint_exists(self.table, check)})",
                about=self.title,
            ),
        )

    def indexes(self) -> Plan:
        """The index of db_index=True and, for text, the one for LIKE."""
        return tuple(
            build_index(f"{self.label}: index {raw(str(reference.parts['name']))}", self.table, reference)
            for reference in self.editor._field_indexes_sql(self.model, self.field)  # type: ignore[attr-defined]
        )

    def unique(self) -> Plan:
        """UNIQUE, under the name that PostgreSQL gives to the one that Django writes into ADD COLUMN."""
        if not self.field.unique:
            return ()
        name = object_name(self.label, self.name, "key")
        return unique_constraint(self.editor, self.table, name, (self.quoted,))

    def check(self) -> Plan:
        """The check that belongs to the type, as of PositiveIntegerField."""
        condition = self.field.db_parameters(self.editor.connection)["check"]
        if not condition:
            return ()
        name = object_name(self.label, self.name, "check")
        add = f"ALTER TABLE {self.table} ADD CONSTRAINT {self.editor.quote_name(name)} CHECK ({condition})"
        return check_constraint(self.editor, self.table, name, add, about=self.title)

    def _orphans(self) -> str:
        target = self.editor.quote_name(self.field.target_field.column)
        return (
            f"SELECT {', '.join(self.key)} FROM {self.table} AS child WHERE {self.quoted} IS NOT NULL AND NOT EXISTS"
            f" (SELECT FROM {self.parent} AS parent WHERE parent.{target} = child.{self.quoted})"
        )

    def foreign_key(self) -> Plan:
        """NOT VALID, then VALIDATE: both tables are locked only for the moment of the first."""
        if not self.has_foreign_key:
            return ()
        reference = self.editor._create_fk_sql(self.model, self.field, FK_SUFFIX)  # type: ignore[attr-defined]
        quoted = str(reference.parts["name"])
        name = raw(quoted)
        drop = Statement(
            why=f"{self.label}: drop foreign key {name}",
            sql=f"ALTER TABLE {self.table} DROP CONSTRAINT IF EXISTS {quoted}",
            locks={self.parent: Lock.ACCESS_EXCLUSIVE, self.table: Lock.ACCESS_EXCLUSIVE},
            done=catalog.constraint_missing(self.table, name),
        )
        return (
            Statement(
                why=f"{self.label}: foreign key {name} holds for new rows",
                sql=f"{reference} NOT VALID",
                locks={self.parent: Lock.SHARE_ROW_EXCLUSIVE, self.table: Lock.SHARE_ROW_EXCLUSIVE},
                done=catalog.constraint_exists(self.table, name),
                undo=(drop,),
                about=self.title,
            ),
            Online(
                why=f"{self.label}: foreign key {name} holds for every row (checked without blocking)",
                sql=f"ALTER TABLE {self.table} VALIDATE CONSTRAINT {quoted}",
                locks={self.parent: Lock.ROW_SHARE, self.table: Lock.SHARE_UPDATE_EXCLUSIVE},
                done=catalog.constraint_exists(self.table, name, validated=True),
                on_failure=(drop,),
                violators=self._orphans(),
                about=self.title,
            ),
        )

    def drop_foreign_key(self, action: str = "", *, undo: Plan = ()) -> Statement:
        """Whatever its name, which is read from pg_constraint; or only the one with this ON DELETE."""
        keys = catalog.foreign_keys(self.table, self.name)
        if action:
            keys += f" AND confdeltype = '{ON_DELETE[action]}'"
        return Statement(
            why=f"{self.label}: drop the foreign key of {self.name}{action and f' that says {action}'}",
            sql=catalog.for_each(
                keys, f"EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I', {literal(self.table)}, found.conname);"
            ),
            locks={self.parent: Lock.ACCESS_EXCLUSIVE, self.table: Lock.ACCESS_EXCLUSIVE},
            done=f"SELECT 1 WHERE NOT EXISTS ({keys})",
            undo=undo,
        )

    def on_parent_delete(self, action: str) -> Plan:
        """Let the database answer for a release that doesn't know the foreign key and deletes a parent.

        The constraint is exchanged in one transaction for the same one with ON DELETE; its name is read from
        pg_constraint, because a table that was renamed keeps the old one. NOT VALID, so nothing is scanned: the rows
        were checked by the constraint that goes.
        https://www.postgresql.org/docs/current/ddl-constraints.html#DDL-CONSTRAINTS-FK
        """
        others = f"{catalog.foreign_keys(self.table, self.name)} AND confdeltype <> '{ON_DELETE[action]}'"
        reference = self.editor._create_fk_sql(self.model, self.field, FK_SUFFIX)  # type: ignore[attr-defined]
        target = f"({self.quoted}) REFERENCES {reference.parts['to_table']} ({reference.parts['to_column']})"
        rest = f" FOREIGN KEY {target} ON DELETE {action}{self.editor.connection.ops.deferrable_sql()} NOT VALID"
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
            ),
        )
