"""AlterField that gives a column another type and another name at once: each release has a column of its own."""

from __future__ import annotations

import datetime
import uuid
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.postgres.fields import ArrayField
from django.db import IntegrityError, connection, models
from django.db.models import CheckConstraint, F, Index, Q, UniqueConstraint
from django.test import override_settings

from safemigrations.errors import StepFailed
from safemigrations.operations import (
    AddFieldNullableThenBackfill,
    AlterFieldConcurrently,
    ExpandAlterField,
    ExpandRename,
    RemoveFieldLater,
)

from .shop import AWKWARD, LIBRARY, Shop, book, quoted, raw
from .snapshot import difference, nameless, snapshot

UUID = uuid.UUID(int=7)
NOON = datetime.datetime(2026, 4, 1, 12, tzinfo=datetime.UTC)
MIDNIGHT = datetime.datetime(2026, 3, 1, tzinfo=datetime.UTC)


def text(**options: Any) -> models.CharField[Any, Any]:
    return models.CharField(**{"max_length": 40, **options})


def number(**options: Any) -> models.IntegerField[Any, Any]:
    return models.IntegerField(**{"db_column": "number", **options})


def decimal(**options: Any) -> models.DecimalField[Any, Any]:
    return models.DecimalField(max_digits=6, decimal_places=2, **options)


def alter(field: Any, **options: Any) -> ExpandAlterField:
    return ExpandAlterField("book", "code", field, **options)


TO_NUMBER = alter(number())

# The old field and the new one; a value of the old and what becomes of it; one of the new and what the old release
# reads; a value that the other one hasn't, of the old and of the new.
TYPES: dict[str, tuple[Any, Any, tuple[Any, Any], tuple[Any, Any], Any, Any]] = {
    "text to number": (text(), models.IntegerField(), ("12", 12), (7, "7"), "twelve", None),
    "number to text": (models.IntegerField(), text(), (12, "12"), ("7", 7), None, "seven"),
    "number to short text": (models.IntegerField(), text(max_length=3), (12, "12"), ("7", 7), 12345, "x"),
    "text to json": (
        models.TextField(),
        models.JSONField(),
        ("[1, 2]", [1, 2]),
        ({"a": 1}, '{"a": 1}'),
        "no json",
        None,
    ),
    "text to uuid": (text(), models.UUIDField(), (str(UUID), UUID), (UUID, str(UUID)), "no uuid", None),
    "uuid to text": (models.UUIDField(), text(), (UUID, str(UUID)), (str(UUID), UUID), None, "no uuid"),
    "float to decimal": (models.FloatField(), decimal(), (1.126, Decimal("1.13")), (Decimal("2.5"), 2.5), 1e9, None),
    "decimal to float": (decimal(), models.FloatField(), (Decimal("1.10"), 1.1), (2.5, Decimal("2.50")), None, 1e9),
    "decimal to number": (decimal(), models.IntegerField(), (Decimal("2.60"), 3), (7, Decimal("7.00")), None, 12345),
    "date to moment": (
        models.DateField(),
        models.DateTimeField(),
        (datetime.date(2026, 3, 1), MIDNIGHT),
        (NOON, datetime.date(2026, 4, 1)),
        None,
        None,
    ),
    "moment to date": (
        models.DateTimeField(),
        models.DateField(),
        (NOON, datetime.date(2026, 4, 1)),
        (datetime.date(2026, 3, 1), MIDNIGHT),
        None,
        None,
    ),
    "boolean to number": (models.BooleanField(), models.SmallIntegerField(), (True, 1), (0, False), None, None),
    "number to boolean": (models.BigIntegerField(), models.BooleanField(), (5, True), (False, 0), None, None),
    "array": (ArrayField(text()), ArrayField(models.IntegerField()), (["1", "2"], [1, 2]), ([3], ["3"]), ["x"], None),
}


