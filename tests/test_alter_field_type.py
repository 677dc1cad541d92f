"""AlterField: another type, collation or name of a column -> ExpandAlterField."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest
from django.contrib.postgres.fields import ArrayField
from django.db import DataError, connection, models
from django.db.migrations import AlterField, CreateModel, RunSQL
from django.db.migrations.operations import SeparateDatabaseAndState
from django.db.models import CheckConstraint, F, Index, Q, UniqueConstraint
from django.test import override_settings

from safemigrations.checking import rules
from safemigrations.contracts import carrying_out
from safemigrations.errors import StepFailed
from safemigrations.operations import (
    AlterFieldConcurrently,
    ExpandAlterField,
    ExpandAlterModelTable,
    ExpandRename,
    RemoveFieldLater,
)
from safemigrations.operations.alteration import is_instant
from safemigrations.operations.rule import Context
from safemigrations.plans.casts import is_wider
from safemigrations.plans.steps import Step
from safemigrations.postgres.names import name_of_copy
from safemigrations.running.run import Report
from safemigrations.typed import server_version

from .shop import (
    AWKWARD,
    KEY,
    LIBRARY,
    Nowhere,
    Shop,
    assert_does_what_stock_does,
    assert_is_read_back,
    book,
    file_of,
    optimized,
    quoted,
    raw,
)
from .snapshot import difference, snapshot

BIG = 2**40
SMALL_KEY = ("id", models.AutoField(primary_key=True))
PAGES = ("pages", models.IntegerField())
BIGGER = ExpandAlterField("book", "pages", models.BigIntegerField())
KEYS = ExpandAlterField("author", "id", models.BigAutoField(primary_key=True))
AUTHOR = CreateModel("Author", [SMALL_KEY, ("name", models.TextField())])
TYPE = "SELECT format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = '{}'::regclass AND attname = '{}'"


def alter(name: str, field: Any, **options: Any) -> ExpandAlterField:
    return ExpandAlterField("book", name, field, **options)


def related(to: str = "author", **options: Any) -> models.ForeignKey[Any, Any]:
    return models.ForeignKey(f"shop.{to}", options.pop("on_delete", models.CASCADE), **options)


FAMILY = (AUTHOR, book(PAGES, ("author", related())))


def varchar(length: int, **options: Any) -> models.CharField[Any, Any]:
    return models.CharField(max_length=length, **options)


# What PostgreSQL does.

TYPES = [
    "smallint",
    "integer",
    "bigint",
    "integer[]",
    "bigint[]",
    "numeric(8, 2)",
    "numeric(10, 2)",
    "numeric(10, 4)",
    "numeric(12, 4)",
    "numeric",
    "double precision",
    "real",
    "varchar(10)",
    "varchar(20)",
    "varchar",
    "varchar(10)[]",
    "varchar(20)[]",
    "varchar[]",
    "text",
    "text[]",
    "numeric(8, 2)[]",
    "numeric(10, 2)[]",
    "time(3)",
    "time",
    "timestamp(3)",
    "timestamp(3) with time zone",
    "char(10)",
    "char(20)",
    "date",
    "timestamp with time zone",
    "timestamp",
    "interval",
    "interval(3)",
    "inet",
    "cidr",
    "jsonb",
    "uuid",
    "bytea",
    "bit(4)",
    "bit(8)",
    "bit varying(4)",
    "bit varying(8)",
]


def test_a_type_is_instant_where_postgresql_writes_no_row(database):
    """Where is_instant() says no and PostgreSQL says yes a change only takes longer than it had to."""
    shop = Shop(database)
    rewritten = "SELECT pg_relation_filenode('t') IS DISTINCT FROM {}"
    for old in TYPES:
        for new in TYPES:
            shop.execute(f"CREATE TABLE t (a {old})")
            (before,) = shop.execute("SELECT pg_relation_filenode('t')")
            try:
                shop.execute(f"ALTER TABLE t ALTER COLUMN a TYPE {new}")
                (wrote,) = shop.execute(rewritten.format(before))
            except Exception:  # there is no cast
                wrote = True
            finally:
                shop.execute("DROP TABLE t")
            assert not (wrote and is_instant(old, new)), (old, new)
            if old != new and not wrote and not is_instant(old, new):
                assert (old, new) in SLOWER_THAN_IT_HAD_TO, (old, new)


SLOWER_THAN_IT_HAD_TO = {  # where the time zone of the session is UTC
    ("timestamp with time zone", "timestamp"),
    ("timestamp", "timestamp with time zone"),
    ("timestamp(3)", "timestamp with time zone"),
    ("timestamp(3) with time zone", "timestamp"),
}


@pytest.mark.parametrize(
    ("old", "new", "wider"),
    [
        ("smallint", "integer", True),
        ("integer", "bigint", True),
        ("bigint", "integer", False),
        ("integer[]", "bigint[]", True),
        ("integer", "bigint[]", False),
        ("varchar(10)[]", "varchar(20)[]", True),
        ("varchar(10)[]", "text", False),
        ("varchar(20)[]", "text[]", True),
        ("numeric(8, 2)[]", "numeric(10, 2)[]", True),
        ("numeric(10, 2)[]", "numeric(8, 2)[]", False),
        ("numeric(8, 2)", "numeric(10, 2)", True),
        ("numeric(8, 2)", "numeric(10, 4)", True),
        ("numeric(10, 2)", "numeric(10, 4)", False),
        ("numeric(10, 4)", "numeric(10, 2)", False),
        ("numeric(10, 2)", "numeric", True),
        ("numeric", "numeric(10, 2)", False),
        ("integer", "numeric(12, 2)", False),
        ("double precision", "numeric", False),
        ("varchar(10)", "varchar(20)", True),
        ("varchar(20)", "varchar(10)", False),
        ("varchar(20)", "text", True),
        ("text", "varchar(20)", False),
        ("text", "varchar", True),
        ("text", "jsonb", False),
        ("uuid", "uuid", True),
    ],
)
def test_which_type_is_the_wider_one(old, new, wider):
    assert is_wider(old, new) is wider


# The exact plan.

ITS_TYPE = "-- pages of shop_book: of the type that the migrations say (looked up when it is run)"
NOTHING_STUCK = "-- shop_book: nothing of yours keeps pages from getting another type (looked up when it is run)"
INDEXES_FIT = "-- shop_book: every index and check constraint of pages means something for bigint"
SQL_LATER = ("--   ALTER", "--   DROP")


def test_the_plan(database):
    shop = Shop(database, book(PAGES))
    shop.execute("CREATE INDEX by_pages ON shop_book (pages)")
    plan = shop.plan(BIGGER)
    whys = [line for line in plan.splitlines() if line.startswith("-- ") and not line.startswith(SQL_LATER)]
    assert whys == [
        ITS_TYPE,
        NOTHING_STUCK,
        INDEXES_FIT,
        "-- shop_book: add column safemig_pages_new, and a trigger that keeps it what pages is",
        "-- shop_book: copy pages to safemig_pages_new",
        ITS_TYPE,
        NOTHING_STUCK,
        INDEXES_FIT,
        "-- shop_book: index by_pages, for what takes its place",
        "-- shop_book: safemig_pages_new can't be null from now on",
        "-- shop_book: no row has safemig_pages_new null (checked without blocking)",
        *(["-- shop_book: safemig_pages_new NOT NULL, without a scan"] if server_version(database) < 180000 else []),
        "-- shop_book: statistics of safemig_pages_new",
        "-- shop_book: safemig_pages_new is what pages is in every row (looked up when it is run)",
        "-- pages of shop_book: bigint from now on",
        "-- Left for the contract:",
        "--   shop_book: pages is there (looked up when it is run)",
        "--   shop_book: drop column safemig_pages_old and the trigger that kept it what pages is",
    ]
    copy = name_of_copy('"shop_book" pages', "by_pages")
    for statement in (
        (
            "BEGIN;\n"
            'CREATE TABLE "safemig_shape" (LIKE "shop_book");\n'
            'CREATE INDEX "safemig_shape_0" ON "safemig_shape" USING btree (pages);\n'
            'ALTER TABLE "safemig_shape" ALTER COLUMN "pages" TYPE bigint USING NULL;\n'
            "ROLLBACK;\n"
        ),
        f'CREATE INDEX CONCURRENTLY "{copy}" ON "shop_book" USING btree (safemig_pages_new);',
        'ALTER TABLE "shop_book" ADD COLUMN "safemig_pages_new" bigint NULL;',
        'ALTER TABLE "shop_book" RENAME COLUMN "pages" TO "safemig_pages_old";',
        'ALTER TABLE "shop_book" RENAME COLUMN "safemig_pages_new" TO "pages";',
        '--   ALTER TABLE "shop_book" DROP COLUMN IF EXISTS "safemig_pages_old";',
    ):
        assert statement in plan


def test_the_plan_of_a_narrower_type_waits_for_the_contract(database):
    shop = Shop(database, book())
    plan = shop.plan(alter("title", varchar(50)))
    first, _, later = plan.partition("-- Left for the contract:")
    assert first == (
        "-- title of shop_book: of the type that the migrations say (looked up when it is run)\n"
        "-- shop_book: nothing of yours keeps title from getting another type"
        " (looked up when it is run)\n"
        "-- shop_book: every title fits into varchar(50) (looked up when it is run)\n"
    )
    assert "title of shop_book: varchar(50) from now on" in later


# Forwards.


def test_each_release_reads_what_the_other_writes(database):
    shop = Shop(database, book(PAGES))
    old = shop.model()
    old.objects.create(title="there", pages=1)
    shop.migrate(BIGGER)
    new = shop.model()
    assert shop.columns()["pages"] == "bigint NOT NULL"
    assert shop.left() == ["drop the former pages of shop_book"]
    old.objects.create(title="old", pages=2)
    new.objects.create(title="new", pages=BIG)
    old.objects.filter(title="new").update(pages=F("pages") + 1)
    assert list(old.objects.order_by("id").values_list("pages", flat=True)) == [1, 2, BIG + 1]
    assert shop.execute("SELECT safemig_pages_old FROM shop_book ORDER BY id") == [1, 2, None]
    shop.contract()
    assert shop.columns() == {
        "id": "bigint NOT NULL",
        "title": "character varying(100) NOT NULL",
        "pages": "bigint NOT NULL",
    }
    assert shop.triggers() == []
    assert list(new.objects.order_by("id").values_list("pages", flat=True)) == [1, 2, BIG + 1]


def test_what_hangs_on_the_column_is_that_of_the_new_one(database):
    options: dict[str, Any] = {
        "unique_together": {("pages", "title")},
        "indexes": [
            Index(F("pages") * 2, name="double"),
            Index(fields=["title"], condition=Q(pages__gt=5), name="long_books"),
        ],
        "constraints": [
            CheckConstraint(condition=Q(pages__gte=0), name="positive"),
            UniqueConstraint(fields=["pages"], condition=Q(title="x"), name="once"),
        ],
    }
    shop = Shop(database, book(("pages", models.IntegerField(db_default=7, db_index=True)), **options))
    for sql in (
        "CREATE INDEX by_hand ON shop_book (pages DESC, title) INCLUDE (id)",
        "ALTER TABLE shop_book ADD UNIQUE (title, pages) DEFERRABLE INITIALLY DEFERRED",
        "ALTER TABLE shop_book CLUSTER ON by_hand",
        "ALTER TABLE shop_book ALTER pages SET STATISTICS 77",
        "ALTER TABLE shop_book ALTER pages SET (n_distinct = 5)",
        "COMMENT ON COLUMN shop_book.pages IS 'it''s 100% paper'",
        "GRANT SELECT (pages), UPDATE (pages) ON shop_book TO PUBLIC",
        "GRANT INSERT (pages) ON shop_book TO pg_monitor WITH GRANT OPTION",
    ):
        shop.execute(sql)
    shop.model().objects.create(title="there")
    before = snapshot(connection)
    shop.migrate(alter("pages", models.BigIntegerField(db_default=7, db_index=True)))
    shop.contract()
    changed = {"columns shop_book.pages", "constraints shop_book.positive", "indexes double"}
    found = difference(before, snapshot(connection))
    assert found.keys() - changed == set()
    old, new = found["columns shop_book.pages"]
    assert (old[0], new[0], old[3:]) == ("integer", "bigint", new[3:])
    assert shop.model().objects.create(title="new").pages == 7
    shop.back()
    assert difference(before, snapshot(connection)) == {}


def test_a_nullable_column(database):
    shop = Shop(database, book(("pages", models.IntegerField(null=True))))
    old = shop.model()
    old.objects.create(title="none")
    shop.migrate(alter("pages", models.BigIntegerField(null=True)))
    old.objects.create(title="none, too")
    old.objects.create(title="some", pages=3)
    shop.contract()
    assert list(shop.model().objects.order_by("id").values_list("pages", flat=True)) == [None, None, 3]


def test_no_rows(database):
    shop = Shop(database, book(PAGES))
    shop.migrate(BIGGER)
    shop.contract()
    shop.back()
    assert shop.columns()["pages"] == "integer NOT NULL"


def test_the_index_for_like_is_one_of_the_new_type(database):
    limited = AlterField("book", "note", varchar(50, unique=True))
    shop = Shop(database, book(("note", models.TextField(unique=True))))
    after = shop.state.clone()
    limited.state_forwards("shop", after)
    _, finding = rules.find(limited, Context("shop", shop.state, after)) or (None, None)
    assert finding
    assert [type(operation) for operation in finding.replacement] == [AlterFieldConcurrently, ExpandAlterField]
    before = shop.indexes()
    shop.migrate(*finding.replacement)
    shop.contract()
    assert shop.columns()["note"] == "character varying(50) NOT NULL"
    assert shop.indexes() == {
        name: what.replace("text_pattern_ops", "varchar_pattern_ops") for name, what in before.items()
    }
    shop.back()
    assert shop.indexes() == before


def test_values_that_do_not_fit_are_named_before_anything_is_touched(database):
    shop = Shop(database, book(PAGES))
    book_model = shop.model()
    book_model.objects.create(title="short", pages=1)
    book_model.objects.create(title="x" * 60, pages=40_000)
    before = snapshot(connection)
    for operation in (alter("title", varchar(50)), alter("pages", models.SmallIntegerField())):
        with pytest.raises(StepFailed, match=rf"can't hold: \"id\" 2 {'x' * 60}|can't hold: \"id\" 2 40000"):
            shop.migrate(operation)
    assert difference(before, snapshot(connection)) == {}


def test_the_running_release_may_write_what_will_not_fit_until_the_contract(database):
    shop = Shop(database, book())
    old = shop.model()
    shop.migrate(alter("title", varchar(50)))
    assert shop.left() == ["title of shop_book becomes varchar(50)"]
    row = old.objects.create(title="x" * 60)
    with pytest.raises(StepFailed, match=r"can't hold: \"id\" 1 x"):
        shop.contract()
    assert shop.columns() == {"id": "bigint NOT NULL", "title": "character varying(100) NOT NULL"}
    row.title = "short"
    row.save()
    shop.contract()
    assert shop.columns() == {"id": "bigint NOT NULL", "title": "character varying(50) NOT NULL"}
    with pytest.raises(DataError, match="value too long"):
        old.objects.create(title="x" * 60)


def test_using(database):
    shop = Shop(database, book(("price", models.DecimalField(max_digits=8, decimal_places=4))))
    shop.model().objects.create(title="a", price="1.2345")
    rounded = models.DecimalField(max_digits=6, decimal_places=2)
    with pytest.raises(StepFailed, match=r"numeric\(6, 2\) can't hold"):
        shop.migrate(alter("price", rounded))
    shop.migrate(alter("price", rounded, using="round({}, 2)"))
    shop.contract()
    assert shop.execute("SELECT price::text FROM shop_book") == ["1.23"]


def test_using_for_types_that_have_nothing_in_common(database):
    shop = Shop(database, book(("code", varchar(20))))
    shop.model().objects.create(title="a", code="no. 12")
    shop.migrate(alter("code", models.IntegerField(), using="substr({}, 5)::integer"))
    assert shop.execute("SELECT code FROM shop_book") == [12]
    shop.contract()
    shop.back()
    assert shop.execute("SELECT code FROM shop_book") == ["12"]


def test_an_array(database):
    shop = Shop(database, book(("codes", ArrayField(models.IntegerField()))))
    old = shop.model()
    old.objects.create(title="a", codes=[1, 2])
    shop.migrate(alter("codes", ArrayField(models.BigIntegerField())))
    shop.model().objects.create(title="b", codes=[1, BIG])
    assert old.objects.get(title="b").codes == [1, BIG]
    with pytest.raises(StepFailed, match=rf"\"id\" 2 \[1, {BIG}\]"):
        shop.back()


# What is in the way is found first.

STUCK = {
    "view numbers": "CREATE VIEW numbers AS SELECT pages FROM shop_book",
    "materialized view kept": "CREATE MATERIALIZED VIEW kept AS SELECT pages FROM shop_book",
    "column twice of table shop_book": "ALTER TABLE shop_book ADD twice int GENERATED ALWAYS AS (pages * 2) STORED",
    "trigger tell on table shop_book": (
        "CREATE TRIGGER tell BEFORE UPDATE OF pages ON shop_book FOR EACH ROW"
        " EXECUTE FUNCTION suppress_redundant_updates_trigger()"
    ),
    "policy short on table shop_book": "CREATE POLICY short ON shop_book USING (pages < 5)",
    "statistics object pair": "CREATE STATISTICS pair ON title, pages FROM shop_book",
    "constraint apart on table shop_book": (
        "ALTER TABLE shop_book ADD CONSTRAINT apart EXCLUDE USING btree (pages WITH =)"
    ),
}


AUDIT = (
    "CREATE TABLE audit (id bigint, title text, pages int); CREATE FUNCTION audit() RETURNS trigger LANGUAGE plpgsql AS"
    " $$ BEGIN INSERT INTO audit SELECT NEW.*; RETURN NEW; END $$;"
    " CREATE TRIGGER audit AFTER INSERT ON shop_book FOR EACH ROW EXECUTE FUNCTION audit()"
)
TOUCH = (
    "CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
    " IF TG_OP = 'UPDATE' AND NEW.* IS DISTINCT FROM OLD.* THEN NEW.title := NEW.title; END IF; RETURN NEW; END $$;"
    " CREATE TRIGGER touch BEFORE UPDATE ON shop_book FOR EACH ROW EXECUTE FUNCTION touch()"
)


def test_a_function_that_takes_the_columns_in_their_order(database):
    shop = Shop(database, book(PAGES))
    shop.execute(TOUCH)
    shop.execute(AUDIT)
    message = r"because of: function audit\(\), which takes the columns in their order and has to name them\."
    with pytest.raises(StepFailed, match=message):
        shop.migrate(BIGGER)
    shop.execute("DROP TRIGGER audit ON shop_book")
    shop.migrate(BIGGER)


def test_using_that_names_no_value():
    with pytest.raises(ValueError, match=r"using='round\(price\)' of ExpandAlterField book\.pages lacks \{\}"):
        alter("pages", models.BigIntegerField(), using="round(price)")


@pytest.mark.parametrize("what", STUCK)
def test_what_hangs_on_the_column_and_cannot_follow_is_named(database, what):
    shop = Shop(database, book(PAGES))
    shop.execute(STUCK[what])
    before = snapshot(connection)
    with pytest.raises(StepFailed, match=f"because of: .*{what}.* Nothing was changed"):
        shop.migrate(BIGGER)
    assert difference(before, snapshot(connection)) == {}


HANGING = {  # and what PostgreSQL says
    "index flag": ("CREATE INDEX flag ON shop_book ((pages & 1))", "operator does not exist: numeric & integer"),
    "index half": ("CREATE INDEX half ON shop_book (title) WHERE pages & 1 = 1", "operator does not exist: numeric &"),
    "check odd": ("ALTER TABLE shop_book ADD CONSTRAINT odd CHECK (pages & 1 = 1)", "operator does not exist"),
}


@pytest.mark.parametrize("what", HANGING)
def test_what_means_nothing_for_the_new_type_is_named_before_anything_is_touched(database, what):
    shop = Shop(database, book(PAGES))
    sql, error = HANGING[what]
    shop.execute(sql)
    before = snapshot(connection)
    with pytest.raises(StepFailed, match=rf"pages of shop_book can't become numeric.* together with {what} \({error}"):
        shop.migrate(alter("pages", models.DecimalField(max_digits=20, decimal_places=0)))
    assert difference(before, snapshot(connection)) == {}


def test_a_foreign_key_that_django_does_not_know(database):
    shop = Shop(database, AUTHOR)
    shop.execute("CREATE TABLE stray (author int REFERENCES shop_author)")
    with pytest.raises(
        StepFailed, match="can't get the type bigint, because of: constraint stray_author_fkey on table stray"
    ):
        shop.migrate(KEYS)


def test_a_partition_key(database):
    table = "CREATE TABLE shop_book (id bigint, title varchar(100), pages int, PRIMARY KEY (id, pages))"
    state = book(PAGES)
    shop = Shop(database, SeparateDatabaseAndState([RunSQL(f"{table} PARTITION BY HASH (pages)")], [state]))
    with pytest.raises(StepFailed, match="because of: partition key"):
        shop.migrate(BIGGER)


# The way back.


def test_back_before_the_contract(database):
    shop = Shop(database, book(("pages", models.IntegerField(db_index=True))))
    before = snapshot(connection)
    shop.model().objects.create(title="there", pages=1)
    shop.migrate(alter("pages", models.BigIntegerField(db_index=True)))
    shop.model().objects.create(title="new", pages=2)
    shop.back()
    assert difference(before, snapshot(connection)) == {}
    assert shop.execute("SELECT pages FROM shop_book ORDER BY id") == [1, 2]


@pytest.mark.parametrize("contracted", [False, True])
def test_back_with_values_that_the_old_type_cannot_hold(database, contracted):
    shop = Shop(database, book(PAGES))
    before = snapshot(connection)
    shop.migrate(BIGGER)
    row = shop.model().objects.create(title="new", pages=BIG)
    if contracted:
        shop.contract()
    migration = shop.migrations[-1]
    with pytest.raises(StepFailed, match=rf"integer can't hold: \"id\" 1 {BIG}"):
        shop.back()
    assert shop.columns()["pages"] == "bigint NOT NULL"
    row.pages = 5
    row.save()
    shop.migrations.append(migration)
    shop.back()
    assert difference(before, snapshot(connection)) == {}
    assert shop.execute("SELECT pages FROM shop_book") == [5]
    assert shop.left() == []


def test_back_after_the_contract_once_more(database):
    shop = Shop(database, *FAMILY)
    before = snapshot(connection)
    for number in range(1, 3):
        jane = shop.model("Author").objects.create(name="Jane")
        shop.model().objects.create(title="a", pages=number, author_id=jane.pk)
        shop.migrate(BIGGER, KEYS)
        jane = shop.model("Author").objects.create(name="Jane")
        shop.model().objects.create(title="a", pages=number, author_id=jane.pk)
        shop.contract()
        shop.back()
        assert difference(before, snapshot(connection)) == {}
    assert shop.execute("SELECT pages FROM shop_book ORDER BY id") == [1, 1, 2, 2]


def test_a_view_that_was_made_meanwhile_stops_the_way_back(database):
    shop = Shop(database, book(PAGES))
    shop.migrate(BIGGER)
    shop.execute(STUCK["view numbers"])
    migration = shop.migrations[-1]
    with pytest.raises(StepFailed, match="can't get the type integer, because of: view numbers"):
        shop.back()
    shop.execute("DROP VIEW numbers")
    shop.migrations.append(migration)
    shop.back()
    assert shop.columns()["pages"] == "integer NOT NULL"


def test_later_migrations_wait_for_the_contract(database):
    shop = Shop(database, book(PAGES))
    shop.migrate(BIGGER)
    for operation in (
        ExpandRename("book", "pages", "length"),
        RemoveFieldLater("book", "pages"),
        alter("pages", models.BigIntegerField(db_column="length")),
        AlterFieldConcurrently("book", "pages", models.BigIntegerField(null=True)),
    ):
        with pytest.raises(StepFailed, match=r"still belongs to the contract of shop\.0002"):
            shop.migrate(operation)
    shop.contract()
    shop.migrate(ExpandRename("book", "pages", "length"))


def test_two_columns_of_one_index_in_one_migration(database):
    options = {"indexes": [Index(fields=["pages", "sheets"], name="thick")], "unique_together": {("pages", "sheets")}}
    shop = Shop(database, book(PAGES, ("sheets", models.IntegerField()), **options))
    before = snapshot(connection)
    shop.model().objects.create(title="there", pages=1, sheets=2)
    shop.migrate(BIGGER, alter("sheets", models.BigIntegerField()))
    shop.model().objects.create(title="new", pages=3, sheets=4)
    shop.back()
    assert difference(before, snapshot(connection)) == {}
    shop.migrate(BIGGER, alter("sheets", models.BigIntegerField()))
    shop.contract()
    assert difference(before, snapshot(connection)).keys() == {"columns shop_book.pages", "columns shop_book.sheets"}
    shop.back()
    assert difference(before, snapshot(connection)) == {}
    assert shop.execute("SELECT pages, sheets FROM shop_book ORDER BY id") == [(1, 2), (3, 4)]


@pytest.mark.parametrize(
    ("before", "operation"),
    [
        (ExpandRename("book", "pages", "length"), alter("length", models.BigIntegerField())),
        (ExpandRename("book", "title", "name"), alter("name", varchar(50))),
        (ExpandAlterModelTable("book", "shop_tome"), BIGGER),
        (ExpandAlterModelTable("book", "shop_tome"), alter("title", varchar(50))),
    ],
)
def test_an_open_contract_of_the_column_or_of_the_table_comes_first(database, before, operation):
    shop = Shop(database, book(PAGES))
    shop.migrate(before)
    with pytest.raises(StepFailed, match=r"still belongs to the contract of shop\.0002"):
        shop.migrate(operation)
    shop.contract()
    shop.migrate(operation)


def test_contract_immediately(database):
    shop = Shop(database, book(PAGES))
    with override_settings(SAFEMIGRATIONS={"CONTRACT": "immediately"}):
        shop.migrate(BIGGER)
        shop.again()
    assert shop.columns()["pages"] == "bigint NOT NULL"
    assert "safemig" not in str(snapshot(connection))


# Keys.


def sequence(shop: Shop, table: str = "shop_author") -> Any:
    (name,) = shop.execute(f"SELECT pg_get_serial_sequence('{table}', 'id')")
    (row,) = shop.execute(f"SELECT last_value, is_called FROM {name}")
    return row


def test_a_key_with_all_that_points_at_it(database):
    shop = Shop(
        database,
        AUTHOR,
        book(
            ("author", related()),
            ("editor", related(null=True, db_constraint=False, related_name="+")),
            ("authors", models.ManyToManyField("shop.Author", related_name="+")),
        ),
        CreateModel("Poet", [("author_ptr", models.OneToOneField("shop.Author", models.CASCADE, primary_key=True))]),
        CreateModel("Poem", [KEY, ("poet", related("poet"))]),
    )
    jane = shop.model("Author").objects.create(name="Jane")
    row = shop.model().objects.create(title="Emma", author_id=jane.pk, editor_id=77)
    row.authors.add(jane.pk)
    poet = shop.model("Poet").objects.create(author_ptr_id=jane.pk)
    shop.model("Poem").objects.create(poet_id=poet.pk)
    shop.migrate(KEYS)
    assert shop.left() == ["drop the former id of shop_author, and those of 5 that point at it"]
    for place in (
        ("shop_author", "id"),
        ("shop_book", "author_id"),
        ("shop_book", "editor_id"),
        ("shop_book_authors", "author_id"),
        ("shop_poet", "author_ptr_id"),
        ("shop_poem", "poet_id"),
    ):
        assert shop.execute(TYPE.format(*place)) == ["bigint"], place
    assert sequence(shop) == (1, True)
    shop.execute(f"SELECT setval(pg_get_serial_sequence('shop_author', 'id'), {BIG})")
    far = shop.model("Author").objects.create(name="far")
    assert far.pk == BIG + 1
    shop.model().objects.create(title="far", author_id=far.pk)
    shop.contract()
    assert "safemig" not in str(snapshot(connection))


def test_a_key_that_its_own_table_points_at_and_a_table_points_at_twice(database):
    tree = [SMALL_KEY, ("parent", related("tree", null=True)), ("near", models.ManyToManyField("shop.Tree"))]
    shop = Shop(database, CreateModel("Tree", tree))
    root = shop.model("Tree").objects.create()
    root.near.add(shop.model("Tree").objects.create(parent=root))
    before = snapshot(connection)
    unique = [text for text in shop.constraints("shop_tree_near").values() if text.startswith("UNIQUE")]
    shop.migrate(ExpandAlterField("tree", "id", models.BigAutoField(primary_key=True)))
    leaf = shop.model("Tree").objects.create(parent_id=root.pk)
    shop.model("Tree").objects.get(pk=root.pk).near.add(leaf)
    shop.contract()
    assert "safemig" not in str(snapshot(connection))
    assert [text for text in shop.constraints("shop_tree_near").values() if text.startswith("UNIQUE")] == unique
    assert shop.model("Tree").objects.get(pk=root.pk).near.count() == 2
    shop.back()
    assert difference(before, snapshot(connection)) == {}


def test_the_sequence_keeps_position_options_and_privileges(database):
    shop = Shop(database, AUTHOR)
    for _ in range(3):
        shop.model("Author").objects.create(name="x")
    shop.execute("ALTER SEQUENCE shop_author_id_seq INCREMENT 5 CACHE 7 CYCLE")
    shop.execute("GRANT USAGE ON SEQUENCE shop_author_id_seq TO PUBLIC")
    shop.execute("COMMENT ON SEQUENCE shop_author_id_seq IS 'by hand'")
    before = snapshot(connection)
    shop.migrate(KEYS)
    shop.contract()
    (old, new) = difference(before, snapshot(connection))["sequences shop_author_id_seq"]
    assert (old[0], new[0]) == ("integer", "bigint")
    assert [*old[1:3], *old[4:]] == [*new[1:3], *new[4:]]
    assert shop.execute("SELECT relacl::text LIKE '%=U/%' FROM pg_class WHERE relname = 'shop_author_id_seq'") == [True]
    assert shop.execute("SELECT obj_description('shop_author_id_seq'::regclass, 'pg_class')") == ["by hand"]
    shop.back()
    assert difference(before, snapshot(connection)) == {}
    assert shop.model("Author").objects.create(name="next").pk > 3


@pytest.mark.parametrize("contracted", [False, True])
def test_back_while_the_sequence_stands_beyond_the_old_type(database, contracted):
    shop = Shop(database, *FAMILY)
    before = snapshot(connection)
    shop.migrate(KEYS)
    position = "SELECT setval(pg_get_serial_sequence('shop_author', 'id'), {})"
    shop.execute(position.format(BIG))
    if contracted:
        shop.contract()
    migration = shop.migrations[-1]
    with pytest.raises(
        StepFailed, match="The sequence of id of shop_author stands beyond what integer holds: shop_author_id_seq"
    ):
        shop.back()
    assert shop.model("Author").objects.create(name="far").pk == BIG + 1
    shop.model("Author").objects.all().delete()
    shop.execute(position.format(7))
    shop.migrations.append(migration)
    shop.back()
    assert difference(before, snapshot(connection)) == {}
    assert shop.model("Author").objects.create(name="next").pk == 8


def test_a_serial_key(database):
    shop = Shop(database, AUTHOR, book(("author", related())))
    for sql in (
        "ALTER TABLE shop_author ALTER id DROP IDENTITY",
        "CREATE SEQUENCE author_numbers AS integer OWNED BY shop_author.id",
        "ALTER TABLE shop_author ALTER id SET DEFAULT nextval('author_numbers')",
    ):
        shop.execute(sql)
    shop.model("Author").objects.create(name="x")
    before = snapshot(connection)
    shop.migrate(KEYS)
    assert shop.model("Author").objects.create(name="y").pk == 2
    shop.contract()
    (found,) = shop.execute(
        "SELECT format_type(seqtypid, NULL) FROM pg_sequence WHERE seqrelid = 'author_numbers'::regclass"
    )
    assert found == "bigint"
    assert shop.execute("SELECT pg_get_serial_sequence('shop_author', 'id')") == ["public.author_numbers"]
    assert shop.model("Author").objects.create(name="z").pk == 3
    shop.back()
    assert difference(before, snapshot(connection)) == {}


def test_a_unique_field_that_others_point_at(database):
    author = CreateModel("Author", [KEY, ("number", models.IntegerField(unique=True))])
    shop = Shop(database, author, book(("author", related(to_field="number"))))
    shop.model("Author").objects.create(number=5)
    shop.model().objects.create(title="a", author_id=5)
    before = snapshot(connection)
    shop.migrate(ExpandAlterField("author", "number", models.BigIntegerField(unique=True)))
    shop.model("Author").objects.create(number=BIG)
    shop.model().objects.create(title="b", author_id=BIG)
    shop.contract()
    assert shop.execute(TYPE.format("shop_book", "author_id")) == ["bigint"]
    shop.model().objects.filter(title="b").delete()
    shop.model("Author").objects.filter(number=BIG).delete()
    shop.back()
    assert difference(before, snapshot(connection)) == {}


def test_a_partitioned_table_that_points_at_a_key(database):
    table = (
        "CREATE TABLE shop_book (id bigint PRIMARY KEY, title varchar(100) NOT NULL, author_id int NOT NULL"
        " REFERENCES shop_author DEFERRABLE INITIALLY DEFERRED) PARTITION BY HASH (id);"
        "CREATE TABLE shop_book_0 PARTITION OF shop_book FOR VALUES WITH (MODULUS 2, REMAINDER 0);"
        "CREATE TABLE shop_book_1 PARTITION OF shop_book FOR VALUES WITH (MODULUS 2, REMAINDER 1);"
        "CREATE INDEX of_author ON shop_book (author_id)"
    )
    state = CreateModel(
        "Book",
        [("id", models.BigIntegerField(primary_key=True)), ("title", varchar(100)), ("author", related())],
    )
    shop = Shop(database, AUTHOR, SeparateDatabaseAndState([RunSQL(table)], [state]))
    jane = shop.model("Author").objects.create(name="Jane")
    for number in range(4):
        shop.model().objects.create(id=number, title="a", author_id=jane.pk)
    shop.migrate(KEYS)
    shop.model().objects.create(id=9, title="a", author_id=jane.pk)
    shop.contract()
    assert shop.columns()["author_id"] == "bigint NOT NULL"
    assert shop.columns("shop_book_1")["author_id"] == "bigint NOT NULL"
    assert [text for text in shop.constraints().values() if text.startswith("FOREIGN KEY")] == [
        "FOREIGN KEY (author_id) REFERENCES shop_author(id) DEFERRABLE INITIALLY DEFERRED"
    ]
    assert "safemig" not in str(snapshot(connection))
    shop.back()
    assert shop.columns("shop_book_1")["author_id"] == "integer NOT NULL"
    assert "safemig" not in str(snapshot(connection))


# Sessions that knew the column before.


def tell(**options: Any) -> str:
    return (
        "CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS $$ DECLARE other record; BEGIN"
        " SELECT * INTO other FROM shop_book WHERE pages = NEW.pages LIMIT 1;"
        " NEW.title := NEW.title || NEW.pages || coalesce(other.pages, 0); RETURN NEW; END $$;"
        " CREATE TRIGGER tell BEFORE INSERT ON shop_book FOR EACH ROW EXECUTE FUNCTION tell()"
    )


def test_sessions_that_are_open_all_the_while(database, dsn):
    shop = Shop(database, book(PAGES))
    shop.execute(tell())
    insert, select = "INSERT INTO shop_book (title, pages) VALUES ('a', 1)", "SELECT * FROM shop_book WHERE pages = %s"
    with psycopg.connect(dsn, autocommit=True, prepare_threshold=None) as warm:

        def use() -> None:
            for _ in range(10):
                warm.execute(insert)
                assert warm.execute(select, [1]).fetchone()

        use()
        shop.migrate(BIGGER)
        use()
        shop.contract()
        use()
        shop.migrate(alter("title", varchar(60)))
        shop.contract()
        use()


@pytest.mark.parametrize("threshold", [0, 5])
def test_sessions_that_prepare_statements_on_the_server_fail_until_they_roll_back(database, dsn, threshold):
    """PostgreSQL's "cached plan must not change result type": as with every ALTER TYPE; the documentation says so."""
    shop = Shop(database, book(PAGES))
    select = "SELECT pages FROM shop_book WHERE pages = %s"
    with psycopg.connect(dsn, prepare_threshold=threshold) as warm:
        for _ in range(10):
            warm.execute(select, [1])
            warm.commit()
        shop.migrate(BIGGER)
        with pytest.raises(psycopg.errors.FeatureNotSupported, match="cached plan must not change result type"):
            warm.execute(select, [1])
        warm.rollback()
        warm.execute(select, [1])


