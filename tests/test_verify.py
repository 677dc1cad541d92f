"""Drift made by hand: one line for each kind, and a repair that ends it while others read.

The default run takes one in three kinds; where SAFEMIGRATIONS_TEST_ONE_IN is 1, as in the matrix, all.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.contrib.postgres.constraints import ExclusionConstraint
from django.contrib.postgres.fields import IntegerRangeField
from django.contrib.postgres.indexes import GinIndex, OpClass
from django.db import connection, models
from django.db.migrations import CreateModel, Migration, RunPython, RunSQL
from django.db.migrations.operations import SeparateDatabaseAndState
from django.db.models import CheckConstraint, Deferrable, F, Index, Q, UniqueConstraint
from django.db.models.functions import Lower, Upper

from safemigrations.inspecting.drift import inspection
from safemigrations.inspecting.drift.expected import expected
from safemigrations.inspecting.drift.explained import told_by
from safemigrations.inspecting.drift.inspection import Inspection
from safemigrations.inspecting.drift.line import Line
from safemigrations.inspecting.drift.verify import find
from safemigrations.inspecting.drift.wanted import wanted
from safemigrations.plans.steps import Statement
from safemigrations.postgres.lock import Lock
from safemigrations.postgres.names import Name
from safemigrations.running.session import Session
from safemigrations.typed import applied_state

from .cases import PARTITIONED, VISIT, key
from .conftest import Connect, create_database, forget, new_database, on_server
from .releases import installed, migrate, write
from .representatives import ONE_IN

COLLATION = 'CREATE COLLATION german FROM "C"'
# Django makes these names up, so others are as good.
FIXED_NAMES = """
    DO $$ BEGIN
    EXECUTE (SELECT format('ALTER TABLE shop_book RENAME CONSTRAINT %I TO author', conname) FROM pg_constraint
    WHERE conrelid = 'shop_book'::regclass AND contype = 'f');
    EXECUTE (SELECT format('ALTER INDEX %I RENAME TO shelf', indexrelid::regclass::text) FROM pg_index
    WHERE indexrelid::regclass::text ~ '^shop_book_shelf_[0-9a-f]{8}$');
    END $$
"""
LIBRARY = "CREATE SCHEMA library"
ROWS = """
    INSERT INTO shop_author (name, code) VALUES ('Ann', 'a'), ('Bob', 'b');
    INSERT INTO shop_book (title, author_id, pages, isbn, shelf, "Order", span, data)
    VALUES ('Emma', 1, 100, 'x', 'a', 1, '[1,2)', '{}'), ('Persuasion', 2, 200, 'y', 'b', 2, '[3,4)', '{}');
    INSERT INTO shop_novel (book_ptr_id, plot) VALUES (1, 'p');
    INSERT INTO shop_visit (path, seconds) VALUES ('/', 1), ('/a', 2);
    INSERT INTO library."Loan" (days) VALUES (3);
