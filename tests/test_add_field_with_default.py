"""AddField NOT NULL with a default that PostgreSQL can hold -> AddFieldWithDefault."""

from __future__ import annotations

import datetime
import uuid
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.functions import RandomUUID
from django.db import IntegrityError, models
from django.db.migrations import AddField, AlterField, CreateModel, RemoveField
from django.db.models import Value
from django.db.models.functions import Now, Upper
from django.test import override_settings
from django.utils import timezone

from safemigrations.errors import StepFailed
from safemigrations.operations import AddFieldWithDefault
from safemigrations.operations.written import written

from .representatives import crossed
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
    not_null_as_printed,
    optimized,
    quoted,
)

AUTHOR = CreateModel("Author", [KEY, ("name", models.TextField())])
STOCK = AddFieldWithDefault("book", "stock", models.IntegerField(default=7))
CODE = AddFieldWithDefault("book", "code", models.UUIDField(default=uuid.uuid4, unique=True))


def add(field: Any, name: str = "extra") -> AddFieldWithDefault:
    return AddFieldWithDefault("book", name, field)


# The exact plan.


def test_the_plan_of_a_constant(database):
    shop = Shop(database, book())
    assert shop.plan(STOCK) == (
        "-- shop_book: add column stock, 7 for every row\n"
        'ALTER TABLE "shop_book" ADD COLUMN "stock" integer NOT NULL DEFAULT 7;\n'
        "-- Left for the contract:\n"
        "--   shop_book: stock needs no default in the database any more\n"
        '--   ALTER TABLE "shop_book" ALTER COLUMN "stock" DROP DEFAULT;'
    )
    assert shop.plan(STOCK, backwards=True) == (
        "-- shop_book: stock defaults to 7\n"
        'ALTER TABLE "shop_book" ALTER COLUMN "stock" SET DEFAULT 7;\n'
        "-- shop_book: drop column stock\n"
        'ALTER TABLE "shop_book" DROP COLUMN IF EXISTS "stock";'
    )


def test_the_plan_of_a_volatile_default_with_unique(database):
    assert Shop(database, book()).plan(CODE) == (
        "-- shop_book: add column code; new rows get gen_random_uuid()\n"
        'ALTER TABLE "shop_book" ADD COLUMN "code" uuid NULL;\n'
        'ALTER TABLE "shop_book" ALTER COLUMN "code" SET DEFAULT gen_random_uuid();\n'
        "-- shop_book: fill code of the rows that are there\n"
        'UPDATE "shop_book" SET "code" = gen_random_uuid() WHERE "code" IS NULL;\n'
        f"{not_null_as_printed(database, 'shop_book', 'code')}\n"
        "-- shop_book: unique index shop_book_code_key\n"
        'CREATE UNIQUE INDEX CONCURRENTLY "shop_book_code_key" ON "shop_book" ("code");\n'
        "-- shop_book: (code) is unique\n"
        'ALTER TABLE "shop_book" ADD CONSTRAINT "shop_book_code_key" UNIQUE USING INDEX "shop_book_code_key";\n'
        "-- Left for the contract:\n"
        "--   shop_book: code needs no default in the database any more\n"
        '--   ALTER TABLE "shop_book" ALTER COLUMN "code" DROP DEFAULT;'
    )


def test_the_plan_of_a_check_and_an_index(database):
    field = models.PositiveIntegerField(default=1, db_index=True, db_comment="It's 100%")
    assert Shop(database, book()).plan(add(field)) == (
        "-- shop_book: add column extra, 1 for every row\n"
        'ALTER TABLE "shop_book" ADD COLUMN "extra" integer NOT NULL DEFAULT 1;\n'
        """COMMENT ON COLUMN "shop_book"."extra" IS 'It''s 100%';\n"""
        "-- shop_book: index shop_book_extra_0108c21c\n"
        'CREATE INDEX CONCURRENTLY "shop_book_extra_0108c21c" ON "shop_book" ("extra");\n'
        "-- shop_book: check shop_book_extra_check holds for new rows\n"
        'ALTER TABLE "shop_book" ADD CONSTRAINT "shop_book_extra_check" CHECK ("extra" >= 0) NOT VALID;\n'
        "-- shop_book: check shop_book_extra_check holds for every row (checked without blocking)\n"
        'ALTER TABLE "shop_book" VALIDATE CONSTRAINT "shop_book_extra_check";\n'
        "-- Left for the contract:\n"
        "--   shop_book: extra needs no default in the database any more\n"
        '--   ALTER TABLE "shop_book" ALTER COLUMN "extra" DROP DEFAULT;'
    )


