"""An app without files, for the tests of one operation: its state, its tables, and what migrate does with them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

from django.db import connections, models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations import CreateModel, Migration, RunSQL
from django.db.migrations.operations.base import Operation
from django.db.migrations.optimizer import MigrationOptimizer
from django.db.migrations.recorder import MigrationRecorder
from django.db.migrations.state import ProjectState

from safemigrations.checking.conflicts import conflict
from safemigrations.contracts import carrying_out, queue
from safemigrations.errors import StepFailed
from safemigrations.hooks.writer import MigrationWriter
from safemigrations.operations.base import Change
from safemigrations.operations.of_migration import Placed, steps_back_of, steps_of
from safemigrations.operations.written import written
from safemigrations.running.foreseeing.foreseen import refuse_foreseen
from safemigrations.running.run import Report, Run, running
from safemigrations.typed import server_version

KEY = ("id", models.BigAutoField(primary_key=True))

# Tables, with their schemas, and names of something in them, as Django spells them.
AWKWARD = [
    ("Book's", "Mixed Case"),
    ('"library"."Shop Book"', "it's"),
    ('"library"."Shop Book"', "c" * 63),
    ("b" * 63, "c" * 63),
    ("b" * 63, "order"),
    ("книга", "столбец"),
    ('The ""Book"" {}', 'a ""b"" {0}'),
    ('"my ""own"" {}"."Shop ""Book"""', 'it""s {name}'),
]
# What follows each refusal of a name that a contract still holds.
CATCH_UP = (
    "\nWhere no other release is connected, as on a staging server that is several releases behind: "
    "python manage.py migrate --catch-up"
)
LIBRARY = RunSQL('CREATE SCHEMA library; CREATE SCHEMA "my ""own"" {}"')


def raw(name: str) -> str:
    """A name as the catalog has it; Django's own spelling doubles its quotes."""
    return name.replace('""', '"')


def quoted(table: str) -> str:
    """A table's name as it stands in a string constant that is cast to regclass."""
    return (table if table.startswith('"') else f'"{table}"').replace("'", "''")


def book(*fields: tuple[str, Any], **options: Any) -> CreateModel:
    """A Book with a title, and what a test needs besides."""
    return CreateModel("Book", [KEY, ("title", models.CharField(max_length=100)), *fields], options)


def not_null_as_printed(connection: BaseDatabaseWrapper, table: str, column: str, *, later: bool = False) -> str:
    """What sqlmigrate prints for a column that gets NOT NULL, on this server; `later`: as it prints the contract."""
    own, check = f"{table}_{column}_not_null", f"safemig_{table}_{column}_not_null"
    name, condition = (
        (own, f'NOT NULL "{column}"') if has_not_valid(connection) else (check, f'CHECK ("{column}" IS NOT NULL)')
    )
    lines = [
        f"-- {table}: {column} can't be null from now on",
        f'ALTER TABLE "{table}" ADD CONSTRAINT "{name}" {condition} NOT VALID;',
        f"-- {table}: no row has {column} null (checked without blocking)",
        f'ALTER TABLE "{table}" VALIDATE CONSTRAINT "{name}";',
    ]
    if not has_not_valid(connection):
        lines += [
            f"-- {table}: {column} NOT NULL, without a scan",
            f'ALTER TABLE "{table}" ALTER COLUMN "{column}" SET NOT NULL;',
            f'ALTER TABLE "{table}" DROP CONSTRAINT IF EXISTS "{check}";',
        ]
    return "\n".join(f"--   {line.removeprefix('-- ')}" if later else line for line in lines)


def null_again_as_printed(connection: BaseDatabaseWrapper, table: str, column: str) -> str:
    """What sqlmigrate prints for the way back from that."""
    drop = (
        f"-- {table}: drop the check behind {column} NOT NULL\n"
        f'ALTER TABLE "{table}" DROP CONSTRAINT IF EXISTS "safemig_{table}_{column}_not_null";\n'
    )
    back = f'-- {table}: {column} may be null\nALTER TABLE "{table}" ALTER COLUMN "{column}" DROP NOT NULL;'
    return back if has_not_valid(connection) else drop + back


