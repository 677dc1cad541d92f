"""RemoveField -> RemoveFieldLater."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from django.contrib.postgres.functions import RandomUUID
from django.db import connection, models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations import AddField, AlterField, CreateModel, RemoveField
from django.db.models import F
from django.db.models.functions import Upper
from django.test import override_settings
from django.utils import timezone

from safemigrations.errors import StepFailed
from safemigrations.operations import AddFieldWithDefault, RemoveFieldLater
from safemigrations.operations.written import written

from .shop import (
    AWKWARD,
    CATCH_UP,
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
from .snapshot import difference, snapshot

AUTHOR = CreateModel("Author", [KEY, ("name", models.TextField(default=""))])
EXTRA = RemoveFieldLater("book", "extra")
STOCK = RemoveField("book", "extra")


def with_extra(field: Any, **options: Any) -> CreateModel:
    return book(("extra", field), **options)


# The exact plan.

NOTHING = "-- shop_book: nothing of yours depends on {} (looked up when it is run)\n"
NO_FUNCTION = "--   shop_book: no function of your triggers takes {} from a row (looked up when it is run)\n"


def not_null_again(connection: BaseDatabaseWrapper, column: str) -> str:
    proof = f"-- shop_book: every row has {column} (looked up when it is run)\n"
    return proof + not_null_as_printed(connection, "shop_book", column)


def test_the_plan_with_a_neutral_value(database):
    shop = Shop(database, book())
    remove = RemoveFieldLater("book", "title")
    assert shop.plan(remove) == NOTHING.format("title") + (
        "-- shop_book: title defaults to ''\n"
        """ALTER TABLE "shop_book" ALTER COLUMN "title" SET DEFAULT '';\n"""
        "-- Left for the contract:\n" + NO_FUNCTION.format("title") + "--   shop_book: drop column title\n"
        '--   ALTER TABLE "shop_book" DROP COLUMN IF EXISTS "title";'
    )
    assert shop.plan(remove, backwards=True) == (
        "-- shop_book: add column title again\n"
        """ALTER TABLE "shop_book" ADD COLUMN "title" varchar(100) NOT NULL DEFAULT '';\n"""
        f"{not_null_again(database, 'title')}\n"
        "-- shop_book: title needs no default in the database any more\n"
        'ALTER TABLE "shop_book" ALTER COLUMN "title" DROP DEFAULT;'
    )


def test_the_plan_where_a_unique_index_has_it(database):
    shop = Shop(database, book())
    shop.execute("CREATE UNIQUE INDEX by_hand ON shop_book (title)")
    assert shop.plan(RemoveFieldLater("book", "title")).startswith(
        NOTHING.format("title")
        + "-- shop_book: title may be null where a unique index has it\n"
        + 'ALTER TABLE "shop_book" ALTER COLUMN "title" DROP NOT NULL;\n'
        + "-- Left for the contract:\n"
    )


def test_the_plan_without_one(database):
    shop = Shop(database, with_extra(models.IntegerField()))
    assert shop.plan(EXTRA) == NOTHING.format("extra") + (
        "-- shop_book: extra may be null\n"
        'ALTER TABLE "shop_book" ALTER COLUMN "extra" DROP NOT NULL;\n'
        "-- Left for the contract:\n" + NO_FUNCTION.format("extra") + "--   shop_book: drop column extra\n"
        '--   ALTER TABLE "shop_book" DROP COLUMN IF EXISTS "extra";'
    )
    assert shop.plan(EXTRA, backwards=True) == (
        "-- shop_book: no row needs the extra that the contract has dropped (looked up when it is run)\n"
        "-- shop_book: add column extra again\n"
        'ALTER TABLE "shop_book" ADD COLUMN "extra" integer NULL;\n' + not_null_again(database, "extra")
    )


# Forwards.

# What the old release reads of rows that the new one wrote.
FIELDS: dict[str, tuple[Any, Any]] = {
    "no default": (models.IntegerField(), None),
    "default": (models.IntegerField(default=7), 7),
    "text": (models.CharField(max_length=5), ""),
    "text with a default": (models.CharField(max_length=50, default="it's 100% %s"), "it's 100% %s"),
    "nullable": (models.IntegerField(null=True), None),
    "nullable with a default": (models.IntegerField(null=True, default=7), None),
    "db_default": (models.IntegerField(db_default=7), 7),
    "generated": (
        models.GeneratedField(expression=Upper("title"), output_field=models.TextField(), db_persist=True),
        "NEW",
    ),
    "json": (models.JSONField(default=dict), {}),
    "boolean": (models.BooleanField(), None),
    "indexed": (models.CharField(max_length=5, db_index=True), ""),
    "checked": (models.PositiveIntegerField(default=3), 3),
    "python default": (models.IntegerField(default=int("7").bit_length), None),
}


@pytest.mark.parametrize("what", FIELDS)
def test_new_code_writes_without_it_and_old_code_reads_what_it_wrote(database, what):
    field, value = FIELDS[what]
    shop = Shop(database, with_extra(field))
    old = shop.model()
    shop.migrate(EXTRA)
    new = shop.model()
    new.objects.create(title="new")
    new.objects.bulk_create([new(title="new"), new(title="new")])
    assert [row.extra for row in old.objects.all()] == [value] * 3
    for row in old.objects.all():
        row.save()
    shop.contract()
    assert list(shop.columns()) == ["id", "title"]
    assert shop.indexes() == shop.constraints() == {}
    assert shop.left() == []


def test_volatile_and_moment(database):
    shop = Shop(
        database,
        book(
            ("code", models.UUIDField(default=uuid.uuid4, unique=True)),
            ("other", models.UUIDField(db_default=RandomUUID(), unique=True)),
            ("at", models.DateTimeField(default=timezone.now)),
        ),
    )
    old = shop.model()
    shop.migrate(*(RemoveFieldLater("book", name) for name in ("code", "other", "at")))
    new = shop.model()
    new.objects.bulk_create([new(title="new"), new(title="new")])
    first, second = old.objects.all()
    assert first.code != second.code
    assert first.other != second.other
    assert first.at == second.at


UNIQUE: dict[str, tuple[Any, dict[str, Any]]] = {
    "unique": (models.CharField(max_length=5, unique=True), {}),
    "unique default": (models.IntegerField(default=1, unique=True), {}),
    "unique db_default": (models.IntegerField(db_default=1, unique=True), {}),
    "unique nullable db_default": (models.IntegerField(db_default=1, null=True, unique=True), {}),
    "unique_together": (models.CharField(max_length=5), {"unique_together": {("title", "extra")}}),
    "constraint": (
        models.IntegerField(default=1),
        {"constraints": [models.UniqueConstraint(fields=["title", "extra"], name="book_unique")]},
    ),
}


@pytest.mark.parametrize("what", UNIQUE)
def test_rows_of_the_new_release_do_not_collide(database, what):
    field, options = UNIQUE[what]
    shop = Shop(database, with_extra(field, **options))
    shop.migrate(EXTRA)
    new = shop.model()
    new.objects.bulk_create([new(title="new"), new(title="new")])
    shop.contract()
    assert list(shop.columns()) == ["id", "title"]


PARENTS = {
    "plain": models.ForeignKey("shop.author", models.CASCADE, related_name="+"),
    "nullable": models.ForeignKey("shop.author", models.CASCADE, null=True, related_name="+"),
    "one to one": models.OneToOneField("shop.author", models.CASCADE, related_name="+"),
    "db_default": models.ForeignKey("shop.author", models.CASCADE, db_default=1, related_name="+"),
}


@pytest.mark.parametrize("what", PARENTS)
def test_new_code_may_delete_a_parent_that_it_no_longer_knows_of(database, what):
    shop = Shop(database, AUTHOR, with_extra(PARENTS[what]))
    old, old_author = shop.model(), shop.model("Author")
    old.objects.create(title="Emma", extra=old_author.objects.create())
    shop.migrate(EXTRA)
    new, new_author = shop.model(), shop.model("Author")
    new.objects.create(title="new")
    new_author.objects.get().delete()
    new.objects.create(title="newer")
    assert [row.extra_id for row in old.objects.all()] == [None, None, None]

    author = old_author.objects.create()
    kept = old.objects.create(title="old", extra=author)
    author.delete()
    assert not old.objects.filter(pk=kept.pk).exists()

    shop.contract()
    assert shop.constraints() == shop.indexes() == {}
    assert list(shop.columns()) == ["id", "title"]


ALL: dict[str, Any] = {
    **{what: field for what, (field, _) in FIELDS.items()},
    **{what: field for what, (field, options) in UNIQUE.items() if not options},
    **{f"{what} foreign key": field for what, field in PARENTS.items()},
}


@pytest.mark.parametrize("what", ALL)
def test_it_goes_on_where_it_stopped(database, what):
    shop = Shop(database, AUTHOR, with_extra(ALL[what]))
    shop.migrate(EXTRA)
    shop.again()
    shop.contract()
    assert list(shop.columns()) == ["id", "title"]


def many_to_many(**options: Any) -> Any:
    return models.ManyToManyField("shop.author", related_name="books", **options)


def test_many_to_many(database):
    shop = Shop(database, AUTHOR, with_extra(many_to_many()))
    old, old_author = shop.model(), shop.model("Author")
    emma, evelina = old.objects.create(title="Emma"), old.objects.create(title="Evelina")
    austen, burney = old_author.objects.create(), old_author.objects.create()
    emma.extra.add(austen, burney)
    evelina.extra.add(burney)
    shop.migrate(EXTRA)
    assert shop.left() == ["drop table shop_book_extra"]

    shop.model().objects.get(title="Emma").delete()
    shop.model("Author").objects.get(pk=austen.pk).delete()
    assert [list(row.extra.all()) for row in old.objects.all()] == [[burney]]
    evelina.extra.set([old_author.objects.create()])

    shop.contract()
    assert "shop_book_extra" not in shop.tables()


def test_many_to_many_through_a_model_of_its_own_keeps_the_table(database):
    through = CreateModel(
        "Credit",
        [
            KEY,
            ("book", models.ForeignKey("shop.book", models.CASCADE)),
            ("author", models.ForeignKey("shop.author", models.CASCADE)),
        ],
    )
    shop = Shop(database, AUTHOR, book(), through, AddField("book", "extra", many_to_many(through="shop.credit")))
    before = shop.constraints("shop_credit")
    shop.migrate(EXTRA)
    assert shop.left() == []
    assert shop.constraints("shop_credit") == before


def test_meanwhile_is_what_rows_of_the_new_release_carry(database):
    shop = Shop(database, with_extra(models.IntegerField()))
    old = shop.model()
    shop.migrate(RemoveFieldLater("book", "extra", meanwhile=-1))
    shop.model().objects.create(title="new")
    assert old.objects.get().extra == -1
    shop.back()
    assert shop.columns()["extra"] == "integer NOT NULL"


NOOP = "CREATE FUNCTION noop() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$;"
ON_COLUMN = {
    "view expensive": "CREATE VIEW expensive AS SELECT id FROM shop_book WHERE extra > 5",
    "materialized view expensive": "CREATE MATERIALIZED VIEW expensive AS SELECT extra FROM shop_book",
    "function total()": "CREATE FUNCTION total() RETURNS bigint BEGIN ATOMIC SELECT sum(extra) FROM shop_book; END",
    "generated column double of table shop_book": (
        "ALTER TABLE shop_book ADD COLUMN double int GENERATED ALWAYS AS (extra * 2) STORED"
    ),
    "publication of table shop_book in publication feed": "CREATE PUBLICATION feed FOR TABLE shop_book (id, extra)",
    "policy own on table shop_book": "CREATE POLICY own ON shop_book USING (extra > 5)",
    "rule also on table shop_book": (
        "CREATE TABLE log (); CREATE RULE also AS ON UPDATE TO shop_book WHERE NEW.extra > 5 DO ALSO DELETE FROM log"
    ),
    "trigger watch on table shop_book": (
        f"{NOOP} CREATE TRIGGER watch AFTER UPDATE OF extra ON shop_book EXECUTE FUNCTION noop()"
    ),
    "constraint loan_book_fkey on table loan": (
        "ALTER TABLE shop_book ADD UNIQUE (extra); CREATE TABLE loan (book int REFERENCES shop_book (extra))"
    ),
}


@pytest.mark.parametrize("what", ON_COLUMN)
def test_what_depends_on_the_column_is_found_out_before_anything_is_touched(database, what):
    if "publication" in what and database.pg_version < 150000:
        pytest.skip("PostgreSQL 14 publishes all columns")
    shop = Shop(database, with_extra(models.IntegerField()))
    shop.execute(ON_COLUMN[what])
    before = snapshot(connection)
    with pytest.raises(StepFailed) as caught:
        shop.migrate(EXTRA)
    assert str(caught.value) == (
        f"The contract can't drop extra of shop_book as long as these use it: {what}. Nothing was changed. "
        "Replace them first, then run the same command again."
    )
    assert difference(before, snapshot(connection)) == {}


LOAN, DOUBLE = RemoveFieldLater("loan", "book"), RemoveFieldLater("book", "double")


@pytest.mark.parametrize("releases", [[[LOAN, DOUBLE, EXTRA]], [[LOAN], [DOUBLE], [EXTRA]]])
def test_what_goes_before_it_does_not_count(database, releases):
    twice = models.GeneratedField(expression=F("extra") * 2, output_field=models.IntegerField(), db_persist=True)
    to = models.ForeignKey("shop.book", models.CASCADE, to_field="extra")
    loan = CreateModel("Loan", [KEY, ("book", to)])
    shop = Shop(database, book(("extra", models.IntegerField(unique=True)), ("double", twice)), loan)
    for operations in releases:
        shop.migrate(*operations)
    shop.contract()
    assert list(shop.columns()) == ["id", "title"]
    assert list(shop.columns("shop_loan")) == ["id"]


SHOUT = "CREATE OR REPLACE FUNCTION shout() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {} RETURN NEW; END $$;"


def test_a_function_that_names_the_column_stops_the_contract(database):
    """PostgreSQL would find out with the next write, and then with every one."""
    shop = Shop(database, with_extra(models.CharField(max_length=9)))
    shop.execute(SHOUT.format("NEW.extra := upper(NEW.extra);"))
    shop.execute("CREATE TRIGGER loud BEFORE INSERT OR UPDATE ON shop_book FOR EACH ROW EXECUTE FUNCTION shout()")
    shop.migrate(EXTRA)
    with pytest.raises(StepFailed) as caught:
        shop.contract()
    assert str(caught.value) == (
        "extra of shop_book can't be dropped, because functions of the table's triggers name it, and every write would "
        "fail. They are: shout(). Nothing was changed. Let them do without it, or look whether it is there "
        "(IF to_jsonb(NEW) ? 'extra' THEN ...), and run the same command again."
    )
    shop.execute(SHOUT.format("IF to_jsonb(NEW) ? 'extra' THEN NEW.extra := upper(NEW.extra); END IF;"))
    shop.model().objects.create(title="meanwhile")
    shop.contract()
    shop.model().objects.create(title="after")
    assert list(shop.columns()) == ["id", "title"]


def test_a_field_of_that_name_in_a_later_migration_waits_for_the_contract(database):
    shop = Shop(database, with_extra(models.IntegerField()))
    shop.migrate(EXTRA)
    with pytest.raises(StepFailed) as caught:
        shop.migrate(AddFieldWithDefault("book", "extra", models.TextField(default="")))
    assert str(caught.value) == (
        "The column extra of shop_book still belongs to the contract of shop.0002 (drop extra of shop_book). Nothing "
        "was changed. When no server runs the release before that migration any more, type: "
        f"python manage.py migrate shop 0002 --contract --only{CATCH_UP}"
    )
    shop.contract()
    shop.migrate(AddFieldWithDefault("book", "extra", models.TextField(default="")))
    assert shop.columns()["extra"] == "text NOT NULL DEFAULT ''::text"


# Backwards.


def one_book(shop: Shop, field: Any) -> None:
    """With a value in the field, whatever it needs."""
    if field.remote_field:
        shop.model().objects.create(title="Emma", extra=shop.model("Author").objects.create())
    elif field.has_default() or field.has_db_default() or field.generated:
        shop.model().objects.create(title="Emma")
    else:
        shop.model().objects.create(title="Emma", extra=1)


@pytest.mark.parametrize("what", ALL)
def test_backwards_before_the_contract_every_value_is_there(database, what):
    shop = Shop(database, AUTHOR, with_extra(ALL[what]))
    one_book(shop, ALL[what])
    before = shop.columns(), shop.indexes(), shop.constraints()
    rows = shop.execute("SELECT * FROM shop_book")
    for _ in range(2):
        shop.migrate(EXTRA)
        shop.back()
        assert (shop.columns(), shop.indexes(), shop.constraints()) == before
        assert shop.execute("SELECT * FROM shop_book") == rows
        assert shop.left() == []


@pytest.mark.parametrize("what", ALL)
def test_backwards_after_the_contract_the_column_is_there_again(database, what):
    shop = Shop(database, AUTHOR, with_extra(ALL[what]))
    before = shop.columns(), shop.indexes(), shop.constraints()
    for _ in range(2):
        shop.migrate(EXTRA)
        shop.contract()
        shop.back()
        assert (shop.columns(), shop.indexes(), shop.constraints()) == before


def test_backwards_rows_without_a_value_are_named(database):
    shop = Shop(database, with_extra(models.IntegerField()))
    shop.migrate(EXTRA)
    new = shop.model()
    new.objects.bulk_create([new(title=str(n)) for n in range(3)])
    migration = shop.migrations[-1]
    with pytest.raises(StepFailed) as caught:
        shop.back()
    assert str(caught.value) == (
        'Rows of shop_book have no extra, which can\'t be null in the release that you go back to: "id" 1, 2, 3. The '
        "new release, or the contract, left them so. The column is there and may be null: fill it (UPDATE "
        '"shop_book" SET "extra" = ... WHERE "extra" IS NULL), then run the same command again.'
    )
    shop.execute('UPDATE "shop_book" SET "extra" = 0 WHERE "extra" IS NULL')
    shop.migrations.append(migration)
    shop.back()
    assert shop.columns()["extra"] == "integer NOT NULL"


def test_backwards_values_that_are_gone_are_asked_for_before_the_column_is_there(database):
    shop = Shop(database, with_extra(models.IntegerField()))
    shop.model().objects.create(title="Emma", extra=1)
    shop.migrate(EXTRA)
    shop.contract()
    migration = shop.migrations[-1]
    with pytest.raises(StepFailed) as caught:
        shop.back()
    assert str(caught.value) == (
        'Rows of shop_book have no extra, which can\'t be null in the release that you go back to: "id" 1. The '
        "contract has dropped it with its values. Nothing was changed. Add it, fill it, then run the same command "
        'again: ALTER TABLE "shop_book" ADD COLUMN "extra" integer NULL'
    )
    assert "extra" not in shop.columns()
    shop.execute(str(caught.value).partition("again: ")[2])
    shop.execute("UPDATE shop_book SET extra = 1")
    shop.migrations.append(migration)
    shop.back()
    assert shop.columns()["extra"] == "integer NOT NULL"


@pytest.mark.parametrize("contracted", [False, True])
def test_backwards_many_to_many(database, contracted):
    shop = Shop(database, AUTHOR, with_extra(many_to_many()))
    table = "shop_book_extra"
    before = shop.columns(table), shop.indexes(table), shop.constraints(table)
    old = shop.model()
    old.objects.create(title="Emma").extra.add(shop.model("Author").objects.create())
    for _ in range(2):
        shop.migrate(EXTRA)
        if contracted:
            shop.contract()
        shop.back()
        assert (shop.columns(table), shop.indexes(table), shop.constraints(table)) == before
    assert old.extra.through.objects.count() == (0 if contracted else 1)


# The written form.


def test_the_file():
    assert file_of(EXTRA) == (
        "from django.db import migrations\n"
        "from safemigrations.operations import RemoveFieldLater\n"
        "\n\n"
        "class Migration(migrations.Migration):\n"
        "\n"
        "    atomic = False  # each step is a short transaction of its own\n"
        "\n"
        "    dependencies = [\n"
        "    ]\n"
        "\n"
        "    operations = [\n"
        "        RemoveFieldLater(\n"
        "            model_name='book',\n"
        "            name='extra',\n"
        "        ),\n"
        "    ]\n"
    )


@pytest.mark.parametrize("meanwhile", [None, 5, "it's"])
def test_the_file_is_read_back(meanwhile):
    assert_is_read_back(RemoveFieldLater("book", "extra", meanwhile=meanwhile))


def test_what_it_says_of_itself():
    assert EXTRA.describe() == "Remove field extra from book; dropped by the contract"
    assert EXTRA.migration_name_fragment == "remove_book_extra"


# The optimizer.


def test_the_field_of_a_model_that_is_created_with_it_vanishes():
    assert optimized(with_extra(models.IntegerField()), EXTRA) == optimized(book())


@pytest.mark.parametrize("add", [AddField, AddFieldWithDefault])
def test_it_vanishes_with_the_operation_that_adds_the_field(add):
    assert optimized(add("book", "extra", models.IntegerField(default=1)), EXTRA) == []


def test_an_alteration_of_what_is_removed_vanishes():
    assert optimized(AlterField("book", "extra", models.TextField()), EXTRA) == [written(EXTRA)]


def test_unrelated_operations_pass():
    note = AddField("author", "note", models.TextField(null=True))
    alter = AlterField("author", "note", models.CharField(max_length=5, null=True))
    after = AddField("author", "note", models.CharField(max_length=5, null=True))
    assert sorted(optimized(note, EXTRA, alter)) == sorted([written(after), written(EXTRA)])


# Other databases.


def test_where_the_router_says_no_nothing_happens(database):
    with override_settings(DATABASE_ROUTERS=[Nowhere()]):
        shop = Shop(database, with_extra(models.IntegerField()))
        shop.migrate(EXTRA)
        assert shop.left() == []
        shop.back()
    assert shop.tables() == {"django_migrations"}


@pytest.mark.parametrize("field", [models.IntegerField(null=True), models.CharField(max_length=5, db_index=True)])
def test_another_backend_does_what_stock_does(tmp_path, field):
    assert_does_what_stock_does(tmp_path, EXTRA, STOCK, with_extra(field))


def test_another_backend_and_many_to_many(tmp_path):
    assert_does_what_stock_does(tmp_path, EXTRA, STOCK, AUTHOR, with_extra(many_to_many()))


# Awkward names.


@pytest.mark.parametrize(("table", "column"), AWKWARD)
def test_awkward_names(database, table, column):
    author = CreateModel("Author", [KEY], {"db_table": '"library"."The Author\'s"'})
    parent = models.ForeignKey("shop.author", models.CASCADE, db_column=column)
    shop = Shop(database, LIBRARY, author, book(("extra", parent), db_table=table))
    where = quoted(table)
    before = shop.columns(where), shop.indexes(where), shop.constraints(where)
    old, old_author = shop.model(), shop.model("Author")
    old.objects.create(title="old", extra=old_author.objects.create())
    shop.migrate(EXTRA)
    shop.model("Author").objects.all().delete()
    shop.model().objects.create(title="new")
    assert set(old.objects.values_list("extra", flat=True)) == {None}
    shop.contract()
    assert list(shop.columns(where)) == ["id", "title"]

    shop.model().objects.all().delete()
    shop.back()
    assert (shop.columns(where), shop.indexes(where), shop.constraints(where)) == before


# Wrong arguments.


def test_a_field_that_the_model_lacks_is_named(database):
    shop = Shop(database, book())
    with pytest.raises(Exception, match="'nothing'"):
        shop.migrate(RemoveFieldLater("book", "nothing"))