# As it is written, and what else there is about every operation.


def test_the_file(database):
    assert file_of(alter("title", varchar(50), using="left({}, 50)")) == (
        "from django.db import migrations, models\n"
        "from safemigrations.operations import ExpandAlterField\n"
        "\n"
        "\n"
        "class Migration(migrations.Migration):\n"
        "\n"
        "    atomic = False  # each step is a short transaction of its own\n"
        "\n"
        "    dependencies = [\n"
        "    ]\n"
        "\n"
        "    operations = [\n"
        "        ExpandAlterField(\n"
        "            model_name='book',\n"
        "            name='title',\n"
        "            field=models.CharField(max_length=50),\n"
        "            using='left({}, 50)',\n"
        "        ),\n"
        "    ]\n"
    )
    assert_is_read_back(alter("title", varchar(50), using="left({}, 50)"))
    assert_is_read_back(BIGGER)


def test_the_optimizer_keeps_it(database):
    first = book(PAGES)
    assert optimized(first, BIGGER) != optimized(first)
    assert "ExpandAlterField(" in " ".join(optimized(BIGGER, AlterField("book", "title", varchar(200))))


def test_it_does_nothing_else(database):
    shop = Shop(database, book(PAGES))
    for field in (models.IntegerField(), models.BigIntegerField(null=True), models.IntegerField(db_index=True)):
        with pytest.raises(ValueError, match=r"ExpandAlterField book.pages gives a column another type"):
            shop.migrate(alter("pages", field))