def has_not_valid(connection: BaseDatabaseWrapper) -> bool:
    """NOT NULL ... NOT VALID, of PostgreSQL 18."""
    return server_version(connection) >= 180000


class Shop:
    """The app "shop" in one database; each call of `migrate` applies a migration of its own."""

    label = "shop"

    def __init__(self, connection: BaseDatabaseWrapper, *operations: Operation) -> None:
        self.connection = connection
        self.recorder = MigrationRecorder(connection)
        self.recorder.ensure_schema()
        self.states = [ProjectState()]
        self.migrations: list[Migration] = []
        self.migrate(*operations)

    @property
    def state(self) -> ProjectState:
        return self.states[-1]

    def model(self, name: str = "Book") -> Any:
        return self.state.apps.get_model(self.label, name)

    def migrate(self, *operations: Operation, report: Report | None = None) -> None:
        """What `migrate` does with one migration."""
        migration = self._migration(operations)
        run = Run(report or Report(), migration)
        self._make_room(migration, self.state, run)
        with running(run), self._editor(migration) as editor:
            state = migration.apply(self.state.clone(), editor)
        self.recorder.record_applied(self.label, migration.name)
        self.states.append(_unrendered(state))
        self.migrations.append(migration)

    def _make_room(self, migration: Migration, state: ProjectState, run: Run) -> None:
        """As the executor does before it applies a migration."""
        if self.connection.vendor != "postgresql":
            return
        holders = queue.holders(self.connection)
        run.freed = {claim for holder in holders for claim in holder.frees}
        placed = Placed(migration, state, self.connection)
        if found := conflict(placed, run, holders):
            raise StepFailed(found.explain(self.connection))
        refuse_foreseen(self.connection, steps_of(placed, run))

    def fake(self, *operations: Operation) -> None:
        """What `migrate --fake` does with one migration."""
        migration = self._migration(operations)
        self.recorder.record_applied(self.label, migration.name)
        self.states.append(_unrendered(migration.mutate_state(self.state.clone())))
        self.migrations.append(migration)

    def again(self) -> None:
        """The last migration once more: it was through when it was killed, but not recorded."""
        migration = self.migrations[-1]
        self.recorder.record_unapplied(self.label, migration.name)
        run = Run(migration=migration)
        self._make_room(migration, self.states[-2], run)
        with running(run), self._editor(migration) as editor:
            migration.apply(self.states[-2].clone(), editor)
        self.recorder.record_applied(self.label, migration.name)

    def contract(self) -> None:
        # There is no file to load it from.
        with patch("safemigrations.running.backfill.computed.current_apps", self.state.apps):
            carrying_out.contract(self.connection, Report())

    def back(self) -> None:
        """What `migrate shop <the one before>` does."""
        migration = self.migrations.pop()
        run = Run(migration=migration)
        if self.connection.vendor == "postgresql":
            refuse_foreseen(self.connection, steps_back_of(Placed(migration, self.states[-2], self.connection), run))
        with running(run), self._editor(migration) as editor:
            migration.unapply(self.states[-2].clone(), editor)
        self.recorder.record_unapplied(self.label, migration.name)
        self.states.pop()

    def left(self) -> list[str]:
        """What the contract still has to do."""
        return [row.label for row in queue.open_rows(self.connection)]

    def plan(self, *operations: Operation, backwards: bool = False) -> str:
        """What sqlmigrate prints, without the heading of each operation."""
        migration = self._migration(operations)
        with self.connection.schema_editor(collect_sql=True, atomic=False) as editor:
            if backwards:
                migration.unapply(self.state.clone(), editor, collect_sql=True)
            else:
                migration.apply(self.state.clone(), editor, collect_sql=True)
        return "\n".join(editor.collected_sql[3:])

    def execute(self, sql: str) -> list[Any]:
        """Rows; of a single column, its values."""
        with self.connection.cursor() as cursor:
            cursor.execute(sql)
            rows = cursor.fetchall() if cursor.description else []
        return [row[0] if len(row) == 1 else row for row in rows]

    def _migration(self, operations: tuple[Operation, ...]) -> Migration:
        migration = Migration(f"{len(self.migrations) + 1:04}", self.label)
        migration.operations = list(operations)  # type: ignore[misc]
        migration.atomic = not any(isinstance(operation, Change) for operation in operations)  # type: ignore[misc]
        return migration

    def _editor(self, migration: Migration) -> Any:
        return self.connection.schema_editor(atomic=migration.atomic)

    # What PostgreSQL says about a table. Names are as they stand in a statement.

    def columns(self, table: str = "shop_book") -> dict[str, str]:
        return dict(
            self.execute(
                "SELECT attname, format_type(atttypid, atttypmod)"
                " || CASE WHEN attnotnull THEN ' NOT NULL' ELSE '' END"
                " || coalesce(' DEFAULT ' || pg_get_expr(adbin, adrelid), '')"
                " FROM pg_attribute LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum"
                f" WHERE attrelid = '{table}'::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum"
            )
        )

    def indexes(self, table: str = "shop_book") -> dict[str, str]:
        """Without the primary key's."""
        return dict(
            self.execute(
                "SELECT relname, substring(pg_get_indexdef(indexrelid) FROM ' USING .*')"
                " || CASE WHEN indisvalid THEN '' ELSE ' INVALID' END"
                " FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid"
                f" WHERE indrelid = '{table}'::regclass AND NOT indisprimary ORDER BY relname"
            )
        )

    def constraints(self, table: str = "shop_book") -> dict[str, str]:
        """Without the primary key and, of PostgreSQL 18, NOT NULL."""
        return dict(
            self.execute(
                "SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint"
                f" WHERE conrelid = '{table}'::regclass AND contype NOT IN ('p', 'n') ORDER BY conname"
            )
        )

    def triggers(self, table: str = "shop_book") -> list[str]:
        return self.execute(
            f"SELECT tgname FROM pg_trigger WHERE tgrelid = '{table}'::regclass AND NOT tgisinternal ORDER BY tgname"
        )

    def tables(self) -> set[str]:
        """All but those of the ledger, which every run may leave."""
        found = set(self.connection.introspection.table_names())
        return {table for table in found if not table.startswith("safemigrations_history")}


