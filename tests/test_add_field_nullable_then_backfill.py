"""AddField NOT NULL whose value is computed -> AddFieldNullableThenBackfill."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from django.db import IntegrityError, models
from django.db.migrations import AddField, AlterField, CreateModel, RemoveField
from django.db.models import Case, Exists, F, Max, OuterRef, Q, Subquery, Value, When
from django.db.models.functions import Coalesce, Concat, Upper
from django.test import override_settings

from safemigrations.errors import NotComputable, StepFailed
from safemigrations.operations import AddFieldNullableThenBackfill, Backfill
from safemigrations.operations.filling import path_of
from safemigrations.operations.written import written
from safemigrations.plans.triggers import AS_TEXT, NO_VALUE, as_here

from .contention import Told
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
    null_again_as_printed,
    optimized,
    quoted,
    raw,
)

AUTHOR = CreateModel("Author", [KEY, ("name", models.TextField())])
TEXT = models.CharField(max_length=100)
numbers = itertools.count()


def shout_of(book: Any) -> str:
    return str(book.title.upper())


def nothing(book: Any) -> None:
    return None


def number() -> int:
    return next(numbers)


def by(backfill: Any = None, field: Any = TEXT, name: str = "shout", **options: Any) -> AddFieldNullableThenBackfill:
    return AddFieldNullableThenBackfill("book", name, field, backfill=backfill, **options)


EXPRESSION = by(Upper("title"))
FUNCTION = by(shout_of)
MEANWHILE = by(shout_of, meanwhile="it's 100% %s")

# The exact plan.


def test_the_plan_of_an_expression(database):
    value = '(SELECT UPPER("safemig_row"."title") AS "safemig_value" FROM (SELECT {}.*) AS "safemig_row")'
    filled = value.format('"shop_book"')
    shop = Shop(database, book())
    assert shop.plan(EXPRESSION) == (
        "-- shop_book: add column shout, still nullable\n"
        'ALTER TABLE "shop_book" ADD COLUMN "shout" varchar(100) NULL;\n'
        "-- shop_book: a trigger fills shout of rows that the old release inserts\n"
        'CREATE OR REPLACE FUNCTION "safemig_shop_book.shout.fill"() RETURNS trigger LANGUAGE plpgsql'
        f' SET search_path FROM CURRENT AS $safemig$ BEGIN BEGIN NEW."shout" := {value.format("NEW")};'
        f" EXCEPTION WHEN {NO_VALUE} THEN NULL; END; RETURN NEW; END;"
        f" $safemig$ SET row_security TO off{as_here('TimeZone', *AS_TEXT)};\n"
        'CREATE OR REPLACE TRIGGER "zzz_safemig_4_shop_book_shout_fill" BEFORE INSERT ON "shop_book" FOR EACH ROW'
        ' WHEN (NEW."shout" IS NULL) EXECUTE FUNCTION "safemig_shop_book.shout.fill"();\n'
        "-- shop_book: fill shout of the rows that are there\n"
        f'UPDATE "shop_book" SET "shout" = {filled} WHERE "shout" IS NULL;\n'
        "-- shop_book: every row has shout (looked up when it is run)\n"
        "-- Left for the contract:\n"
        "--   shop_book: fill shout of the rows that the old release inserted last\n"
        f'--   UPDATE "shop_book" SET "shout" = {filled} WHERE "shout" IS NULL;\n'
        f"{not_null_as_printed(database, 'shop_book', 'shout', later=True)}\n"
        "--   shop_book: drop the trigger that fills shout of rows that the old release inserts\n"
        '--   DROP TRIGGER IF EXISTS "zzz_safemig_4_shop_book_shout_fill" ON "shop_book";\n'
        '--   DROP FUNCTION IF EXISTS "safemig_shop_book.shout.fill"();'
    )
    assert shop.plan(EXPRESSION, backwards=True) == (
        f"{null_again_as_printed(database, 'shop_book', 'shout')}\n"
        "-- shop_book: drop the trigger that fills shout of rows that the old release inserts\n"
        'DROP TRIGGER IF EXISTS "zzz_safemig_4_shop_book_shout_fill" ON "shop_book";\n'
        'DROP FUNCTION IF EXISTS "safemig_shop_book.shout.fill"();\n'
        "-- shop_book: drop column shout\n"
        'ALTER TABLE "shop_book" DROP COLUMN IF EXISTS "shout";'
    )


def test_the_plan_of_a_function(database):
    assert Shop(database, book()).plan(FUNCTION) == (
        "-- shop_book: add column shout, still nullable\n"
        'ALTER TABLE "shop_book" ADD COLUMN "shout" varchar(100) NULL;\n'
        "-- shop_book: fill shout of the rows that are there\n"
        f'-- UPDATE "shop_book" SET "shout" = {path_of(shout_of)} WHERE "shout" IS NULL;\n'
        "-- Left for the contract:\n"
        "--   shop_book: fill shout of the rows that the old release inserted last\n"
        f'--   UPDATE "shop_book" SET "shout" = {path_of(shout_of)} WHERE "shout" IS NULL;\n'
        f"{not_null_as_printed(database, 'shop_book', 'shout', later=True)}"
    )


def test_the_plan_of_a_function_with_a_stand_in(database):
    plan = Shop(database, book()).plan(MEANWHILE)
    assert plan.startswith(
        "-- shop_book: add column shout, still nullable\n"
        'ALTER TABLE "shop_book" ADD COLUMN "shout" varchar(100) NULL;\n'
        "-- shop_book: remember which rows carry a stand-in for shout\n"
        'ALTER TABLE "shop_book" ADD COLUMN IF NOT EXISTS "safemig_shout_meanwhile" boolean;\n'
        "-- shop_book: a trigger fills shout of rows that the old release inserts\n"
        'CREATE OR REPLACE FUNCTION "safemig_shop_book.shout.fill"() RETURNS trigger LANGUAGE plpgsql'
        " SET search_path FROM CURRENT AS $safemig$ BEGIN NEW.\"shout\" := (SELECT 'it''s 100% %s' AS"
        ' "safemig_value" FROM (SELECT NEW.*) AS "safemig_row"); NEW."safemig_shout_meanwhile" := TRUE; RETURN NEW;'
        " END; $safemig$;\n"
    )
    assert plan.endswith(
        "--   shop_book: forget which rows carried a stand-in for shout\n"
        '--   ALTER TABLE "shop_book" DROP COLUMN IF EXISTS "safemig_shout_meanwhile";'
    )


# Forwards.


@pytest.mark.parametrize("what", ["too long", "two of it", "refused"])
def test_a_value_that_can_not_be_computed_fails_no_write_of_the_old_release(database, what):
    """The row stays null; migrate and the contract name it."""
    backfill: Any = Upper("title")
    field: Any = models.PositiveSmallIntegerField() if what == "refused" else models.CharField(max_length=5)
    if what == "refused":
        backfill = F("author") - 5
    related = models.ForeignKey("shop.author", models.CASCADE, related_name="books")
    shop = Shop(database, CreateModel("Author", [KEY]), book(("author", related)))
    author = shop.model("Author").objects.create()
    old = shop.model()
    if what == "two of it":
        backfill = Subquery(old.objects.filter(author=OuterRef("author")).values("title"))
    shop.migrate(by(backfill, field))
    old.objects.create(title="Emma", author=author)
    old.objects.create(title="Northanger Abbey", author=author)
    with pytest.raises(StepFailed, match=r'rejects (a row|2 rows) of shop_book, "id" = '):
        shop.contract()
    assert old.objects.count() == 2


# What is computed, in what sort of field, and what comes out for Emma by Austen, 474 pages.
OVER_THE_ROW: dict[str, tuple[Any, Any, Any]] = {
    "function": (Upper("title"), TEXT, "EMMA"),
    "arithmetic": (F("pages") * 2 + 1, models.BigIntegerField(), 949),
    "parameters": (Concat("title", Value("'s 100% %s")), TEXT, "Emma's 100% %s"),
    "relation": (F("author__name"), models.TextField(), "Austen"),
    "coalesce": (Coalesce("author__born", Value(0)), models.IntegerField(), 1775),
    "case": (Case(When(title__startswith="E", then=Value(True)), default=Value(False)), models.BooleanField(), True),
    "condition": (Q(author__born__gt=1800), models.BooleanField(), False),
    "key": (F("author"), models.ForeignKey("shop.author", models.CASCADE, related_name="+"), 1),
    "constant": (Value("always"), TEXT, "always"),
}
OF_AN_AUTHOR = (
    CreateModel("Author", [KEY, ("name", models.TextField()), ("born", models.IntegerField(null=True))]),
    book(("author", models.ForeignKey("shop.author", models.CASCADE)), ("pages", models.IntegerField())),
)


@pytest.mark.parametrize("what", OVER_THE_ROW)
def test_every_row_is_filled_and_those_of_the_old_release_too(database, what):
    backfill, field, value = OVER_THE_ROW[what]
    shop = Shop(database, *OF_AN_AUTHOR)
    austen = shop.model("Author").objects.create(name="Austen", born=1775)
    old = shop.model()
    old.objects.create(title="Emma", author=austen, pages=474)
    shop.migrate(by(backfill, field))
    old.objects.create(title="Emma", author=austen, pages=474)
    column = shop.model()._meta.get_field("shout").column
    assert shop.execute(f"SELECT {column} FROM shop_book") == [value, value]

    shop.contract()
    assert shop.columns()[column].endswith(" NOT NULL")
    assert shop.triggers() == []
    assert shop.execute("SELECT proname FROM pg_proc WHERE proname LIKE '%safemig%'") == []


def test_a_subquery_over_another_table(database):
    loan = CreateModel("Loan", [KEY, ("title", models.TextField())])
    shop = Shop(database, loan, book())
    shop.model("Loan").objects.create(title="Emma")
    old = shop.model()
    old.objects.bulk_create([old(title="Emma"), old(title="Evelina")])
    lent = Exists(shop.model("Loan").objects.filter(title=OuterRef("title")))
    shop.migrate(by(lent, models.BooleanField(), "lent"))
    old.objects.create(title="Emma")
    assert shop.execute("SELECT title, lent FROM shop_book ORDER BY id") == [
        ("Emma", True),
        ("Evelina", False),
        ("Emma", True),
    ]


@pytest.mark.parametrize(
    ("backfill", "why"),
    [
        (F("books__pages"), "books__pages leads to many rows, by books, and each row gets one value."),
        (Upper("books__title"), "books__title leads to many rows, by books, and each row gets one value."),
        (Max("books__pages"), "Max is an aggregate over many rows, and this is about one."),
    ],
)
def test_what_has_many_values_is_refused_before_anything_is_changed(database, backfill, why):
    author = models.ForeignKey("shop.author", models.CASCADE, related_name="books")
    shop = Shop(database, OF_AN_AUTHOR[0], book(("author", author), ("pages", models.IntegerField())))
    with pytest.raises(NotComputable) as caught:
        shop.migrate(AddFieldNullableThenBackfill("author", "most", models.TextField(), backfill=backfill))
    assert str(caught.value) == (
        f"The backfill of shop.Author.most can't be computed: {why} Compute it by a function that is given the row, "
        "or write a Subquery into the migration by hand."
    )
    assert list(shop.columns("shop_author")) == ["id", "name", "born"]


def test_what_new_code_writes_is_kept(database):
    shop = Shop(database, book())
    shop.model().objects.create(title="Emma")
    shop.migrate(EXPRESSION)
    new = shop.model()
    new.objects.create(title="Evelina", shout="Huh")
    new.objects.filter(title="Emma").update(shout="Oh")
    shop.contract()
    assert shop.execute("SELECT shout FROM shop_book ORDER BY id") == ["Oh", "Huh"]


def test_a_function_fills_the_rows_of_the_old_release_in_the_contract(database):
    shop = Shop(database, book())
    old = shop.model()
    old.objects.create(title="before")
    shop.migrate(FUNCTION)
    old.objects.create(title="since")
    assert shop.execute("SELECT shout FROM shop_book ORDER BY id") == ["BEFORE", None]
    assert shop.left() == ["forbid null in shout of shop_book, after filling the rows that are left"]

    shop.contract()
    assert shop.execute("SELECT shout FROM shop_book ORDER BY id") == ["BEFORE", "SINCE"]
    assert shop.columns()["shout"] == "character varying(100) NOT NULL"


def test_with_a_stand_in_no_release_reads_null(database):
    shop = Shop(database, book())
    old = shop.model()
    old.objects.create(title="before")
    shop.migrate(MEANWHILE)
    old.objects.bulk_create([old(title="since"), old(title="changed by the new release")])
    new = shop.model()
    assert list(new.objects.order_by("id").values_list("shout", flat=True)) == [
        "BEFORE",
        "it's 100% %s",
        "it's 100% %s",
    ]
    changed = new.objects.get(title="changed by the new release")
    changed.shout = "Hush"
    changed.save()
    new.objects.create(title="new", shout="it's 100% %s")

    shop.contract()
    assert list(new.objects.order_by("id").values_list("shout", flat=True)) == [
        "BEFORE",
        "SINCE",
        "Hush",
        "it's 100% %s",
    ]
    assert list(shop.columns()) == ["id", "title", "shout"]
    assert shop.triggers() == []


def test_a_callable_default_is_called_for_each_row(database):
    shop = Shop(database, book())
    old = shop.model()
    old.objects.bulk_create([old(title=str(n)) for n in range(20)])
    shop.migrate(by(None, models.IntegerField(default=number, unique=True), "number"))
    old.objects.create(title="since")
    shop.contract()
    assert len(set(shop.execute("SELECT number FROM shop_book"))) == 21
    assert shop.constraints() == {"shop_book_number_key": "UNIQUE (number)"}


def test_index_check_and_foreign_key_are_the_ones_of_stock(database):
    keyed = models.PositiveIntegerField(db_index=True, default=0)
    shop = Shop(database, AUTHOR, book())
    related = models.ForeignKey("shop.author", models.CASCADE, default=0)
    shop.migrate(AddField("book", "pages", keyed), AddField("book", "author", related))
    stock = shop.columns(), shop.indexes(), shop.constraints()
    shop.back()
    shop.migrate(by(F("id"), keyed, "pages"), by(F("id"), related, "author"))
    shop.contract()
    assert (shop.columns(), shop.indexes(), shop.constraints()) == stock


def test_an_expression_that_gives_null_is_found_out_before_new_code_runs(database):
    shop = Shop(database, AUTHOR, book(("author", models.ForeignKey("shop.author", models.CASCADE, null=True))))
    old = shop.model()
    old.objects.bulk_create([old(title=str(n)) for n in range(7)])
    with pytest.raises(StepFailed) as caught:
        shop.migrate(by(F("author__name")))
    assert str(caught.value) == (
        'The backfill of book.shout gives NULL, which the field forbids, for "id" 1, 2, 3, 4, 5 and 2 more. The '
        "column stays nullable and both releases can go on. Give these rows what the expression needs, or wrap it: "
        "Coalesce(..., Value(...)); then run the same command again."
    )
    old.objects.create(title="The old release goes on")
    shop.migrate(by(Coalesce("author__name", Value("?"))))
    shop.contract()
    assert set(shop.execute("SELECT shout FROM shop_book")) == {"?"}


def test_a_function_that_gives_none_names_the_row(database):
    shop = Shop(database, book())
    shop.model().objects.create(title="Emma")
    with pytest.raises(StepFailed) as caught:
        shop.migrate(by(nothing))
    assert str(caught.value) == (
        "tests.test_add_field_nullable_then_backfill:nothing gave None for shop.Book 1, and shout can't be null. Fix "
        "the function and run the same command again; rows that are filled stay filled."
    )


def test_an_expression_that_does_not_resolve_names_model_and_field(database):
    shop = Shop(database, book())
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        shop.migrate(by(F("price") * 2))
    assert str(caught.value) == (
        "The backfill of shop.Book.shout can't be computed: Cannot resolve keyword 'price' into field. Choices are: "
        "id, shout, title. Write an expression over the fields of Book, such as F('price') * 2."
    )
    assert list(shop.columns()) == ["id", "title"]


def test_it_goes_on_where_it_stopped(database):
    shop = Shop(database, book())
    old = shop.model()
    old.objects.create(title="Emma")
    for operation in (EXPRESSION, MEANWHILE):
        shop.migrate(operation)
        shop.again()
        shop.contract()
        shop.again()
        shop.contract()
        assert shop.execute("SELECT shout FROM shop_book") == ["EMMA"]
        assert list(shop.columns()) == ["id", "title", "shout"]
        shop.back()


# Backwards.


@pytest.mark.parametrize("contracted", [False, True])
@pytest.mark.parametrize("operation", [EXPRESSION, FUNCTION, MEANWHILE], ids=["expression", "function", "meanwhile"])
def test_backwards_and_forwards_again(database, operation, contracted):
    shop = Shop(database, book())
    old = shop.model()
    before = shop.columns()
    for _ in range(2):
        old.objects.create(title="Emma")
        shop.migrate(operation)
        old.objects.create(title="Evelina")
        if contracted:
            shop.contract()
        shop.back()
        assert shop.columns() == before
        assert shop.triggers() == shop.left() == []
        assert shop.constraints() == {}
        assert shop.execute("SELECT proname FROM pg_proc WHERE proname LIKE '%safemig%'") == []


# The written form.


def test_the_file():
    assert file_of(by(F("title"), preserve_default=True)) == (
        "from django.db import migrations, models\n"
        "from safemigrations.operations import AddFieldNullableThenBackfill\n"
        "\n\n"
        "class Migration(migrations.Migration):\n"
        "\n"
        "    atomic = False  # fills rows in batches\n"
        "\n"
        "    dependencies = [\n"
        "    ]\n"
        "\n"
        "    operations = [\n"
        "        AddFieldNullableThenBackfill(\n"
        "            model_name='book',\n"
        "            name='shout',\n"
        "            field=models.CharField(max_length=100),\n"
        "            backfill=models.F('title'),\n"
        "        ),\n"
        "    ]\n"
    )


@pytest.mark.parametrize(
    "operation",
    [
        *(by(backfill, field) for backfill, field, _ in OVER_THE_ROW.values()),
        FUNCTION,
        MEANWHILE,
        by(shout_of, meanwhile=Upper("title")),
        by(None, models.IntegerField(default=number)),
        by(None, models.IntegerField(default=number), preserve_default=False),
    ],
    ids=[*OVER_THE_ROW, "row function", "meanwhile", "expression meanwhile", "default", "default once"],
)
def test_the_file_is_read_back(operation):
    assert_is_read_back(operation)


def test_what_it_says_of_itself():
    assert EXPRESSION.describe() == "Add field shout to book, nullable until the contract, and fill it"
    assert EXPRESSION.migration_name_fragment == "book_shout"
    assert EXPRESSION.notice() == MEANWHILE.notice() == ""
    assert FUNCTION.notice() == (
        "book.shout: PostgreSQL can't call shout_of, so rows that the old release inserts after migrate have no "
        "shout until the contract: the new release may read None there. If it can't live with that, add meanwhile=, "
        "a value or an expression that stands in, to the migration."
    )


# The optimizer.


def test_it_folds_into_the_model_that_is_created_with_it():
    assert optimized(book(), EXPRESSION) == optimized(book(("shout", TEXT)))


def test_it_vanishes_with_its_removal():
    assert optimized(EXPRESSION, RemoveField("book", "shout")) == []


def test_it_is_never_folded_into_stock_operations():
    altered = AlterField("book", "shout", models.TextField())
    assert optimized(EXPRESSION, altered) == [written(EXPRESSION), written(altered)]


# Other databases.


def test_where_the_router_says_no_nothing_happens(database):
    with override_settings(DATABASE_ROUTERS=[Nowhere()]):
        shop = Shop(database, book())
        shop.migrate(MEANWHILE)
        assert shop.left() == []
        shop.back()
    assert shop.tables() == {"django_migrations"}


def test_another_backend_does_what_stock_does(tmp_path):
    assert_does_what_stock_does(tmp_path, EXPRESSION, AddField("book", "shout", TEXT), book())


# Awkward names.


@crossed("table, column, operation", AWKWARD, [EXPRESSION, MEANWHILE])
def test_awkward_names(database, table, column, operation):
    field = models.CharField(max_length=100, db_column=column)
    operation = by(operation.backfill, field, meanwhile=operation.meanwhile)
    shop = Shop(database, LIBRARY, book(db_table=table))
    where = quoted(table)
    bare = shop.columns(where)
    old = shop.model()
    old.objects.create(title="before")
    shop.migrate(operation)
    old.objects.create(title="since")
    shop.contract()
    assert shop.columns(where) == {**bare, raw(column): "character varying(100) NOT NULL"}
    assert list(shop.model().objects.order_by("id").values_list("shout", flat=True)) == ["BEFORE", "SINCE"]
    assert shop.triggers(where) == []
    shop.back()
    assert shop.columns(where) == bare


# Wrong arguments.

WRONG: list[tuple[dict[str, Any], str]] = [
    (
        {"backfill": F("title"), "field": models.CharField(null=True, max_length=5)},
        "the field may be null, so nothing has to be filled. Use AddField and Backfill.",
    ),
    (
        {"field": TEXT},
        (
            "say how rows are filled: backfill=F('price') * 2, backfill=function_of_one_row, or a field with a "
            "callable default."
        ),
    ),
    (
        {"backfill": F("title"), "field": TEXT, "meanwhile": "?"},
        "meanwhile= is for Python functions; an expression fills rows at once.",
    ),
]


@pytest.mark.parametrize(("arguments", "message"), WRONG, ids=["null", "no backfill", "meanwhile"])
def test_wrong_arguments_fail_at_import(arguments, message):
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        AddFieldNullableThenBackfill("book", "shout", **arguments)
    assert str(caught.value) == f"AddFieldNullableThenBackfill book.shout: {message}"


def test_a_function_that_cannot_be_imported_fails_at_import():
    with pytest.raises(ValueError, match="can't be imported: write a function at the top level of a module"):
        by(lambda book: book.title)


def test_the_old_release_fails_only_after_the_contract(database):
    shop = Shop(database, book())
    old = shop.model()
    shop.migrate(FUNCTION)
    old.objects.create(title="since")
    shop.contract()
    with pytest.raises(IntegrityError, match='null value in column "shout"'):
        old.objects.create(title="too late")


class Monitor(models.CharField):  # type: ignore[type-arg]
    """As MonitorField of django-model-utils, it looks at another field of every instance that is made."""

    def contribute_to_class(self, cls: Any, name: str, *args: Any, **kwargs: Any) -> None:
        super().contribute_to_class(cls, name, *args, **kwargs)
        models.signals.post_init.connect(self.look, sender=cls)

    def look(self, instance: Any, **kwargs: Any) -> None:
        assert instance.title, "a row without a title"


def test_a_default_that_takes_no_row_makes_no_instance(database):
    shop = Shop(database, book())
    shop.model().objects.create(title="Emma")
    shop.migrate(by(field=Monitor(max_length=9, default=number)))
    shop.execute("INSERT INTO shop_book (title) VALUES ('Ida')")
    shop.contract()
    assert len(shop.execute("SELECT DISTINCT shout FROM shop_book")) == 2


TOUCH = """
CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN NEW.title = NEW.title || '!'; RETURN NEW; END $$;
CREATE TRIGGER touch BEFORE UPDATE ON shop_book FOR EACH ROW EXECUTE FUNCTION touch();
CREATE TRIGGER other AFTER UPDATE OF title ON shop_book FOR EACH ROW EXECUTE FUNCTION touch();
CREATE TRIGGER inserted BEFORE INSERT ON shop_book FOR EACH ROW EXECUTE FUNCTION touch();
CREATE TRIGGER disabled BEFORE UPDATE ON shop_book FOR EACH ROW EXECUTE FUNCTION touch();
ALTER TABLE shop_book DISABLE TRIGGER disabled;
"""


@pytest.mark.parametrize("operation", [EXPRESSION, FUNCTION], ids=["expression", "function"])
def test_the_plan_says_which_triggers_fire_for_each_row(database, operation):
    """What they set, as the time of the last change, changes in every row that is filled."""
    shop = Shop(database, book())
    shop.model().objects.create(title="Emma")
    shop.execute(TOUCH)
    assert "shop_book: fill shout of the rows that are there; your trigger touch fires for each\n" in shop.plan(
        operation
    )
    report = Told()
    shop.migrate(operation, report=report)
    assert "shop_book: fill shout of the rows that are there; your trigger touch fires for each" in dict(
        report.finished
    )


def test_a_trigger_of_another_column_does_not_fire(database):
    shop = Shop(database, book(("shout", models.TextField(default="x"))))
    shop.execute(TOUCH)
    shop.execute("CREATE TRIGGER audit AFTER UPDATE OF shout ON shop_book FOR EACH ROW EXECUTE FUNCTION touch()")
    assert "; your triggers audit and touch fire for each\n" in shop.plan(Backfill("book", set={"shout": "y"}))
    assert "; your triggers other and touch fire for each\n" in shop.plan(Backfill("book", set={"title": "y"}))