def test_the_plan_of_a_foreign_key(database):
    shop = Shop(database, AUTHOR, book())
    plan = shop.plan(add(models.ForeignKey("shop.author", models.CASCADE, default=1), "author"))
    assert plan == (
        "-- shop_book: the default of author_id is in shop_author (looked up when it is run)\n"
        "-- shop_book: add column author_id, 1 for every row\n"
        'ALTER TABLE "shop_book" ADD COLUMN "author_id" bigint NOT NULL DEFAULT 1;\n'
        "-- shop_book: index shop_book_author_id_82b8ab51\n"
        'CREATE INDEX CONCURRENTLY "shop_book_author_id_82b8ab51" ON "shop_book" ("author_id");\n'
        "-- shop_book: when the old release deletes a parent, SET DEFAULT author_id\n"
        'ALTER TABLE "shop_book" ADD CONSTRAINT "shop_book_author_id_82b8ab51_fk_shop_author_id" FOREIGN KEY'
        ' ("author_id") REFERENCES "shop_author" ("id") ON DELETE SET DEFAULT'
        " DEFERRABLE INITIALLY DEFERRED NOT VALID;\n"
        "-- Left for the contract:\n"
        "--   shop_book: foreign key shop_book_author_id_82b8ab51_fk_shop_author_id keeps its parents from now on\n"
        '--   ALTER TABLE "shop_book" DROP CONSTRAINT IF EXISTS "shop_book_author_id_82b8ab51_fk_shop_author_id",'
        ' ADD CONSTRAINT "shop_book_author_id_82b8ab51_fk_shop_author_id" FOREIGN KEY'
        ' ("author_id") REFERENCES "shop_author" ("id") DEFERRABLE INITIALLY DEFERRED NOT VALID;\n'
        "--   shop_book: foreign key shop_book_author_id_82b8ab51_fk_shop_author_id holds for every row"
        " (checked without blocking)\n"
        '--   ALTER TABLE "shop_book" VALIDATE CONSTRAINT "shop_book_author_id_82b8ab51_fk_shop_author_id";\n'
        "--   shop_book: author_id needs no default in the database any more\n"
        '--   ALTER TABLE "shop_book" ALTER COLUMN "author_id" DROP DEFAULT;'
    )


# Forwards.

CONSTANTS: list[tuple[Any, Any]] = [
    (models.CharField(default='it\'s 100% "new" \\ %s', max_length=50), 'it\'s 100% "new" \\ %s'),
    (models.CharField(default="new", max_length=10, choices=[("new", "New")]), "new"),
    (models.CharField(blank=True, max_length=10), ""),
    (models.TextField(default=""), ""),
    (models.BooleanField(default=False), False),
    (models.DecimalField(default=Decimal("1.50"), max_digits=6, decimal_places=2), Decimal("1.50")),
    (models.FloatField(default=1e300), 1e300),
    (models.BigIntegerField(default=-(2**63)), -(2**63)),
    (models.BinaryField(default=b"\x00'%"), b"\x00'%"),
    (models.DateField(default=datetime.date(2001, 2, 3)), datetime.date(2001, 2, 3)),
    (models.DurationField(default=datetime.timedelta(days=1)), datetime.timedelta(days=1)),
    (models.UUIDField(default=uuid.UUID(int=5)), uuid.UUID(int=5)),
    (models.JSONField(default=dict), {}),
    (models.JSONField(default=list), []),
    (ArrayField(models.CharField(max_length=5), default=list), []),
    (ArrayField(models.IntegerField(), default=[1, 2]), [1, 2]),
    (models.GenericIPAddressField(default="::1"), "::1"),
    (models.PositiveSmallIntegerField(default=3), 3),
    (models.SlugField(default="s"), "s"),
    (models.IntegerField(db_default=4), 4),
    (models.CharField(db_default="it's 5%", max_length=10), "it's 5%"),
]


