"""What keeps a plan from being carried out on certain tables: it is found and named before anything is touched."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest
from django.db import IntegrityError, models
from django.db.migrations import CreateModel, RunSQL
from django.db.models import F, Value
from django.test import override_settings

from safemigrations.errors import StepFailed
from safemigrations.operations import (
    AddConstraintConcurrently,
    AddFieldNullableThenBackfill,
    AddIndexConcurrently,
    Backfill,
    ExpandAlterField,
    ExpandRename,
    RemoveFieldLater,
    SetNotNullLater,
)
from safemigrations.postgres.snapshot import difference, snapshot
from safemigrations.running.backfill import control
from safemigrations.running.foreseeing.foreseen import refuse_foreseen
from safemigrations.running.run import Report

from .shop import KEY, Shop, book

NOTE = models.CharField(max_length=40, null=True)
RENAME = ExpandRename("book", "title", "name")
RETYPE = ExpandAlterField("book", "title", models.CharField(max_length=90))
FILL = Backfill("book", {"note": Value("none")})
NOT_NULL = SetNotNullLater("book", "note", models.CharField(max_length=40), backfill=Value("none"))
COMPUTED = AddFieldNullableThenBackfill("book", "twice", models.BigIntegerField(), backfill=F("id") * 2)
UNIQUE = AddConstraintConcurrently("book", models.UniqueConstraint(fields=["title"], name="book_title"))
INDEX = AddIndexConcurrently("book", models.Index(fields=["title"], name="book_by_title"))

POLICY = """
    ALTER TABLE {0} ENABLE ROW LEVEL SECURITY; ALTER TABLE {0} FORCE ROW LEVEL SECURITY;
    CREATE POLICY nobody ON {0} USING (FALSE)
"""
HIDDEN = (
    "Row security hides rows of shop_book from the role owner, and rows that it can't see would count as rows that "
    "aren't there. Nothing was changed. Use a role that has BYPASSRLS, or type, for the time: ALTER TABLE shop_book NO "
    "FORCE ROW LEVEL SECURITY. Then run the same command again."
)
ROLE = "DO $$ BEGIN IF to_regrole('owner') IS NULL THEN CREATE ROLE owner; END IF; END $$"


@contextmanager
def as_role(shop: Shop, name: str) -> Iterator[None]:
    shop.execute(f"SET ROLE {name}")
    try:
        yield
    finally:
        shop.execute("RESET ROLE")


@pytest.fixture
def owned(database) -> Shop:
    """A shop of a role that can't bypass policies, with a row."""
    shop = Shop(database)
    with suppress(IntegrityError):  # another test has just made it: roles belong to the whole server
        shop.execute(ROLE)
    shop.execute("GRANT ALL ON SCHEMA public TO owner; GRANT ALL ON ALL TABLES IN SCHEMA public TO owner")
    with as_role(shop, "owner"):
        shop.migrate(book(("note", NOTE)))
        shop.execute("INSERT INTO shop_book (title) VALUES ('Emma')")
    return shop


@pytest.mark.parametrize(
    "operation", [RENAME, RETYPE, FILL, NOT_NULL, COMPUTED, UNIQUE], ids=lambda one: type(one).__name__
)
def test_rows_that_a_policy_hides_stop_what_reads_them(owned, operation):
    owned.execute(POLICY.format("shop_book"))
    before = owned.columns(), owned.triggers(), owned.constraints()
    with as_role(owned, "owner"), pytest.raises(StepFailed) as error:
        owned.migrate(operation)
    assert str(error.value) == HIDDEN
    assert (owned.columns(), owned.triggers(), owned.constraints()) == before


def test_what_reads_no_row_goes_on(owned):
    """PostgreSQL builds an index of all rows, whatever its policies say."""
    owned.execute(POLICY.format("shop_book"))
    with as_role(owned, "owner"):
        owned.migrate(INDEX)
    assert "book_by_title" in owned.indexes()


def test_a_role_that_sees_all_rows_goes_on(owned):
    owned.execute(POLICY.format("shop_book"))
    owned.migrate(RENAME)
    owned.contract()
    assert owned.execute("SELECT name FROM shop_book") == ["Emma"]