@pytest.mark.parametrize("what", TYPES)
def test_each_release_has_its_own_type(database, what):
    before, after, (one, ones), (other, others), misfit, misfit_back = TYPES[what]
    after = after.clone()
    after.db_column = "made"
    shop = Shop(database, book(("code", before)))
    there, old = snapshot(connection), shop.model()
    old.objects.create(title="there", code=one)
    shop.migrate(alter(after))
    new = shop.model()
    assert new.objects.get(title="there").code == ones
    old.objects.create(title="by the old release", code=one)
    assert new.objects.get(title="by the old release").code == ones
    new.objects.create(title="by the new release", code=other)
    assert old.objects.get(title="by the new release").code == others
    new.objects.filter(title="by the old release").update(code=other)
    assert old.objects.get(title="by the old release").code == others
    old.objects.filter(title="by the new release").update(code=one)
    assert new.objects.get(title="by the new release").code == ones
    if misfit_back is not None:  # is read as null, and survives what the old release does to the rest of the row
        new.objects.create(title="too much", code=misfit_back)
        row = old.objects.get(title="too much")
        assert row.code is None
        old.objects.filter(pk=row.pk).update(title="too much for it")
        assert new.objects.get(title="too much for it").code == misfit_back
    if misfit is not None:
        row = old.objects.create(title="misfit", code=misfit)
        assert new.objects.get(title="misfit").code is None
        with pytest.raises(
            StepFailed, match=rf"have a code that isn't in made \(.*\): \"id\" {row.pk} .* Nothing was dropped"
        ):
            shop.contract()
        new.objects.filter(pk=row.pk).update(code=other)
    shop.contract()
    assert "code" not in shop.columns()
    assert shop.columns()["made"].endswith(" NOT NULL")
    assert shop.triggers() == []
    assert shop.execute("SELECT proname FROM pg_proc WHERE proname LIKE 'safemig%'") == []
    new.objects.filter(title="too much for it").delete()
    shop.back()
    assert difference(there, snapshot(connection)) == {}
    assert old.objects.get(title="by the old release").code == others


def test_what_can_not_be_converted_is_named_before_anything_is_touched(database):
    shop = Shop(database, book(("code", text())))
    shop.model().objects.create(title="a", code="1")
    shop.model().objects.create(title="b", code="one")
    before = snapshot(connection)
    with pytest.raises(
        StepFailed, match=r"have a code that can't be converted to integer: \"id\" 2 one\. Nothing was changed"
    ):
        shop.migrate(TO_NUMBER)
    assert difference(before, snapshot(connection)) == {}


def test_using(database):
    shop = Shop(database, book(("code", text())))
    shop.model().objects.create(title="a", code="no. 12")
    shop.migrate(alter(number(), using="substr({}, 5)"))
    assert shop.model().objects.get().code == 12
    shop.contract()
    shop.back()
    assert shop.model().objects.get().code == "12"


def test_using_that_postgresql_can_not_read(database):
    shop = Shop(database, book(("code", text())))
    before = snapshot(connection)
    with pytest.raises(StepFailed, match=r"function nonsense\(.*\) does not exist"):
        shop.migrate(alter(number(), using="nonsense({})"))
    assert difference(before, snapshot(connection)) == {}


def test_what_hangs_on_the_column_goes_to_the_new_one(database):
    options: dict[str, Any] = {
        "unique_together": {("code", "title")},
        "indexes": [
            Index(F("code"), name="first"),
            Index(fields=["title"], condition=Q(code__isnull=False), name="some"),
        ],
        "constraints": [
            CheckConstraint(condition=~Q(code=None), name="filled"),
            UniqueConstraint(fields=["code"], include=["title"], name="once"),
        ],
    }
    shop = Shop(database, book(("code", text(unique=True, db_default="5")), **options))
    for sql in (
        "COMMENT ON COLUMN shop_book.code IS 'it''s 100%'",
        "GRANT SELECT (code) ON shop_book TO pg_monitor",
        "ALTER TABLE shop_book ALTER code SET STATISTICS 77",
    ):
        shop.execute(sql)
    before = snapshot(connection)
    shop.execute("ALTER TABLE shop_book ALTER code SET STORAGE EXTERNAL")  # a number can't have that
    shop.migrate(alter(number(unique=True, db_default=5)))
    shop.model().objects.create(title="default")
    with pytest.raises(IntegrityError):
        shop.model().objects.create(title="again", code=5)
    shop.contract()
    assert shop.columns()["number"] == "integer NOT NULL DEFAULT 5"
    after = snapshot(connection)
    assert after["constraints"].keys() == before["constraints"].keys()
    assert before["indexes"].keys() - after["indexes"].keys() == {"shop_book_code_6d2c2ad5_like"}
    assert shop.execute("SELECT indexrelid::regclass::text FROM pg_index WHERE NOT indisvalid") == []
    assert shop.execute(r"SELECT relname FROM pg_class WHERE relname LIKE 'safemig\_%'") == []
    shop.back()
    assert difference(nameless(before), nameless(snapshot(connection))) == {}