@pytest.mark.parametrize(("field", "value"), CONSTANTS, ids=lambda value: repr(value)[:40])
def test_every_row_has_the_value_and_so_have_those_of_the_old_release(database, field, value):
    shop = Shop(database, book())
    old = shop.model()
    before = old.objects.create(title="before")
    shop.migrate(add(field))
    since = old.objects.create(title="since")
    new = shop.model()
    assert [new.objects.get(pk=row.pk).extra for row in (before, since)] == [value, value]
    read = new.objects.create(title="new").extra
    assert read == value or new.objects.get(title="new").extra == value


@pytest.mark.parametrize("field", [field for field, _ in CONSTANTS], ids=lambda value: repr(value)[:60])
def test_the_end_is_the_one_of_stock(database, field):
    shop = Shop(database, book())
    shop.migrate(AddField("book", "extra", field))
    stock = shop.columns(), shop.indexes(), shop.constraints()
    shop.back()
    shop.migrate(add(field))
    shop.contract()
    assert (shop.columns(), shop.indexes(), shop.constraints()) == stock


def test_each_row_has_a_uuid_of_its_own(database):
    shop = Shop(database, book())
    old = shop.model()
    old.objects.bulk_create([old(title=str(n)) for n in range(50)])
    shop.migrate(CODE)
    old.objects.create(title="since")
    assert len(set(shop.execute("SELECT code FROM shop_book"))) == 51
    assert shop.left() == ["drop the database default of code of shop_book"]
    assert shop.columns()["code"] == "uuid NOT NULL DEFAULT gen_random_uuid()"

    shop.contract()
    assert shop.columns()["code"] == "uuid NOT NULL"
    assert shop.constraints() == {"shop_book_code_key": "UNIQUE (code)"}
    assert shop.indexes() == {"shop_book_code_key": " USING btree (code)"}


@pytest.mark.parametrize(
    "field",
    [
        models.DateTimeField(default=timezone.now),
        models.DateTimeField(auto_now_add=True),
        models.DateTimeField(auto_now=True),
        models.DateTimeField(default=timezone.localtime),
    ],
    ids=repr,
)
def test_the_moment_is_that_of_the_statement(database, field):
    shop = Shop(database, book())
    old = shop.model()
    old.objects.create(title="before")
    (began,) = shop.execute("SELECT clock_timestamp()")
    shop.migrate(add(field))
    (later,) = shop.execute("SELECT clock_timestamp()")
    old.objects.create(title="since")
    new = shop.model()
    assert began < new.objects.get(title="before").extra < later < new.objects.get(title="since").extra
    assert shop.columns()["extra"] == "timestamp with time zone NOT NULL DEFAULT statement_timestamp()"
    shop.contract()
    assert shop.columns()["extra"] == "timestamp with time zone NOT NULL"


@pytest.mark.parametrize(
    "field",
    [models.DateField(default=timezone.localdate), models.DateField(auto_now_add=True)],
    ids=repr,
)
def test_a_day_is_that_of_the_time_zone(database, field):
    shop = Shop(database, book())
    old = shop.model()
    with override_settings(TIME_ZONE="Pacific/Kiritimati"):  # fourteen hours ahead
        shop.migrate(add(field))
        old.objects.create(title="since")
        (today,) = shop.execute("SELECT (now() AT TIME ZONE 'Pacific/Kiritimati')::date")
        assert shop.model().objects.get().extra == today