@override_settings(DATABASE_ROUTERS=[Nowhere()])
def test_a_router_says_no(database):
    with override_settings(DATABASE_ROUTERS=[]):
        shop = Shop(database, book(PAGES))
    before = snapshot(connection)
    shop.migrate(BIGGER)
    assert difference(before, snapshot(connection)) == {}
    assert shop.left() == []


def test_another_backend(tmp_path):
    stock = AlterField("book", "title", models.TextField())
    assert_does_what_stock_does(tmp_path, alter("title", models.TextField()), stock, book())


@pytest.mark.parametrize(("table", "column"), AWKWARD)
def test_awkward_names(database, table, column):
    field = models.IntegerField(unique=True, db_column=column, db_default=3)
    shop = Shop(database, LIBRARY, book(("extra", field), db_table=table))
    shop.execute("CREATE TABLE IF NOT EXISTS other (id int)")
    old = shop.model()
    old.objects.create(title="there", extra=1)
    before = snapshot(connection)
    shop.migrate(alter("extra", models.BigIntegerField(unique=True, db_column=column, db_default=3)))
    old.objects.create(title="old", extra=2)
    shop.model().objects.create(title="new")
    where = quoted(table)
    assert shop.execute(TYPE.format(where, raw(column).replace("'", "''"))) == ["bigint"]
    shop.contract()
    assert "safemig" not in str(snapshot(connection))
    assert list(old.objects.order_by("extra").values_list("title", flat=True)) == ["there", "old", "new"]
    shop.back()
    assert difference(before, snapshot(connection)) == {}