"""


def _points_at(name: str, **options: Any) -> models.ForeignKey[Any, Any]:
    return models.ForeignKey(f"shop.{name}", models.CASCADE, **options)


OPERATIONS = (
    RunSQL(f"{COLLATION}; {LIBRARY}"),
    CreateModel(
        "Author",
        [
            key(),
            ("name", models.CharField(max_length=50, db_comment="as on the cover")),
            ("code", models.CharField(max_length=9)),
        ],
        {
            "db_table_comment": "people",
            "constraints": [UniqueConstraint(fields=["code"], name="author_code", deferrable=Deferrable.DEFERRED)],
        },
    ),
    CreateModel(
        "Book",
        [
            key(),
            ("title", models.CharField(max_length=100, db_collation="german")),
            ("author", _points_at("Author")),
            ("readers", models.ManyToManyField("shop.Author", related_name="read")),
            ("pages", models.PositiveIntegerField()),
            (
                "double",
                models.GeneratedField(expression=F("pages") * 2, output_field=models.IntegerField(), db_persist=True),
            ),
            ("state", models.CharField(max_length=10, db_default="open")),
            ("isbn", models.CharField(max_length=20, unique=True)),
            ("shelf", models.CharField(max_length=20, db_index=True)),
            ("order", models.IntegerField(db_column="Order")),
            ("note", models.CharField(max_length=20, null=True)),
            ("span", IntegerRangeField()),
            ("data", models.JSONField(default=dict)),
        ],
        {
            "indexes": [
                Index(fields=["pages", "-order"], name="book_pages"),
                Index(fields=["pages"], include=["title"], condition=Q(state="open"), name="book_open"),
                Index(Upper("title"), name="book_upper"),
                Index(OpClass(Lower("isbn"), "text_pattern_ops"), name="book_like"),
                GinIndex(fields=["data"], name="book_data", fastupdate=False),
            ],
            "constraints": [
                CheckConstraint(condition=Q(pages__lte=9999), name="book_pages_max"),
                UniqueConstraint(fields=["author", "order"], name="book_author_order"),
                UniqueConstraint(fields=["shelf"], condition=Q(state="lent"), name="book_shelf_lent"),
                ExclusionConstraint(expressions=[("span", "&&")], name="book_span"),
            ],
        },
    ),
    CreateModel(
        "Novel",
        [
            (
                "book_ptr",
                models.OneToOneField(
                    "shop.Book", models.CASCADE, auto_created=True, parent_link=True, primary_key=True
                ),
            ),
            ("plot", models.TextField()),
        ],
        bases=("shop.book",),
    ),
    CreateModel("Loan", [key(), ("days", models.IntegerField())], {"db_table": '"library"."Loan"'}),
    CreateModel("Report", [key(), ("text", models.TextField())], {"managed": False}),
    CreateModel("OldBook", [], {"proxy": True}, bases=("shop.book",)),
    SeparateDatabaseAndState([RunSQL(PARTITIONED, "DROP TABLE shop_visit")], [VISIT]),
    RunSQL(ROWS),
)


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path, str]]:
    """A database that is as its migrations say; the folder and the name of their package."""
    folder = tmp_path_factory.mktemp("verify")
    migration = Migration("0001_initial", "shop")
    migration.operations = list(OPERATIONS)  # type: ignore[misc]
    name, package = "safemigrations_verify_" + folder.parent.name.replace("-", "_"), write(folder, [migration])
    with pytest.MonkeyPatch.context() as patch, new_database("default", patch) as made:
        with installed(folder, package):
            migrate("0001_initial")
            with made.cursor() as cursor:
                cursor.execute(FIXED_NAMES)
        filled = made.settings_dict["NAME"]
        forget("default")
        create_database(name, filled)
    yield name, folder, package
    on_server("DROP DATABASE {} WITH (FORCE)", name)


@pytest.fixture
def database(template: tuple[str, Path, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    name, folder, package = template
    with new_database("default", monkeypatch, name) as made, installed(folder, package):
        yield made


@dataclass
class Drift:
    name: str
    sql: str
    line: str

    def __repr__(self) -> str:
        return self.name


TIMEOUT = 60  # seconds; only a test that fails takes so long
B = "ALTER TABLE shop_book"
DRIFTS = [
    Drift("table", 'DROP TABLE library."Loan"', "library.Loan: the table of model shop.Loan is missing"),
    Drift(
        "table_many_to_many",
        "DROP TABLE shop_book_readers",
        "shop_book_readers: the table of model shop.Book_readers is missing",
    ),
    Drift("table_of_child", "DROP TABLE shop_novel", "shop_novel: the table of model shop.Novel is missing"),
    Drift("column_null", f"{B} DROP note", "shop_book: column note is missing"),
    Drift("column_default", f"{B} DROP data", "shop_book: column data is missing"),
    Drift("column_db_default", f"{B} DROP state", "shop_book: column state is missing"),
    Drift("column_generated", f"{B} DROP double", "shop_book: column double is missing"),
    Drift(
        "type_narrower",
        f"{B} ALTER note TYPE varchar(10)",
        "shop_book: column note is character varying(10), where the migrations say character varying(20)",
    ),
    Drift(
        "type_other",
        f"{B} ALTER note TYPE text",
        "shop_book: column note is text, where the migrations say character varying(20)",
    ),
    Drift(
        "collation",
        f'{B} ALTER title TYPE varchar(100) COLLATE "C"',
        'shop_book: column title has collation "C", where the migrations say collation german',
    ),
    Drift(
        "not_null_lost",
        f"{B} ALTER shelf DROP NOT NULL",
        "shop_book: column shelf may be null, where the migrations say NOT NULL",
    ),
    Drift(
        "not_null_won",
        f"UPDATE shop_book SET note = ''; {B} ALTER note SET NOT NULL",
        "shop_book: column note can't be null, where the migrations say it may",
    ),
    Drift(
        "default_lost",
        f"{B} ALTER state DROP DEFAULT",
        "shop_book: column state has no default, where the migrations say default 'open'::character varying",
    ),
    Drift(
        "default_other",
        f"{B} ALTER state SET DEFAULT 'shut'",
        "shop_book: column state has default 'shut'::character varying, where the migrations say "
        "default 'open'::character varying",
    ),
    Drift(
        "default_unknown",
        f"{B} ALTER note SET DEFAULT 'x'",
        "shop_book: column note has default 'x'::character varying, where the migrations say no default",
    ),
    Drift("identity_lost", f"{B} ALTER id DROP IDENTITY", "shop_book: nothing numbers column id: inserts fail"),
    Drift(
        "identity_always",
        f"{B} ALTER id SET GENERATED ALWAYS",
        "shop_book: column id is GENERATED ALWAYS, where the migrations say BY DEFAULT: rows with a key are refused",
    ),
    Drift(
        "sequence_behind",
        "SELECT setval('shop_book_id_seq', 1)",
        "shop_book: sequence public.shop_book_id_seq stands at 1, behind id 2: inserts will fail",
    ),
    Drift(
        "sequence_small",
        "ALTER SEQUENCE shop_book_id_seq AS integer",
        "shop_book: sequence public.shop_book_id_seq ends with integer, where column id is bigint",
    ),
    Drift(
        "sequence_of_nobody",
        """
        ALTER TABLE shop_author ALTER id DROP IDENTITY; CREATE SEQUENCE numbers START 10;
        ALTER TABLE shop_author ALTER id SET DEFAULT nextval('numbers')""",
        "shop_author: sequence public.numbers doesn't belong to column id: it stays when that goes",
    ),
    Drift(
        "expression",
        f"{B} DROP double, ADD double integer GENERATED ALWAYS AS (pages * 3) STORED",
        "shop_book: column double is generated as (pages * 3), where the migrations say generated as (pages * 2)",
    ),
    Drift(
        "expression_lost",
        f"{B} ALTER double DROP EXPRESSION",
        "shop_book: column double isn't generated, where the migrations say generated as (pages * 2)",
    ),
    Drift("index", "DROP INDEX book_pages", 'shop_book: index book_pages on btree (pages, "Order" DESC) is missing'),
    Drift(
        "index_of_field", "DROP INDEX shelf", "shop_book: index shop_book_shelf_2f576c2c on btree (shelf) is missing"
    ),
    Drift(
        "index_order",
        'DROP INDEX book_pages; CREATE INDEX book_pages ON shop_book (pages, "Order")',
        'shop_book: index book_pages is btree (pages, "Order"), where the migrations say btree (pages, "Order" DESC)',
    ),
    Drift(
        "index_opclass",
        "DROP INDEX book_like; CREATE INDEX book_like ON shop_book (lower(isbn))",
        "shop_book: index book_like is btree (lower((isbn)::text)), where the migrations say "
        "btree (lower((isbn)::text) text_pattern_ops)",
    ),
    Drift(
        "index_include",
        "DROP INDEX book_open; CREATE INDEX book_open ON shop_book (pages) WHERE state = 'open'",
        "shop_book: index book_open is btree (pages) WHERE ((state)::text = 'open'::text), where "
        "the migrations say btree (pages) INCLUDE (title) WHERE ((state)::text = 'open'::text)",
    ),
    Drift(
        "index_condition",
        "DROP INDEX book_open; CREATE INDEX book_open ON shop_book (pages) INCLUDE (title)",
        "shop_book: index book_open is btree (pages) INCLUDE (title), where the migrations say "
        "btree (pages) INCLUDE (title) WHERE ((state)::text = 'open'::text)",
    ),
    Drift(
        "index_expression",
        "DROP INDEX book_upper; CREATE INDEX book_upper ON shop_book (lower(title))",
        "shop_book: index book_upper is btree (lower((title)::text)), where the migrations say "
        "btree (upper((title)::text))",
    ),
    Drift(
        "index_option",
        "DROP INDEX book_data; CREATE INDEX book_data ON shop_book USING gin (data)",
        "shop_book: index book_data is gin (data), where the migrations say gin (data) WITH (fastupdate=off)",
    ),
    Drift(
        "index_unique",
        "DROP INDEX book_shelf_lent; CREATE INDEX book_shelf_lent ON shop_book (shelf) WHERE state = 'lent'",
        "shop_book: index book_shelf_lent is btree (shelf) WHERE ((state)::text = 'lent'::text), "
        "where the migrations say UNIQUE btree (shelf) WHERE ((state)::text = 'lent'::text)",
    ),
    Drift(
        "index_name",
        "ALTER INDEX book_pages RENAME TO pages",
        "shop_book: index pages is called book_pages in the migrations",
    ),
    Drift(
        "index_twice",
        'CREATE INDEX again ON shop_book (pages, "Order" DESC)',
        "shop_book: index again is the same as index book_pages: every write pays for both",
    ),
    Drift(
        "index_unknown",
        "CREATE UNIQUE INDEX once ON shop_book (pages)",
        "shop_book: unique index once on btree (pages) is in no migration: inserts may fail",
    ),
    Drift(
        "index_invalid",
        "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'book_pages'::regclass",
        "public.shop_book: index book_pages is INVALID: every write pays for it and no query uses it",
    ),
    Drift(
        "index_of_partitioned",
        "DROP INDEX visit_seconds",
        "shop_visit: index visit_seconds on btree (seconds) is missing",
    ),
    Drift(
        "unique",
        f"{B} DROP CONSTRAINT shop_book_isbn_key",
        "shop_book: unique constraint shop_book_isbn_key on btree (isbn) is missing",
    ),
    Drift(
        "unique_of_meta",
        f"{B} DROP CONSTRAINT book_author_order",
        'shop_book: unique constraint book_author_order on btree (author_id, "Order") is missing',
    ),
    Drift(
        "unique_not_deferrable",
        """
        ALTER TABLE shop_author DROP CONSTRAINT author_code, ADD CONSTRAINT author_code UNIQUE (code)""",
        "shop_author: unique constraint author_code is UNIQUE btree (code), where the migrations "
        "say UNIQUE btree (code) DEFERRABLE INITIALLY DEFERRED",
    ),
    Drift(
        "unique_as_index",
        f"{B} DROP CONSTRAINT book_author_order; CREATE UNIQUE INDEX book_author_order ON "
        'shop_book (author_id, "Order")',
        "shop_book: book_author_order is a unique index, where the migrations say a unique constraint",
    ),
    Drift(
        "primary_key",
        "ALTER TABLE shop_novel DROP CONSTRAINT shop_novel_pkey",
        "shop_novel: primary key shop_novel_pkey on btree (book_ptr_id) is missing",
    ),
    Drift(
        "exclusion",
        f"{B} DROP CONSTRAINT book_span",
        "shop_book: exclusion constraint book_span on EXCLUDE USING gist (span WITH &&) is missing",
    ),
    Drift(
        "check",
        f"{B} DROP CONSTRAINT book_pages_max",
        "shop_book: check book_pages_max (CHECK ((pages <= 9999))) is missing",
    ),
    Drift(
        "check_of_field",
        f"{B} DROP CONSTRAINT shop_book_pages_check",
        "shop_book: check shop_book_pages_check (CHECK ((pages >= 0))) is missing",
    ),
    Drift(
        "check_other",
        f"{B} DROP CONSTRAINT book_pages_max, ADD CONSTRAINT book_pages_max CHECK (pages <= 999)",
        "shop_book: check book_pages_max is CHECK ((pages <= 999)), where the migrations say CHECK ((pages <= 9999))",
    ),
    Drift(
        "check_unknown",
        f"{B} ADD CONSTRAINT small CHECK (pages < 9999)",
        "shop_book: check small (CHECK ((pages < 9999))) is in no migration: writes may fail",
    ),
    Drift(
        "check_name",
        f"{B} RENAME CONSTRAINT book_pages_max TO most",
        "shop_book: check most is called book_pages_max in the migrations",
    ),
    Drift(
        "foreign_key",
        f"{B} DROP CONSTRAINT author",
        "shop_book: foreign key shop_book_author_id_82b8ab51_fk_shop_author_id (FOREIGN KEY "
        '("author_id") REFERENCES "shop_author" ("id") DEFERRABLE INITIALLY DEFERRED) is missing',
    ),
    Drift(
        "foreign_key_action",
        f"{B} DROP CONSTRAINT author, ADD CONSTRAINT author FOREIGN KEY (author_id) REFERENCES "
        "shop_author ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED",
        'shop_book: foreign key author is FOREIGN KEY ("author_id") REFERENCES "shop_author" '
        '("id") ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED, where the migrations say FOREIGN '
        'KEY ("author_id") REFERENCES "shop_author" ("id") DEFERRABLE INITIALLY DEFERRED',
    ),
    Drift(
        "foreign_key_at_once",
        f"{B} ALTER CONSTRAINT author NOT DEFERRABLE",
        'shop_book: foreign key author is FOREIGN KEY ("author_id") REFERENCES "shop_author" '
        '("id"), where the migrations say FOREIGN KEY ("author_id") REFERENCES "shop_author" '
        '("id") DEFERRABLE INITIALLY DEFERRED',
    ),
    Drift(
        "not_valid",
        f"{B} DROP CONSTRAINT book_pages_max, ADD CONSTRAINT book_pages_max CHECK (pages <= 9999) NOT VALID",
        "public.shop_book: check book_pages_max is NOT VALID: rows from before may break it",
    ),
    Drift(
        "not_valid_elsewhere",
        "CREATE TABLE other (a int); ALTER TABLE other ADD CONSTRAINT c CHECK (a > 0) NOT VALID",
        "public.other: check c is NOT VALID: rows from before may break it",
    ),
    Drift(
        "comment",
        "COMMENT ON COLUMN shop_author.name IS 'no'",
        "shop_author: column name has the comment 'no', where the migrations say 'as on the cover'",
    ),
    Drift(
        "comment_of_table",
        "COMMENT ON TABLE shop_author IS NULL",
        "shop_author: the table has no comment, where the migrations say 'people'",
    ),
    Drift(
        "column_unknown",
        f"{B} ADD extra integer NOT NULL DEFAULT 1; {B} ALTER extra DROP DEFAULT",
        "shop_book: column extra is in no migration, can't be null and has no default: inserts fail",
    ),
]
LEFT = "is left over: nothing needs it any more"
FUNCTION = "CREATE FUNCTION zzz_safemig_1_book_sync() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'"
LEFT_OVERS = [
    Drift("column", f"{B} ADD safemig_pages bigint", f"public.shop_book: column safemig_pages {LEFT}"),
    Drift(
        "trigger",
        f"{FUNCTION}; CREATE TRIGGER zzz_safemig_1_book_sync BEFORE INSERT ON shop_book FOR EACH ROW"
        " EXECUTE FUNCTION zzz_safemig_1_book_sync()",
        f"public.shop_book: trigger zzz_safemig_1_book_sync {LEFT}",
    ),
    Drift("function", FUNCTION, f"public.zzz_safemig_1_book_sync: function zzz_safemig_1_book_sync {LEFT}"),
    Drift(
        "view",
        "CREATE VIEW shop_volume AS SELECT * FROM shop_book AS safemig_old_name",
        f"public.shop_volume: view shop_volume {LEFT}",
    ),
    Drift("table", "CREATE TABLE safemig_shape (id bigint)", f"public.safemig_shape: table safemig_shape {LEFT}"),
    Drift(
        "index",
        "CREATE INDEX safemig_twin_0123456789abcdef ON shop_book (note)",
        f"public.shop_book: index safemig_twin_0123456789abcdef {LEFT}",
    ),
    Drift(
        "check",
        f"{B} ADD CONSTRAINT safemig_book_pages_fits CHECK (pages < 100000)",
        f"public.shop_book: constraint safemig_book_pages_fits {LEFT}",
    ),
    Drift(
        "unique",
        f"{B} ADD CONSTRAINT safemig_book_once UNIQUE (isbn, id)",
        f"public.shop_book: constraint safemig_book_once {LEFT}",
    ),
    Drift(
        "foreign_key",
        f"{B} ADD CONSTRAINT safemig_book_author FOREIGN KEY (author_id) REFERENCES shop_author",
        f"public.shop_book: foreign key safemig_book_author {LEFT}",
    ),
    Drift(
        "named_like_no_other",
        """CREATE SCHEMA "Old Shop"; CREATE TABLE "Old Shop"."Big ""Book" (id int); ALTER TABLE "Old Shop"."Big ""Book"
        ADD "safemig_it's" int""",
        f"""Old Shop.Big "Book: column safemig_it's {LEFT}""",
    ),
]