def test_a_volatile_db_default_stays(database):
    shop = Shop(database, book())
    shop.model().objects.create(title="before")
    field = models.UUIDField(db_default=RandomUUID())
    shop.migrate(AddField("book", "extra", field))
    stock = shop.columns()
    shop.back()
    shop.migrate(add(field))
    assert shop.columns() == stock
    assert shop.left() == []
    assert shop.execute("SELECT count(extra) FROM shop_book") == [1]


def test_a_stable_db_default_with_an_index(database):
    shop = Shop(database, book())
    shop.migrate(add(models.DateTimeField(db_default=Now(), db_index=True)))
    assert shop.columns()["extra"] == "timestamp with time zone NOT NULL DEFAULT statement_timestamp()"
    assert list(shop.indexes().values()) == [" USING btree (extra)"]
    assert shop.left() == []


def test_an_answer_at_the_prompt_is_not_kept(database):
    shop = Shop(database, book())
    old = shop.model()
    shop.migrate(AddFieldWithDefault("book", "stock", models.IntegerField(default=3), preserve_default=False))
    old.objects.create(title="since")
    assert shop.model().objects.get().stock == 3
    assert not shop.model()._meta.get_field("stock").has_default()
    shop.contract()
    assert shop.columns()["stock"] == "integer NOT NULL"


def test_the_old_release_may_delete_a_parent_that_a_new_row_points_at(database):
    shop = Shop(database, AUTHOR, book())
    nobody, austen = (shop.model("Author").objects.create(name=name).pk for name in ("Nobody", "Austen"))
    old_author = shop.model("Author")
    shop.migrate(
        AddFieldWithDefault(
            "book", "author", models.ForeignKey("shop.author", models.CASCADE, default=nobody), preserve_default=False
        )
    )
    shop.model().objects.create(title="Emma", author_id=austen)
    (lets_go,) = shop.constraints().values()
    assert lets_go == (
        "FOREIGN KEY (author_id) REFERENCES shop_author(id) ON DELETE SET DEFAULT DEFERRABLE INITIALLY DEFERRED"
        " NOT VALID"
    )
    assert shop.left() == ["add the foreign key and drop the database default of author_id of shop_book"]
    old_author.objects.get(pk=austen).delete()
    assert shop.execute("SELECT author_id FROM shop_book") == [nobody]

    shop.contract()
    assert list(shop.constraints().values()) == [
        "FOREIGN KEY (author_id) REFERENCES shop_author(id) DEFERRABLE INITIALLY DEFERRED"
    ]


def test_a_default_that_is_no_parent_is_found_out_before_anything_is_touched(database):
    """Every row, and each that the old release inserts, would point at it."""
    shop = Shop(database, AUTHOR, book())
    related = models.ForeignKey("shop.author", models.CASCADE, default=7)
    shop.migrate(add(related, "author"))  # nobody uses these tables yet
    shop.back()
    shop.model().objects.create(title="Emma")
    with pytest.raises(StepFailed) as caught:
        shop.migrate(add(related, "author"))
    assert str(caught.value) == (
        "book.author: its default, 7, is no row of shop_author, and every row of shop_book would point at it. Nothing "
        "was changed. Make that row, or use the key of one that is there; then run the same command again."
    )
    assert list(shop.columns()) == ["id", "title"]
    shop.model("Author")(pk=7, name="Nobody").save()
    shop.migrate(add(related, "author"))
    shop.contract()
    assert shop.execute("SELECT author_id FROM shop_book") == [7]


def test_one_default_in_a_unique_column_is_found_out_before_anything_is_touched(database):
    shop = Shop(database, book())
    shop.model().objects.bulk_create([shop.model()(title=title) for title in ("Emma", "Evelina")])
    with pytest.raises(StepFailed) as caught:
        shop.migrate(add(models.IntegerField(default=1, unique=True)))
    assert str(caught.value) == (
        "book.extra is unique, and its default would be the same in every row of shop_book. Nothing was changed. Use a "
        "default that differs for each row (uuid.uuid4, or a function), or AddFieldNullableThenBackfill with an "
        "expression over the row."
    )
    assert list(shop.columns()) == ["id", "title"]