def _unrendered(state: ProjectState) -> ProjectState:
    """As a process that starts knows it; models that were rendered for a migration know those of the state before."""
    return ProjectState({key: model.clone() for key, model in state.models.items()}, state.real_apps)


@contextmanager
def sqlite(directory: Path) -> Iterator[BaseDatabaseWrapper]:
    """Django's connection "lite", to an empty SQLite database."""
    connections.settings["lite"] = {
        **connections.settings["default"],
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": directory / "lite",
        "OPTIONS": {},
    }
    try:
        yield connections["lite"]
        connections["lite"].close()
    finally:
        del connections["lite"], connections.settings["lite"]


def assert_does_what_stock_does(directory: Path, ours: Operation, stock: Operation, *before: Operation) -> None:
    """On another backend: the same tables, forwards and backwards."""
    schemas = []
    for number, operation in enumerate((ours, stock)):
        place = directory / str(number)
        place.mkdir()
        with sqlite(place) as connection:
            shop = Shop(connection, *before)
            shop.migrate(operation)
            forwards = _schema(shop)
            shop.back()
            schemas.append((forwards, _schema(shop)))
    assert schemas[0] == schemas[1]
    assert schemas[0][0] != schemas[0][1]


def _schema(shop: Shop) -> list[str]:
    return shop.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY name")


class Nowhere:
    """A router that keeps the app out of every database."""

    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool | None:
        return False if app_label == Shop.label else None


def file_of(*operations: Operation) -> str:
    """The migration file that makemigrations writes, without its first line, which has the date."""
    migration = Migration("0002", Shop.label)
    migration.operations = list(operations)  # type: ignore[misc]
    return MigrationWriter(migration, include_header=False).as_string()


def read_back(operation: Operation) -> Any:
    """The operation that an import of the written file gives."""
    names: dict[str, Any] = {}
    exec(file_of(operation), names)
    (again,) = names["Migration"].operations
    return again


def assert_is_read_back(operation: Operation) -> None:
    again = read_back(operation)
    assert type(again) is type(operation)
    assert written(again) == written(operation)


def optimized(*operations: Operation) -> list[str]:
    """What squashing makes of operations, as written."""
    return [written(operation) for operation in MigrationOptimizer().optimize(list(operations), Shop.label)]