def found() -> list[tuple[Line, list[str]]]:
    drift = find(Inspection(connection))
    assert drift.notes == []
    return drift.lines


@pytest.mark.parametrize("drift", DRIFTS if ONE_IN == 1 else DRIFTS[::3], ids=repr)
def test_one_line_whose_repair_ends_it_while_others_read(drift, database, connect):
    assert_a_repair_ends_it(drift, connect)


@pytest.mark.parametrize("drift", LEFT_OVERS if ONE_IN == 1 else LEFT_OVERS[1::3], ids=repr)
def test_what_is_left_over_is_removed_while_others_read(drift, database, connect):
    assert_a_repair_ends_it(drift, connect)


def assert_a_repair_ends_it(drift: Drift, connect: Connect) -> None:
    connect().execute(drift.sql)
    lines = found()
    assert len(lines) == 1, [line.text for line, _ in lines]
    ((line, repair),) = lines
    assert f"{line.label}: {line.text}" == drift.line
    with ThreadPoolExecutor() as pool:
        with reading(connect):
            session = connect()
            running = pool.submit(run, session, left := list(repair))
            wait_until(lambda: running.done() or is_waiting(connect, session))
            assert_nobody_waits(connect, line)
            wait_until(lambda: running.done() or is_waiting(connect, session))
        gave_up = running.exception(TIMEOUT)
    if gave_up:
        assert isinstance(gave_up, psycopg.errors.LockNotAvailable), gave_up
        run(session, left)
    assert found() == []