def test_the_contract_asks_again(owned):
    with as_role(owned, "owner"):
        owned.migrate(RENAME)
        owned.execute(POLICY.format("shop_book"))
        with pytest.raises(StepFailed, match="Row security hides rows of shop_book from the role owner"):
            owned.contract()
    assert owned.columns().keys() >= {"title", "name"}


def test_the_way_back_asks_again(owned):
    with as_role(owned, "owner"):
        owned.migrate(RETYPE)
        owned.contract()
        owned.execute(POLICY.format("shop_book"))
        with pytest.raises(StepFailed, match="Row security hides rows of shop_book from the role owner"):
            owned.back()
    assert owned.columns()["title"] == "character varying(90) NOT NULL"


@override_settings(SAFEMIGRATIONS={"BACKFILL_BATCH_SIZE": 1, "BACKFILL_INLINE_ROWS": 1})
def test_a_worker_asks_again(owned):
    owned.execute("INSERT INTO shop_book (title) SELECT n::text FROM generate_series(1, 500) n; ANALYZE shop_book")
    with as_role(owned, "owner"):
        owned.migrate(Backfill("book", {"note": Value("none")}, where=models.Q(note=None), can_wait=True))
        owned.execute(POLICY.format("shop_book"))
        with pytest.raises(StepFailed) as error:
            control.run(owned.connection, Report(), workers=1)
        assert str(error.value) == HIDDEN
        owned.execute("ALTER TABLE shop_book NO FORCE ROW LEVEL SECURITY")
        control.run(owned.connection, Report(), workers=1)
    assert owned.execute("SELECT count(*) FROM shop_book WHERE note IS NULL") == [0]


def test_policies_of_a_partition_count_where_its_table_is_read(owned):
    columns = "id bigint PRIMARY KEY, title varchar(100) NOT NULL, note varchar(40)"
    owned.execute(f"DROP TABLE shop_book; CREATE TABLE shop_book ({columns}) PARTITION BY RANGE (id)")
    owned.execute("CREATE TABLE part PARTITION OF shop_book FOR VALUES FROM (0) TO (99)")
    owned.execute("ALTER TABLE shop_book OWNER TO owner; ALTER TABLE part OWNER TO owner")
    owned.execute(POLICY.format("part"))
    with (
        as_role(owned, "owner"),
        pytest.raises(StepFailed, match="Row security hides rows of part from the role owner"),
    ):
        owned.migrate(FILL)


def test_what_a_backfill_reads_by_itself_fails_where_a_policy_hides_rows(owned):
    """Nobody foresees what a function or SQL by hand reads."""
    owned.execute("CREATE TABLE other (id int); ALTER TABLE other OWNER TO owner")
    owned.execute(POLICY.format("other"))
    with as_role(owned, "owner"), pytest.raises(StepFailed, match='policy for table "other"') as error:
        owned.migrate(
            Backfill("book", {"note": models.expressions.RawSQL("(SELECT max(id)::text FROM public . other)", ())})
        )
    assert "If a policy hides rows, use a role that has BYPASSRLS." in str(error.value)
    assert owned.execute("SHOW row_security") == ["on"]


# Tables that inherit.


def test_tables_that_inherit_stop_what_needs_a_trigger(database):
    shop = Shop(database, book(("note", NOTE)), RunSQL("CREATE TABLE special () INHERITS (shop_book)"))
    before = shop.columns(), shop.triggers()
    for operation in (RENAME, RETYPE, NOT_NULL, COMPUTED):
        with pytest.raises(StepFailed) as error:
            shop.migrate(operation)
        assert str(error.value) == (
            "special inherits from shop_book, and triggers aren't inherited: what is written to its rows while two "
            "releases run would be lost. Nothing was changed. Type, for the time until the contract: ALTER TABLE "
            'special NO INHERIT "shop_book"; Or use Django\'s own operation while nobody writes.'
        )
    assert (shop.columns(), shop.triggers()) == before