@pytest.mark.parametrize(("table", "column"), AWKWARD)
def test_awkward_names_in_db_column(database, table, column):
    shop = Shop(database, LIBRARY, book(("extra", models.IntegerField(unique=True)), db_table=table))
    old = shop.model()
    old.objects.create(title="there", extra=1)
    before = snapshot(connection)
    shop.migrate(alter("extra", models.IntegerField(unique=True, db_column=column)))
    old.objects.create(title="old", extra=2)
    shop.model().objects.create(title="new", extra=3)
    assert list(old.objects.order_by("extra").values_list("extra", flat=True)) == [1, 2, 3]
    shop.contract()
    assert "safemig" not in str(snapshot(connection))
    assert shop.execute(TYPE.format(quoted(table), raw(column).replace("'", "''"))) == ["integer"]
    shop.back()
    assert difference(before, snapshot(connection)) == {}


# Given up half way: recorded as if it were done, and reversed.


class GivenUp(Exception):
    pass


class StopAt(Report):
    def __init__(self, number: int) -> None:
        self.left = number

    def begin(self, step: Step) -> None:
        if not self.left:
            raise GivenUp(step.why)
        self.left -= 1


@pytest.mark.parametrize(
    ("operation", "contracts"), [(BIGGER, False), (KEYS, False), (alter("title", varchar(60)), True)], ids=str
)
def test_given_up_at_any_step_it_can_be_reversed(database, operation, contracts):
    shop = Shop(database, *FAMILY)
    jane = shop.model("Author").objects.create(name="Jane")
    shop.model().objects.create(title="a", pages=1, author_id=jane.pk)
    before = snapshot(connection)
    for number in range(100):
        try:
            shop.migrate(operation, report=StopAt(100 if contracts else number))
            carrying_out.contract(connection, StopAt(number if contracts else 100))
        except GivenUp:
            if not contracts:
                shop.fake(operation)
            shop.back()
            assert difference(before, snapshot(connection)) == {}
            assert shop.model().objects.get().pages == 1
        else:
            break
    assert number > 5
    shop.model().objects.create(title="b", pages=2, author_id=jane.pk)