@contextmanager
def reading(connect: Connect) -> Iterator[None]:
    """A transaction has read every table, and goes on."""
    session = connect()
    with session.transaction():
        tables = session.execute(
            "SELECT oid::regclass FROM pg_class WHERE relkind IN ('r', 'p') AND relname !~ '^(pg|sql)_'"
        )
        for (table,) in tables.fetchall():
            session.execute(f"SELECT FROM {table}")
        yield


def run(session: psycopg.Connection, left: list[str]) -> None:
    """Those that are done are taken out: whoever types them goes on with the one that gave up."""
    try:
        while left:
            session.execute(left[0])
            del left[0]
    finally:
        session.rollback()


def wait_until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + TIMEOUT
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def is_waiting(connect: Connect, session: psycopg.Connection) -> bool:
    waits = "SELECT 1 FROM pg_locks WHERE pid = %s AND NOT granted"
    return bool(connect().execute(waits, [session.info.backend_pid]).fetchall())


def assert_nobody_waits(connect: Connect, line: Line) -> None:
    """Longer than a repair does before it gives up."""
    session = connect()
    session.execute(f"SET statement_timeout = '{TIMEOUT // 2}s'")
    session.execute("SELECT count(*) FROM shop_book JOIN shop_author a ON a.id = author_id")
    session.execute("UPDATE shop_author SET name = name")
    session.execute("UPDATE shop_book SET pages = pages")