def test_rows_of_tables_that_inherit_are_filled_and_looked_at(database):
    """More pages than the table that they inherit from has."""
    shop = Shop(database, book(("note", NOTE)), RunSQL("CREATE TABLE special () INHERITS (shop_book)"))
    shop.execute("INSERT INTO special (id, title) SELECT n, 'x' FROM generate_series(1, 500) n")
    shop.migrate(FILL)
    assert shop.execute("SELECT count(*) FROM shop_book WHERE note = 'none'") == [500]
    with pytest.raises(StepFailed, match="x"):
        shop.migrate(UNIQUE)


def test_a_column_that_comes_from_another_table_is_not_changed(database):
    pen = CreateModel("Pen", [KEY, ("title", NOTE), ("book", models.ForeignKey("shop.Book", models.CASCADE))])
    shop = Shop(database, book(("note", NOTE)), pen)
    shop.execute("CREATE TABLE ancestor (title varchar(100) NOT NULL); ALTER TABLE shop_book INHERIT ancestor")
    with pytest.raises(StepFailed, match="title of shop_book is inherited from ancestor"):
        shop.migrate(RemoveFieldLater("book", "title"))
    with pytest.raises(StepFailed) as error:
        shop.migrate(RENAME)
    assert str(error.value) == (
        "title of shop_book is inherited from ancestor, and can be renamed or dropped nowhere else. Nothing was "
        'changed. Type, for the time until the contract: ALTER TABLE "shop_book" NO INHERIT ancestor; Or use Django\'s '
        "own operation while nobody writes."
    )
    shop.migrate(NOT_NULL, COMPUTED, RemoveFieldLater("pen", "title"))
    shop.contract()
    assert shop.columns()["note"] == "character varying(40) NOT NULL"


# Tables whose rows no UPDATE changes.

RULE = (
    "The rule frozen of shop_book does something else in the place of an UPDATE, so nothing can fill its rows. Nothing "
    "was changed. Type, for the time until the contract: ALTER TABLE shop_book DISABLE RULE frozen; Then run the same "
    "command again. Meanwhile each UPDATE of your application changes the rows that it is about."
)
NO_IDENTITY = (
    "shop_book is published by news and has no replica identity, so PostgreSQL refuses each UPDATE of it, and nothing "
    "can fill its rows. Nothing was changed. Type: ALTER TABLE shop_book REPLICA IDENTITY {}; Then run the same "
    "command again."
)
FILTERED = (
    "The publication news chooses rows of shop_book by title, which its replica identity lacks, so PostgreSQL refuses "
    "each UPDATE of it, and nothing can fill its rows. Nothing was changed. Type: ALTER TABLE shop_book REPLICA "
    "IDENTITY FULL; Then run the same command again."
)
NEWS = "CREATE PUBLICATION news FOR TABLE shop_book; "
NO_UPDATE = {
    "a rule": ("CREATE RULE frozen AS ON UPDATE TO shop_book DO INSTEAD NOTHING", RULE),
    "a rule for some rows": ("CREATE RULE frozen AS ON UPDATE TO shop_book WHERE OLD.id > 1 DO INSTEAD NOTHING", RULE),
    "no identity": (f"{NEWS}ALTER TABLE shop_book REPLICA IDENTITY NOTHING", NO_IDENTITY.format("DEFAULT")),
    "no primary key": (f"{NEWS}ALTER TABLE shop_book DROP CONSTRAINT shop_book_pkey", NO_IDENTITY.format("FULL")),
    "a publication of all tables": (
        "CREATE PUBLICATION news FOR ALL TABLES; ALTER TABLE shop_book REPLICA IDENTITY NOTHING",
        NO_IDENTITY.format("DEFAULT"),
    ),
    "a publication of a schema": (
        "CREATE PUBLICATION news FOR TABLES IN SCHEMA public; ALTER TABLE shop_book REPLICA IDENTITY NOTHING",
        NO_IDENTITY.format("DEFAULT"),
    ),
    "a publication of some rows": ("CREATE PUBLICATION news FOR TABLE shop_book WHERE (title > 'A')", FILTERED),
}