def test_an_index_for_like_that_an_operation_before_it_leaves_to_the_contract(database):
    shop = Shop(database, book(("code", text(db_index=True))))
    shop.migrate(AlterFieldConcurrently("book", "code", text()), TO_NUMBER)
    shop.contract()
    assert shop.indexes() == {}


def test_what_hangs_on_two_columns_that_both_get_another_type(database):
    options: dict[str, Any] = {
        "indexes": [Index(fields=["code", "size"], name="both")],
        "constraints": [
            UniqueConstraint(fields=["size", "code"], name="once"),
            CheckConstraint(condition=Q(size__gt=0) | Q(code=None), name="some"),
        ],
    }
    shop = Shop(database, book(("code", text()), ("size", models.IntegerField()), **options))
    shop.migrate(TO_NUMBER, ExpandAlterField("book", "size", models.FloatField(db_column="length")))
    new = shop.model()
    for title in ("a", "b"):
        new.objects.bulk_create(
            [new(title=title, code=1, size=2)],
            update_conflicts=True,
            unique_fields=["size", "code"],
            update_fields=["title"],
        )
    assert new.objects.get().title == "b"
    shop.contract()
    assert shop.indexes() == {"both": " USING btree (number, length)", "once": " USING btree (length, number)"}
    assert shop.constraints().keys() == {"some", "once"}
    shop.back()
    assert shop.indexes() == {"both": " USING btree (code, size)", "once": " USING btree (size, code)"}
    assert shop.constraints().keys() == {"some", "once"}


@pytest.mark.parametrize("table", ["shop_book", "other"])
def test_what_hangs_on_the_column_and_can_not_follow_is_named(database, table):
    shop = Shop(database, book(("code", text(unique=True))))
    if table == "shop_book":
        shop.execute("CREATE VIEW codes AS SELECT code FROM shop_book")
    else:
        shop.execute("CREATE TABLE other (code varchar(40) REFERENCES shop_book (code))")
    before = snapshot(connection)
    with pytest.raises(
        StepFailed, match=r"can't be replaced by number \(integer\), because of: (view codes|constraint other)"
    ):
        shop.migrate(alter(number(unique=True)))
    assert difference(before, snapshot(connection)) == {}


def test_what_means_nothing_for_the_new_type_is_named_before_anything_is_touched(database):
    once = UniqueConstraint(fields=["title"], condition=Q(code=1), name="once")
    shop = Shop(database, book(("code", models.IntegerField()), constraints=[once]))
    before = snapshot(connection)
    with pytest.raises(StepFailed, match=r"boolean together with index once \(.*boolean = integer\)\. Nothing was"):
        shop.migrate(alter(models.BooleanField(db_column="flag")))
    assert difference(before, snapshot(connection)) == {}


def test_what_was_made_meanwhile_stops_the_contract(database):
    shop = Shop(database, book(("code", text())))
    shop.migrate(TO_NUMBER)
    shop.execute("CREATE VIEW codes AS SELECT code FROM shop_book")
    with pytest.raises(StepFailed, match=r"code of shop_book goes now\. These depend on it: view codes"):
        shop.contract()
    shop.execute("DROP VIEW codes")
    shop.execute(
        "CREATE FUNCTION upper_code() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.code := upper(NEW.code);"
        " RETURN NEW; END $$; CREATE TRIGGER upper_code BEFORE INSERT ON shop_book FOR EACH ROW"
        " EXECUTE FUNCTION upper_code()"
    )
    with pytest.raises(
        StepFailed,
        match=r"Functions of the table's triggers take it by its name, and every write would fail: upper_code\(\)",
    ):
        shop.contract()
    shop.execute("DROP TRIGGER upper_code ON shop_book")
    shop.contract()