@pytest.mark.parametrize(
    ("table", "name", "is_held"), [("a", "kept", False), ("a", "at_k", True), ("b", "at_k", False)]
)
def test_a_contract_holds_an_index_by_its_statements_and_not_by_its_sentences(table, name, is_held):
    drop = Statement(why="a: the index kept for k goes", sql='DROP INDEX "at_k"', locks={'"a"': Lock.ACCESS_EXCLUSIVE})
    missing = Line("index_missing", Name.of(table), name, text="")
    assert told_by((drop,)).is_held(missing) == is_held


def test_nothing_is_drift_where_nothing_was_done(database):
    assert found() == []


def code_point_order(apps: Any, schema_editor: Any) -> None:
    schema_editor.execute('ALTER TABLE shop_author ALTER COLUMN code TYPE varchar(9) COLLATE "C"')


def test_what_the_migrations_say_in_python_is_no_drift(database, monkeypatch):
    database.cursor().execute('ALTER TABLE shop_author ALTER code TYPE varchar(9) COLLATE "C"')
    assert [line.text for line, _ in found()] == [
        'column code has collation "C", where the migrations say the collation of its type'
    ]
    monkeypatch.setattr(Inspection, "applied", lambda self: [_by_hand()])
    assert found() == []


def _by_hand() -> Migration:
    migration = Migration("0002_by_hand", "shop")
    migration.operations = [RunPython(code_point_order)]  # type: ignore[misc]
    return migration