@pytest.mark.parametrize("what", NO_UPDATE)
def test_a_table_whose_rows_nothing_can_fill(database, what):
    sql, refusal = NO_UPDATE[what]
    shop = Shop(database, book(("note", NOTE)))
    shop.execute(f"INSERT INTO shop_book (title) VALUES ('Emma'), ('Persuasion'); {sql}")
    before = snapshot(shop.connection)
    for operation in (RENAME, RETYPE, FILL, NOT_NULL, COMPUTED):
        with pytest.raises(StepFailed) as error:
            shop.migrate(operation)
        assert str(error.value) == refusal
    assert difference(before, snapshot(shop.connection)) == {}
    shop.execute(refusal.partition(": ")[2].partition(";")[0])
    shop.migrate(RENAME, NOT_NULL)
    shop.contract()
    assert shop.execute("SELECT name || note FROM shop_book ORDER BY id") == ["Emmanone", "Persuasionnone"]


def test_a_publication_that_leaves_out_what_identifies_a_row(database):
    shop = Shop(database, book(("note", NOTE)))
    shop.execute("INSERT INTO shop_book (title) VALUES ('Emma')")
    shop.execute("CREATE PUBLICATION news FOR TABLE shop_book (title, note) WITH (publish = 'insert, update')")
    before = snapshot(shop.connection)
    with pytest.raises(StepFailed) as error:
        shop.migrate(FILL)
    assert str(error.value) == (
        "The publication news leaves out id of shop_book, a part of its replica identity, so PostgreSQL refuses each "
        "UPDATE of it, and nothing can fill its rows. Nothing was changed. Let news publish this too. Then run the "
        "same command again."
    )
    assert difference(before, snapshot(shop.connection)) == {}
    shop.execute("ALTER PUBLICATION news SET TABLE shop_book (id, title, note)")
    shop.migrate(FILL)


@pytest.mark.parametrize(
    "publication",
    [
        "FOR TABLE shop_book WHERE (title > 'A') WITH (publish = 'insert')",
        "FOR TABLE shop_book (title) WITH (publish = 'insert, truncate')",
        "FOR TABLE shop_book WHERE (id > 3)",
    ],
)
def test_a_publication_that_hinders_no_update(database, publication):
    shop = Shop(database, book(("note", NOTE)))
    shop.execute(f"INSERT INTO shop_book (title) VALUES ('Emma'); CREATE PUBLICATION news {publication}")
    shop.migrate(FILL)
    assert shop.execute("SELECT note FROM shop_book") == ["none"]


FOREIGN = """
    CREATE FOREIGN DATA WRAPPER nobody; CREATE SERVER elsewhere FOREIGN DATA WRAPPER nobody; DROP TABLE shop_book;
"""
COLUMNS = "id bigint NOT NULL, title varchar(100) NOT NULL, note varchar(40)"
FOREIGN_TABLES = {
    "shop_book": f"{FOREIGN} CREATE FOREIGN TABLE shop_book ({COLUMNS}) SERVER elsewhere",
    "part": (
        f"{FOREIGN} CREATE TABLE shop_book ({COLUMNS}) PARTITION BY RANGE (id);"
        " CREATE FOREIGN TABLE part PARTITION OF shop_book FOR VALUES FROM (0) TO (99) SERVER elsewhere"
    ),
}


@pytest.mark.parametrize("foreign", FOREIGN_TABLES)
def test_rows_of_another_server(database, foreign):
    shop = Shop(database, book(("note", NOTE)))
    shop.execute(FOREIGN_TABLES[foreign])
    before = snapshot(shop.connection)
    for operation in (RENAME, RETYPE, FILL, NOT_NULL, COMPUTED):
        with pytest.raises(StepFailed) as error:
            shop.migrate(operation)
        assert str(error.value) == (
            f"{foreign} is a foreign table: the server that has its rows knows nothing of what is added here. Nothing "
            "was changed. Make the change there first, by hand, and here with Django's own operation."
        )
    assert difference(before, snapshot(shop.connection)) == {}