EXTRA = AddFieldNullableThenBackfill("book", "extra", models.BigIntegerField(), backfill=F("size") * 2)
SIZE = {
    "wider": ExpandAlterField("book", "size", models.BigIntegerField()),
    "another name": ExpandRename("book", "size", "length"),
    "another type": ExpandAlterField("book", "size", text(db_column="length")),
}


@pytest.mark.parametrize("what", SIZE)
def test_what_fills_another_column_from_it_is_ours_and_goes_on(database, other_connection, what):
    shop = Shop(database, book(("size", models.IntegerField())))
    insert = "INSERT INTO shop_book (title, size) VALUES ('a', 3)"
    shop.migrate(EXTRA)
    other_connection.execute(insert)  # it has the function's plan from now on
    shop.migrate(SIZE[what])
    other_connection.execute(insert)
    assert shop.execute("SELECT extra FROM shop_book") == [6, 6]
    shop.contract()
    assert shop.triggers() == []


def test_what_fills_another_column_from_the_new_one_goes_with_the_contract(database):
    shop = Shop(database, book(("code", text())))
    backfill = F("code") * 2
    shop.migrate(TO_NUMBER, AddFieldNullableThenBackfill("book", "extra", models.IntegerField(), backfill=backfill))
    shop.execute("INSERT INTO shop_book (title, code) VALUES ('a', '3')")
    assert shop.model().objects.get().extra == 6
    shop.contract()
    assert shop.triggers() == []


def test_a_column_of_that_name(database):
    shop = Shop(database, book(("code", text())))
    shop.execute("ALTER TABLE shop_book ADD number int")
    with pytest.raises(StepFailed, match="because of: column number, which is there already"):
        shop.migrate(TO_NUMBER)


def test_later_migrations_of_the_field_wait_for_the_contract(database):
    shop = Shop(database, book(("code", text())))
    shop.migrate(TO_NUMBER)
    for later in (RemoveFieldLater("book", "code"), alter(models.BigIntegerField(db_column="number"))):
        with pytest.raises(StepFailed, match="still belongs to the contract"):
            shop.migrate(later)
    shop.contract()
    shop.migrate(RemoveFieldLater("book", "code"))


def test_a_role_that_may_only_write(database):
    shop = Shop(database, book(("code", text())))
    shop.execute("ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC")
    shop.migrate(TO_NUMBER)
    shop.execute("GRANT SELECT, INSERT, UPDATE ON shop_book TO pg_monitor")
    shop.execute("GRANT USAGE ON SEQUENCE shop_book_id_seq TO pg_monitor")
    shop.execute("SET ROLE pg_monitor")
    shop.execute("INSERT INTO shop_book (title, code) VALUES ('a', '5')")
    shop.execute("RESET ROLE")
    assert shop.model().objects.get().code == 5


def test_using_that_reads_what_the_writer_may_not_gives_no_value(database):
    """The write goes on, and the contract names the row."""
    shop = Shop(database, book(("code", text())))
    shop.execute("CREATE TABLE numbers (code text, number int); INSERT INTO numbers VALUES ('five', 5)")
    shop.migrate(alter(number(), using="(SELECT n.number FROM numbers n WHERE n.code = {})"))
    shop.execute("GRANT INSERT ON shop_book TO pg_monitor; GRANT USAGE ON SEQUENCE shop_book_id_seq TO pg_monitor")
    shop.execute("SET ROLE pg_monitor")
    shop.execute("INSERT INTO shop_book (title, code) VALUES ('a', 'five')")
    shop.execute("RESET ROLE")
    with pytest.raises(StepFailed, match=r"have a code that isn't in number \(integer\): \"id\" 1 five"):
        shop.contract()
    shop.execute("UPDATE shop_book SET number = 5")
    shop.contract()
    assert shop.model().objects.get().code == 5