def test_it_goes_on_where_it_stopped(database):
    shop = Shop(database, book())
    shop.model().objects.create(title="before")
    shop.execute(
        "ALTER TABLE shop_book ADD COLUMN code uuid; ALTER TABLE shop_book ALTER code SET DEFAULT gen_random_uuid()"
    )
    shop.migrate(CODE)
    shop.contract()
    assert shop.columns()["code"] == "uuid NOT NULL"
    assert shop.constraints() == {"shop_book_code_key": "UNIQUE (code)"}


class Whole(models.Field):  # type: ignore[type-arg]
    """Whose type PostgreSQL gives back with another name."""

    def db_type(self, connection: Any) -> str:
        return "int8"


OTHERS = [
    Whole(default=5),
    models.DateTimeField(default=timezone.now),
    models.DateTimeField(default=datetime.datetime(2001, 2, 3, tzinfo=datetime.UTC)),
    models.DateTimeField(auto_now_add=True),
    models.DateTimeField(db_default=Now()),
    models.CharField(db_default=Upper(Value("new")), max_length=9),
    models.IntegerField(default=5, null=True),
    models.CharField(default="a", max_length=5, db_collation="C"),
]


@pytest.mark.parametrize("field", [*(field for field, _ in CONSTANTS), *OTHERS], ids=lambda value: repr(value)[:60])
def test_what_a_killed_run_left_is_no_obstacle(database, field):
    shop = Shop(database, book())
    shop.execute("INSERT INTO shop_book (title) VALUES ('before')")  # else PostgreSQL stores no value for all rows
    shop.migrate(add(field))
    shop.again()
    assert len(shop.left()) == (0 if field.has_db_default() else 1)


# Backwards.


@pytest.mark.parametrize("contracted", [False, True])
@pytest.mark.parametrize(
    "operation",
    [STOCK, CODE, add(models.PositiveIntegerField(default=1, db_index=True, unique=False))],
    ids=lambda operation: operation.name,
)
def test_backwards_and_forwards_again(database, operation, contracted):
    shop = Shop(database, book())
    before = shop.columns()
    for _ in range(2):
        shop.migrate(operation)
        if contracted:
            shop.contract()
        shop.back()
        assert shop.columns() == before
        assert shop.indexes() == shop.constraints() == {}
        assert shop.left() == []


def test_backwards_the_previous_release_can_still_insert_without_the_value(database):
    """After the contract its inserts fail until the way back has begun; then the default is there first."""
    shop = Shop(database, book())
    old = shop.model()
    shop.migrate(STOCK)
    shop.contract()
    with pytest.raises(IntegrityError, match='null value in column "stock"'):
        old.objects.create(title="old")
    shop.back()
    old.objects.create(title="old")


# The written form.


def test_the_file():
    assert file_of(CODE) == (
        "import uuid\n"
        "from django.db import migrations, models\n"
        "from safemigrations.operations import AddFieldWithDefault\n"
        "\n\n"
        "class Migration(migrations.Migration):\n"
        "\n"
        "    atomic = False  # each step is a short transaction of its own\n"
        "\n"
        "    dependencies = [\n"
        "    ]\n"
        "\n"
        "    operations = [\n"
        "        AddFieldWithDefault(\n"
        "            model_name='book',\n"
        "            name='code',\n"
        "            field=models.UUIDField(default=uuid.uuid4, unique=True),\n"
        "        ),\n"
        "    ]\n"
    )


@pytest.mark.parametrize("field", [field for field, _ in CONSTANTS], ids=lambda value: repr(value)[:60])
def test_the_file_is_read_back(field):
    assert_is_read_back(add(field))


def test_a_default_that_is_not_preserved_is_read_back():
    assert_is_read_back(AddFieldWithDefault("book", "stock", models.IntegerField(default=3), preserve_default=False))


def test_what_it_says_of_itself():
    assert STOCK.describe() == "Add field stock to book; the database knows its default until the contract"
    assert add(models.IntegerField(db_default=4)).describe() == "Add field extra to book"
    assert STOCK.migration_name_fragment == "book_stock"


# The optimizer.