def test_a_negation_that_was_written_when_the_field_could_be_null_is_no_drift(database):
    """As AlterField of Django leaves it; the same with other values is drift."""
    check, index = "ADD CONSTRAINT book_not_lent CHECK", "CREATE INDEX book_note_not ON shop_book (pages) WHERE"
    was = "NOT (state = '{}' AND state IS NOT NULL)"
    cursor = database.cursor()
    cursor.execute(f"{B} {check} ({was.format('lent')}); {index} {was.format('lent')}")
    with _also(
        CheckConstraint(condition=~Q(state="lent"), name="book_not_lent"),
        Index(fields=["pages"], condition=~Q(state="lent"), name="book_note_not"),
    ):
        assert found() == []
        cursor.execute(f"{B} DROP CONSTRAINT book_not_lent, {check} ({was.format('shut')})")
        assert [line.kind for line, _ in found()] == ["constraint_differs"]


@contextmanager
def _also(check: CheckConstraint, index: Index) -> Iterator[None]:
    """The migrations say these, too."""

    def state(executor: Any) -> Any:
        made = applied_state(executor)
        options = made.models["shop", "book"].options
        options["constraints"] = [*options["constraints"], check]
        options["indexes"] = [*options["indexes"], index]
        made.reload_model("shop", "book")
        return made

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(inspection, "applied_state", state)
        yield


def test_a_column_that_needs_a_value_says_so(database):
    database.cursor().execute(f"{B} DROP pages CASCADE")
    (repair,) = [repair for line, repair in found() if line.name == "pages"]
    assert repair[1] == '-- Where the table has rows, first: UPDATE "shop_book" SET "pages" = ...'


def test_an_index_that_stands_twice_in_the_state_is_made_once(database):
    state = Inspection(connection).state
    state.models["shop", "book"].options["indexes"] *= 2
    session = Session(connection)
    models_there = wanted("default", state, {"shop"})
    made = expected(session, models_there, {})
    assert made.unknown == {}