def test_a_table_that_has_its_columns_from_a_type(database):
    shop = Shop(database, book(("note", NOTE)))
    shop.execute("CREATE TYPE paper AS (id bigint, title varchar(100), note varchar(40)); DROP TABLE shop_book")
    shop.execute("CREATE TABLE shop_book OF paper (PRIMARY KEY (id), title NOT NULL)")
    shop.execute("INSERT INTO shop_book VALUES (1, 'Emma')")
    before = snapshot(shop.connection)
    for operation in (RENAME, RETYPE, COMPUTED, RemoveFieldLater("book", "title")):
        with pytest.raises(StepFailed) as error:
            shop.migrate(operation)
        assert str(error.value) == (
            "shop_book has its columns from the type paper, and PostgreSQL adds, renames and drops none of such a "
            "table. Nothing was changed. Type: ALTER TABLE shop_book NOT OF; Then run the same command again."
        )
    assert difference(before, snapshot(shop.connection)) == {}
    shop.migrate(FILL, NOT_NULL)
    shop.execute("ALTER TABLE shop_book NOT OF")
    shop.migrate(RENAME, COMPUTED)
    shop.contract()
    assert shop.execute("SELECT name FROM shop_book") == ["Emma"]


HARMLESS = """
    CREATE RULE added AS ON INSERT TO shop_book DO INSTEAD NOTHING;
    CREATE RULE gone AS ON DELETE TO shop_book DO INSTEAD NOTHING;
    CREATE TABLE log (); CREATE RULE told AS ON UPDATE TO shop_book DO ALSO INSERT INTO log DEFAULT VALUES;
    CREATE RULE frozen AS ON UPDATE TO shop_book DO INSTEAD NOTHING; ALTER TABLE shop_book DISABLE RULE frozen;
    CREATE PUBLICATION news FOR TABLE shop_book WITH (publish = 'insert');
    ALTER TABLE shop_book REPLICA IDENTITY NOTHING
"""


def test_rules_and_publications_that_let_rows_be_filled(database):
    shop = Shop(database, book(("note", NOTE)))
    shop.execute("INSERT INTO shop_book (title) VALUES ('Emma')")
    shop.execute(HARMLESS)
    shop.migrate(RENAME, NOT_NULL)
    shop.contract()
    assert shop.execute("SELECT name || note FROM shop_book") == ["Emmanone"]


@pytest.mark.parametrize(
    ("sql", "refusal"),
    [
        ("CREATE RULE frozen AS ON UPDATE TO part DO INSTEAD NOTHING", "The rule frozen of part does"),
        (f"{NEWS}ALTER TABLE part REPLICA IDENTITY NOTHING", "part is published by news and has no replica identity"),
        (
            "CREATE PUBLICATION news FOR TABLE shop_book WHERE (title > 'A') WITH (publish_via_partition_root)",
            "The publication news chooses rows of part by title",
        ),
        ("CREATE PUBLICATION news FOR TABLE part (title)", "The publication news leaves out id of part"),
    ],
)
def test_a_partition_whose_rows_nothing_can_fill(database, sql, refusal):
    shop = Shop(database, book(("note", NOTE)))
    columns = "id bigint PRIMARY KEY, title varchar(100) NOT NULL, note varchar(40)"
    shop.execute(f"DROP TABLE shop_book; CREATE TABLE shop_book ({columns}) PARTITION BY RANGE (id)")
    shop.execute("CREATE TABLE part PARTITION OF shop_book FOR VALUES FROM (0) TO (99)")
    shop.execute(sql)
    with pytest.raises(StepFailed, match=refusal):
        shop.migrate(FILL)


def test_no_question_is_compiled(database):
    """Where there are publications, PostgreSQL expects the questions to take long: compiling one takes a second."""
    asked = []

    def ask(execute, sql, *rest):
        if "pg_publication" in sql:
            asked.append(database.connection.execute("SHOW jit").fetchone()[0])
        return execute(sql, *rest)

    shop = Shop(database, book(("note", NOTE)))
    shop.execute(NEWS)
    with database.execute_wrapper(ask):
        refuse_foreseen(database, ())
        shop.migrate(FILL)
    assert len(asked) > 2
    assert {*asked} == {"off"}


def test_a_plan_is_made_only_where_a_table_has_such_a_thing(database):
    """To make one takes as long as applying it, in a large project."""
    shop = Shop(database, book())

    plan = (pytest.fail("a plan was made") for _ in range(1))
    refuse_foreseen(database, plan)
    shop.execute("CREATE TABLE special () INHERITS (shop_book)")
    with pytest.raises(pytest.fail.Exception):
        refuse_foreseen(database, plan)