def test_it_folds_into_the_model_that_is_created_with_it():
    assert optimized(book(), STOCK) == optimized(book(("stock", models.IntegerField(default=7))))


def test_it_vanishes_with_its_removal():
    assert optimized(STOCK, RemoveField("book", "stock")) == []


def test_it_is_never_folded_into_stock_operations():
    altered = AlterField("book", "stock", models.BigIntegerField(default=7))
    assert optimized(STOCK, altered) == [written(STOCK), written(altered)]
    nullable = AddField("book", "stock", models.IntegerField(null=True))
    filled = AlterField("book", "stock", models.IntegerField(default=7))
    assert optimized(nullable, filled) == [written(AddField("book", "stock", models.IntegerField(default=7)))]


def test_unrelated_operations_pass():
    before, after = models.TextField(null=True), models.CharField(max_length=5, null=True)
    assert optimized(AddField("author", "name", before), STOCK, AlterField("author", "name", after)) == [
        written(STOCK),
        written(AddField("author", "name", after)),
    ]


# Other databases.


def test_where_the_router_says_no_nothing_happens(database):
    with override_settings(DATABASE_ROUTERS=[Nowhere()]):
        shop = Shop(database, book())
        shop.migrate(STOCK)
        assert shop.left() == []
        shop.back()
    assert shop.tables() == {"django_migrations"}


@pytest.mark.parametrize("field", [models.IntegerField(default=7, db_index=True), models.UUIDField(default=uuid.uuid4)])
def test_another_backend_does_what_stock_does(tmp_path, field):
    assert_does_what_stock_does(tmp_path, add(field), AddField("book", "extra", field), book())


# Awkward names.

FIELDS = {
    "text": models.CharField(default="a%s'", max_length=5, db_index=True),
    "uuid": models.UUIDField(default=uuid.uuid4, unique=True),
    "positive": models.PositiveIntegerField(default=1),
}


def awkward(field: Any, column: str) -> AddFieldWithDefault:
    field = field.clone()
    field.db_column = column
    return add(field)


@crossed("table, column, field", AWKWARD, FIELDS)
def test_awkward_names(database, table, column, field):
    operation = awkward(FIELDS[field], column)
    shop = Shop(database, LIBRARY, book(db_table=table))
    where = quoted(table)
    shop.migrate(AddField("book", "extra", operation.field))
    stock = shop.columns(where), shop.indexes(where), shop.constraints(where)
    shop.back()
    bare = shop.columns(where)

    shop.migrate(operation)
    shop.contract()
    assert (shop.columns(where), shop.indexes(where), shop.constraints(where)) == stock
    shop.back()
    assert shop.columns(where) == bare


@pytest.mark.parametrize("table", ["100% book", "книга_" * 5])
@pytest.mark.parametrize("column", ["100%", "%s", "столбец_" * 3])
@pytest.mark.parametrize("field", ["uuid", "positive"])
def test_names_that_stock_fails_at(database, table, column, field):
    """A % that it takes for a parameter; names of more than 63 bytes, which PostgreSQL cuts."""
    operation = awkward(FIELDS[field], column)
    shop = Shop(database, book(db_table=table))
    bare = shop.columns(f'"{table}"')
    shop.migrate(operation)
    shop.again()
    shop.contract()
    assert list(shop.columns(f'"{table}"')) == [*bare, column]
    assert len(shop.indexes(f'"{table}"')) == (field == "uuid")
    assert len(shop.constraints(f'"{table}"')) == 1
    shop.back()
    assert shop.columns(f'"{table}"') == bare


# Wrong arguments.


@pytest.mark.parametrize("field", [models.IntegerField(), models.IntegerField(default=lambda: 5)])
def test_a_default_that_postgresql_cannot_hold_fails_at_import(field):
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        AddFieldWithDefault("book", "stock", field)
    assert str(caught.value) == (
        "AddFieldWithDefault book.stock: PostgreSQL can't hold the default of this field. Give it a constant default "
        "or a db_default, or use AddFieldNullableThenBackfill."
    )