def test_what_writes_under_another_time_zone_gives_the_same(database):
    shop = Shop(database, book(("code", models.DateField())))
    shop.migrate(alter(models.DateTimeField(db_column="at")))
    shop.execute("SET timezone TO 'Asia/Tokyo'")
    shop.execute("INSERT INTO shop_book (title, code) VALUES ('a', '2026-03-01')")
    shop.execute("RESET timezone")
    assert shop.model().objects.get().code == MIDNIGHT


def test_what_writes_in_another_style_gives_the_same(database):
    shop = Shop(database, book(("code", models.DateField())))
    shop.migrate(alter(text(db_column="day")))
    shop.execute("SET DateStyle TO 'German'")
    shop.execute("INSERT INTO shop_book (title, code) VALUES ('a', '2026-03-01')")
    shop.execute("RESET DateStyle")
    assert shop.model().objects.get().code == "2026-03-01"


def test_a_function_that_another_role_has_made_before_is_not_left_to_it(database):
    """CREATE OR REPLACE keeps the owner, who could change what the function does."""
    shop = Shop(database, book(("code", text())))
    made = 'FUNCTION public."safemig_shop_book.code.number"(given varchar) RETURNS integer'
    shop.execute("GRANT CREATE ON SCHEMA public TO pg_monitor")
    shop.execute("SET ROLE pg_monitor")
    shop.execute(f"CREATE {made} LANGUAGE sql AS 'SELECT 666'")
    shop.execute("RESET ROLE")
    with pytest.raises(StepFailed, match=r"\) belongs to the role pg_monitor, .* and type: DROP FUNCTION "):
        shop.migrate(TO_NUMBER)
    assert shop.execute("SELECT prosrc FROM pg_proc WHERE proname ~ '^safemig_'") == ["SELECT 666"]


def test_no_rows_and_contract_immediately(database):
    shop = Shop(database, book(("code", text())))
    with override_settings(SAFEMIGRATIONS={"CONTRACT": "immediately"}):
        shop.migrate(TO_NUMBER)
    assert shop.columns() == {
        "id": "bigint NOT NULL",
        "title": "character varying(100) NOT NULL",
        "number": "integer NOT NULL",
    }
    shop.back()
    assert shop.columns()["code"] == "character varying(40) NOT NULL"


@pytest.mark.parametrize(("table", "column"), [*AWKWARD, ("shop_book", "a {b} {}")])
def test_awkward_names(database, table, column):
    shop = Shop(database, LIBRARY, book(("code", text(unique=True, db_column="it's old")), db_table=table))
    before, old = snapshot(connection), shop.model()
    old.objects.create(title="a", code="5")
    shop.migrate(alter(number(unique=True, db_column=column)))
    old.objects.create(title="b", code="6")
    assert list(shop.model().objects.order_by("id").values_list("code", flat=True)) == [5, 6]
    shop.contract()
    assert raw(column) in shop.columns(quoted(table))
    shop.back()
    assert difference(nameless(before), nameless(snapshot(connection))) == {}


ITS_TYPE = "-- code of shop_book: of the type that the migrations say (looked up when it is run)"
NOTHING_STUCK = "-- shop_book: nothing of yours keeps code from getting another type (looked up when it is run)"


def test_what_the_plan_prints(database):
    shop = Shop(database, book(("code", text())))
    now, _, _ = shop.plan(TO_NUMBER).partition("-- Left for the contract:")
    assert [line for line in now.splitlines() if line.startswith("-- ")] == [
        ITS_TYPE,
        NOTHING_STUCK,
        "-- shop_book: a function that makes a number (integer) from a code (varchar(40))",
        "-- shop_book: a function that makes a code (varchar(40)) from a number (integer)",
        "-- shop_book: every code can be converted to integer (looked up when it is run)",
        "-- shop_book: add column number, and a trigger that makes it from code, and back",
        "-- shop_book: make number from code",
        "-- shop_book: statistics of number",
        "-- shop_book: number has every value of code (looked up when it is run)",
    ]


def test_a_table_of_another_tool(database):
    """One that nobody made through migrations: the state says NOT NULL, the table doesn't."""
    shop = Shop(database, book(("code", text(null=True))))
    shop.model().objects.create(title="a")
    shop.migrate(alter(number(null=True)))
    shop.contract()
    assert shop.model().objects.get().code is None
