"""Backfill in a migration: expressions, relations, functions; there and back, and on tables that are awkward."""

from __future__ import annotations

import math
import re
import uuid
from io import StringIO
from typing import Any

import pytest
from django.core.exceptions import FieldDoesNotExist
from django.core.management import call_command
from django.db import NotSupportedError, connection, migrations, models
from django.db.migrations import CreateModel, Migration
from django.db.models import Exists, F, OuterRef, Q, Subquery, Value
from django.db.models.functions import Concat, Upper
from django.test import override_settings

from safemigrations.errors import StepFailed
from safemigrations.operations import Backfill, RemoveFieldLater
from safemigrations.running.backfill import progress
from safemigrations.running.backfill.control import work_on_all
from safemigrations.running.backfill.progress import Status
from safemigrations.running.run import Report, Run, running

from .contention import Told
from .representatives import crossed
from .shop import AWKWARD, KEY, LIBRARY, Nowhere, Shop, assert_is_read_back, book, file_of, optimized, quoted, sqlite

COUNTRY = CreateModel("Country", [KEY, ("code", models.CharField(max_length=2))])
ORDER = CreateModel(
    "Order",
    [
        KEY,
        ("country", models.ForeignKey("shop.Country", models.CASCADE, null=True)),
        ("total", models.IntegerField()),
        ("region", models.CharField(max_length=9, null=True)),
        ("note", models.CharField(max_length=20, null=True)),
    ],
)
BY_RELATION = Backfill("order", set={"region": F("country__code")}, where=Q(region=None))


@pytest.fixture
def shop(database):
    """2,500 orders of three countries; every hundredth has none."""
    shop = Shop(database, COUNTRY, ORDER)
    shop.execute("INSERT INTO shop_country VALUES (1, 'de'), (2, 'fr'), (3, 'it')")
    shop.execute(
        "INSERT INTO shop_order (id, country_id, total) SELECT n, CASE WHEN n % 100 <> 0 THEN 1 + n % 3 END, n"
        " FROM generate_series(1, 2500) n"
    )
    return shop


def count(shop: Shop, condition: str, table: str = "shop_order") -> int:
    return int(shop.execute(f"SELECT count(*) FROM {table} WHERE {condition}")[0])


# The plan.


def test_the_plan(shop):
    assert shop.plan(BY_RELATION) == (
        "-- shop_order: fill region\n"
        'UPDATE "shop_order" SET "region" = (SELECT "shop_country"."code" AS "safemig_value" FROM (SELECT'
        ' "shop_order".*) AS "safemig_row" LEFT OUTER JOIN "shop_country"'
        ' ON ("safemig_row"."country_id" = "shop_country"."id"))'
        ' WHERE ("shop_order"."region" IS NULL);'
    )


def test_the_plan_without_a_condition(shop):
    assert shop.plan(Backfill("order", set={"note": None, "region": Upper(Value("x"))})) == (
        "-- shop_order: fill note, region\n"
        'UPDATE "shop_order" SET "note" = NULL, "region" = (SELECT UPPER(\'x\') AS "safemig_value" FROM'
        ' (SELECT "shop_order".*) AS "safemig_row") WHERE ROW("note", "region") IS DISTINCT FROM ROW(NULL, (SELECT'
        ' UPPER(\'x\') AS "safemig_value" FROM (SELECT "shop_order".*) AS "safemig_row"));'
    )


# Forwards.


def note_of(order: Any) -> dict[str, Any] | None:
    if order.total == 7:
        return None
    return {"note": f"{order.total} {order.country.code if order.country else '%'}"}


SETS: dict[str, tuple[dict[str, Any], str, int]] = {
    "a relation": ({"set": {"region": F("country__code")}}, "region IS NOT NULL", 2475),
    "a relation, condition": ({"set": {"region": F("country__code")}, "where": Q(region=None)}, "region > ''", 2475),
    "condition on a relation": ({"set": {"note": "x"}, "where": Q(country__code="fr")}, "note = 'x'", 825),
    "a constant": ({"set": {"note": "it's 100 %"}}, "note = 'it''s 100 %'", 2500),
    "null": ({"set": {"country": None}}, "country_id IS NULL", 2500),
    "arithmetic": (
        {"set": {"total": F("total") * 2}, "where": Q(total__lte=2500, total__gt=1250)},
        "total > 2500",
        1250,
    ),
    "several": ({"set": {"note": Value("n"), "region": Upper("country__code")}}, "note = 'n' AND region = 'DE'", 825),
    "concat": ({"set": {"note": Concat("country__code", Value("-"), "region")}}, "note LIKE '%-'", 2500),
    "a condition that no row meets": ({"set": {"note": "x"}, "where": Q(pk__in=[])}, "note = 'x'", 0),
    "a condition that all rows meet": ({"set": {"note": "x"}, "where": ~Q(pk__in=[])}, "note = 'x'", 2500),
    "a function": ({"set": note_of}, "note LIKE total || ' %'", 2499),
    "a function, condition": ({"set": note_of, "where": Q(total__lt=10)}, "note LIKE total || ' %'", 8),
}


@pytest.mark.parametrize("what", SETS)
@pytest.mark.parametrize("size", [50, 5000])
def test_rows_are_set(shop, what, size):
    how, condition, expected = SETS[what]
    with override_settings(SAFEMIGRATIONS={"BACKFILL_BATCH_SIZE": size}):
        shop.migrate(Backfill("order", **how))
    assert count(shop, condition) == expected
    assert shop.left() == []


def test_subqueries(shop):
    dear = shop.model("Order").objects.filter(country=OuterRef("pk"), total__gt=2400)
    shop.migrate(migrations.AddField("country", "best", models.IntegerField(null=True)))
    best = Subquery(
        shop.model("Order").objects.filter(country=OuterRef("pk")).order_by("-total").values("total")[:1],
        output_field=models.IntegerField(),
    )
    shop.migrate(Backfill("country", set={"best": best}, where=Exists(dear)))
    assert shop.execute("SELECT best FROM shop_country ORDER BY id") == [2499, 2498, 2497] or shop.execute(
        "SELECT bool_and(best = (SELECT max(total) FROM shop_order o WHERE o.country_id = c.id)) FROM shop_country c"
    ) == [True]


def test_it_goes_on_where_it_was(shop):
    """A computed value that would be wrong twice: each row gets it once, however often the run is ended."""
    doubled = Backfill("order", set={"total": F("total") + 10_000}, where=Q(note=None))

    class End(Report):
        def meter(self, *args: Any) -> None:
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch, override_settings(SAFEMIGRATIONS={"BACKFILL_BATCH_SIZE": 20}):
        patch.setattr("safemigrations.running.backfill.news.Meter.is_due", lambda self: True)
        for _ in range(3):
            with pytest.raises(KeyboardInterrupt):
                shop.migrate(doubled, report=End())
        patch.undo()
        assert 0 < count(shop, "total > 10000") < 2500
        shop.migrate(doubled)
    assert count(shop, "total = id + 10000") == 2500


def half_filled(shop, operation: Backfill) -> None:
    """Ctrl-C after some batches."""

    class End(Report):
        def meter(self, *args: Any) -> None:
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch, override_settings(SAFEMIGRATIONS={"BACKFILL_BATCH_SIZE": 20}):
        patch.setattr("safemigrations.running.backfill.news.Meter.is_due", lambda self: True)
        with pytest.raises(KeyboardInterrupt):
            shop.migrate(operation, report=End())
    assert 0 < count(shop, "total > 10000") < 2500


MORE = Backfill("order", set={"total": F("total") + 10_000}, where=Q(note=None))


def test_a_file_that_was_edited_half_way_is_not_run_over_rows_that_are_filled(shop):
    half_filled(shop, MORE)
    edited = Backfill("order", set={"total": F("total") + 20_000}, where=Q(note=None))
    with pytest.raises(StepFailed, match="began to fill the same column in another way") as caught:
        shop.migrate(edited)
    assert count(shop, "total > 20000") == 0
    cancel = re.findall(r"manage.py safemigrations (backfill cancel \d+)", str(caught.value))
    call_command("safemigrations", *cancel[0].split(), stdout=StringIO())
    shop.migrate(edited)
    assert count(shop, "total > 20000") == 2500


def test_a_table_that_somebody_made_anew_is_filled_when_a_person_says_so(shop):
    half_filled(shop, MORE)
    shop.execute("CREATE TABLE other (LIKE shop_order INCLUDING ALL)")
    shop.execute("INSERT INTO other SELECT * FROM shop_order")
    shop.execute("ALTER TABLE shop_order RENAME TO former")
    shop.execute("ALTER TABLE other RENAME TO shop_order")
    with pytest.raises(StepFailed, match="somebody has made anew since"):
        shop.migrate(MORE)
    work_on_all(connection, Report())
    shop.migrate(MORE)
    assert count(shop, "total = id + 10000") == 2500


@pytest.mark.parametrize("by", ["expression", "function"])
def test_rows_whose_keys_changed_meanwhile_are_filled(shop, by):
    step: Any = {"note": Concat("note", Value("!"))} if by == "expression" else one_more
    shop.execute("UPDATE shop_order SET note = ''")
    shop.execute(STOP)
    with override_settings(SAFEMIGRATIONS={"BACKFILL_BATCH_SIZE": 100}):
        with pytest.raises(StepFailed, match="stopped"):
            shop.migrate(Backfill("order", set=step, where=~Q(note__endswith="!")))
        shop.execute("DROP FUNCTION stop() CASCADE")
        shop.execute("UPDATE shop_order SET id = -id WHERE id > 2400")
        shop.migrate(Backfill("order", set=step, where=~Q(note__endswith="!")))
    assert count(shop, "note = '!'") == 2500


def one_more(row: Any) -> dict[str, Any]:
    return {"note": f"{row.note}!"}


STOP = """
    CREATE FUNCTION stop() RETURNS trigger LANGUAGE plpgsql
        AS 'BEGIN RAISE EXCEPTION ''stopped'' USING ERRCODE = ''query_canceled''; END';
    CREATE TRIGGER stop BEFORE UPDATE ON shop_order FOR EACH ROW WHEN (NEW.id = 1500) EXECUTE FUNCTION stop()
"""


@pytest.mark.parametrize("rows", [30, 2500])
@pytest.mark.parametrize("by", ["expression", "function"])
def test_killed_before_it_was_recorded_no_row_gets_its_value_twice(shop, rows, by):
    shop.execute(f"DELETE FROM shop_order WHERE id > {rows}")
    more: Any = {"total": F("total") + 10_000} if by == "expression" else ten_thousand_more
    with override_settings(SAFEMIGRATIONS={"BACKFILL_BATCH_SIZE": 100}):
        shop.migrate(Backfill("order", set=more, where=Q(note=None)))
        shop.again()
        assert count(shop, "total = id + 10000") == rows
        shop.migrate(Backfill("order", set=more, where=Q(note=None)))  # another migration
    assert count(shop, "total = id + 20000") == rows


def ten_thousand_more(row: Any) -> dict[str, Any]:
    return {"total": row.total + 10_000}


def test_the_contract_waits_for_a_backfill_that_reads_its_table(shop):
    settings = {"BACKFILL_INLINE_ROWS": 1000, "BACKFILL_BATCH_SIZE": 50}
    shop.execute("ANALYZE shop_order")
    with override_settings(SAFEMIGRATIONS=settings):
        shop.migrate(Backfill("order", set={"region": F("country__code")}, where=Q(region=None), can_wait=True))
        shop.migrate(RemoveFieldLater("country", "code"))
        with pytest.raises(StepFailed, match=r"^Backfills that this contract needs aren't finished: shop_order: fill"):
            shop.contract()
        work_on_all(connection, Report())
        shop.contract()
    assert count(shop, "region > ''") == 2475


def test_a_large_table_is_left_where_both_releases_can_live_with_it(shop):
    settings = {"BACKFILL_INLINE_ROWS": 1000, "BACKFILL_BATCH_SIZE": 50}
    shop.execute("ANALYZE shop_order")
    with override_settings(SAFEMIGRATIONS=settings):
        shop.migrate(Backfill("order", set={"note": "x"}, can_wait=True))
        assert count(shop, "note = 'x'") == 0
        assert [row.status for row in progress.rows(connection)] == [Status.PENDING]
        told = Told()
        shop.migrate(Backfill("order", set={"region": "x"}), report=told)
        assert count(shop, "region = 'x'") == 2500
    assert told.progressed == ["about 2,500 rows, filled now because the new release needs them"]


# Backwards.


def test_backwards_is_nothing_unless_it_is_given(shop):
    shop.migrate(Backfill("order", set={"note": "x"}))
    shop.back()
    assert count(shop, "note = 'x'") == 2500
    assert list(progress.rows(connection)) == []


@pytest.mark.parametrize("size", [50, 5000])
def test_forwards_backwards_forwards(shop, size):
    operation = Backfill("order", set={"region": F("country__code")}, where=Q(region=None), reverse={"region": None})
    with override_settings(SAFEMIGRATIONS={"BACKFILL_BATCH_SIZE": size}):
        for _ in range(2):
            shop.migrate(operation)
            assert count(shop, "region > ''") == 2475
            shop.back()
            assert count(shop, "region IS NULL") == 2500


# Arguments, the written form, the optimizer.


def test_wrong_arguments_fail_when_the_file_is_imported():
    with pytest.raises(ValueError, match=r"^Backfill of order: say what to set, as in set="):
        Backfill("order", set={})
    with pytest.raises(ValueError, match=r"^Backfill of order: total is computed from itself, so a row that is filled"):
        Backfill("order", set={"total": F("total") * 2})
    with pytest.raises(ValueError, match="can't be imported: write a function at the top level of a module"):
        Backfill("order", set=lambda row: {})


def test_a_field_that_is_not_there(shop):
    with pytest.raises(FieldDoesNotExist):
        shop.migrate(Backfill("order", set={"nonsense": 1}))
    with pytest.raises(ValueError, match=r"^The backfill of shop.Order.note can't be computed: Cannot resolve keyword"):
        shop.migrate(Backfill("order", set={"note": F("nonsense")}))


def test_the_file():
    assert "atomic = False" in file_of(BY_RELATION)
    assert (
        "        Backfill(\n            model_name='order',\n            set={'region': models.F('country__code')},\n"
        "            where=models.Q(('region', None)),\n        ),\n"
    ) in file_of(BY_RELATION)


@pytest.mark.parametrize(
    "operation",
    [
        BY_RELATION,
        Backfill("order", set=note_of, reverse={"note": None}),
        Backfill("order", set={"note": "x"}, can_wait=True, elidable=True),
    ],
    ids=["by a relation", "a function", "can wait"],
)
def test_it_is_read_back(operation):
    assert_is_read_back(operation)


def test_the_optimizer_keeps_it_unless_it_is_elidable():
    add = migrations.AddField("order", "extra", models.IntegerField(null=True))
    remove = migrations.RemoveField("order", "extra")
    assert len(optimized(add, Backfill("order", set={"extra": 1}), remove)) == 3
    assert optimized(add, Backfill("order", set={"extra": 1}, elidable=True), remove) == []


def test_inside_a_transaction_it_says_what_to_do(shop):
    migration = Migration("0009", "shop")
    migration.operations = [BY_RELATION]  # type: ignore[misc]
    with (
        running(Run(migration=migration)),
        pytest.raises(NotSupportedError, match=r"^The Backfill operation cannot be executed inside a transaction"),
        connection.schema_editor(atomic=True) as editor,
    ):
        migration.apply(shop.state.clone(), editor)


def test_where_the_router_says_no_nothing_happens(shop):
    with override_settings(DATABASE_ROUTERS=[Nowhere()]):
        shop.migrate(BY_RELATION)
    assert count(shop, "region IS NULL") == 2500


@pytest.mark.parametrize("what", ["a relation", "a constant", "a function", "condition on a relation", "several"])
def test_another_backend(tmp_path, what):
    how, condition, _ = SETS[what]
    with sqlite(tmp_path) as lite:
        shop = Shop(lite, COUNTRY, ORDER)
        shop.execute("INSERT INTO shop_country VALUES (1, 'de'), (2, 'fr')")
        shop.execute("INSERT INTO shop_order (id, country_id, total) VALUES (1, 2, 1), (2, 1, 2), (3, NULL, 7)")
        shop.migrate(Backfill("order", **how, reverse={"note": None}))
        assert count(shop, condition) > 0
        shop.back()
        assert count(shop, "note IS NOT NULL") == 0


# Awkward tables and values.


@crossed("table, column, by", AWKWARD, ["expression", "function"])
def test_awkward_names(database, table, column, by):
    field = models.CharField(max_length=100, null=True, db_column=column)
    shop = Shop(database, LIBRARY, book(("shout", field), db_table=table))
    shop.execute(
        f"INSERT INTO {quoted(table).replace(chr(39) * 2, chr(39))} (title) SELECT n FROM generate_series(1,200) n"
    )
    how: Any = {"shout": Upper("title")} if by == "expression" else shout
    with override_settings(SAFEMIGRATIONS={"BACKFILL_BATCH_SIZE": 10}):
        shop.migrate(Backfill("book", set=how, where=Q(shout=None)))
    assert shop.model().objects.filter(shout=F("title")).count() == 200


def shout(row: Any) -> dict[str, Any]:
    return {"shout": row.title.upper()}


def double(row: Any) -> dict[str, Any]:
    return {"value": row.number * 2}


VALUE: Any = ("value", models.FloatField(null=True))
AWKWARD_KEYS: dict[str, list[Any]] = {
    "composite": [
        ("pk", models.CompositePrimaryKey("tenant", "number")),
        ("tenant", models.UUIDField(default=uuid.uuid4)),
        ("number", models.IntegerField()),
    ],
    "uuid": [("id", models.UUIDField(primary_key=True, default=uuid.uuid4)), ("number", models.IntegerField())],
    "text": [("id", models.CharField(primary_key=True, max_length=40)), ("number", models.IntegerField())],
}


@pytest.mark.parametrize("kind", AWKWARD_KEYS)
@pytest.mark.parametrize("by", ["expression", "function"])
def test_awkward_keys(database, kind, by):
    shop = Shop(database, CreateModel("Thing", [*AWKWARD_KEYS[kind], VALUE]))
    model = shop.model("Thing")
    given: Any = [{"id": f"key '{n}' %"} if kind == "text" else {} for n in range(500)]
    model.objects.bulk_create(model(number=n, **given[n]) for n in range(500))
    how: Any = {"value": F("number") * 2.0} if by == "expression" else double
    with override_settings(SAFEMIGRATIONS={"BACKFILL_BATCH_SIZE": 20}):
        shop.migrate(Backfill("thing", set=how))
    assert model.objects.filter(value=F("number") * 2.0).count() == 500


class Label:
    """What a key looks like in Python: equal to nothing that the database gives."""

    def __init__(self, number: int) -> None:
        self.number = number


class LabelField(models.BigIntegerField):  # type: ignore[type-arg]
    def from_db_value(self, value: Any, *args: Any) -> Any:
        return value if value is None else Label(value)

    def get_prep_value(self, value: Any) -> Any:
        return value.number if isinstance(value, Label) else value


@pytest.mark.parametrize("size", [20, 5000])
def test_a_key_that_is_an_object_in_python(database, size):
    shop = Shop(
        database, CreateModel("Thing", [("id", LabelField(primary_key=True)), ("number", models.IntegerField()), VALUE])
    )
    shop.execute("INSERT INTO shop_thing SELECT n, n FROM generate_series(1, 300) n")
    with override_settings(SAFEMIGRATIONS={"BACKFILL_BATCH_SIZE": size}):
        shop.migrate(Backfill("thing", set=double))
    assert count(shop, "value = number * 2", "shop_thing") == 300


def special(row: Any) -> dict[str, Any]:
    return {"value": [math.nan, math.inf, None][row.number % 3]}


@pytest.mark.parametrize("value", [math.nan, -math.inf, 0.0])
def test_values_that_are_no_numbers(database, value):
    shop = Shop(database, CreateModel("Thing", [KEY, ("number", models.IntegerField()), VALUE]))
    shop.execute("INSERT INTO shop_thing (number) SELECT n FROM generate_series(1, 300) n")
    with override_settings(SAFEMIGRATIONS={"BACKFILL_BATCH_SIZE": 20}):
        shop.migrate(Backfill("thing", set={"value": value}))
        assert count(shop, f"value = '{value}'", "shop_thing") == 300
        shop.migrate(Backfill("thing", set=special))
    assert shop.execute("SELECT value::text, count(*) FROM shop_thing GROUP BY 1 ORDER BY 1") == [
        ("Infinity", 100),
        ("NaN", 100),
        (None, 100),
    ]


def test_values_that_do_not_fit_are_named_when_the_rest_is_done(shop):
    shop.execute("UPDATE shop_order SET note = repeat('x', CASE id WHEN 9 THEN 10 ELSE 5 END)")
    with pytest.raises(StepFailed, match=r'^The database rejects a row of shop_order, "id" = 9 \(value too long for'):
        shop.migrate(Backfill("order", set={"region": F("note")}, where=Q(region=None)))
    assert count(shop, "region = 'xxxxx'") == 2499


def parents_field(row: Any) -> dict[str, Any]:
    return {"title": "x"}


def test_multi_table_inheritance(database):
    novel = CreateModel("Novel", [("hero", models.CharField(max_length=100, null=True))], bases=("shop.Book",))
    shop = Shop(database, book(), novel)
    for number in range(100):
        shop.model("Novel").objects.create(title=f"title {number}")
    with override_settings(SAFEMIGRATIONS={"BACKFILL_BATCH_SIZE": 10}):
        shop.migrate(Backfill("novel", set={"hero": Upper("title")}))
        assert count(shop, "hero LIKE 'TITLE %'", "shop_novel") == 100
        shop.migrate(Backfill("book", set={"title": "x"}))
    assert count(shop, "title = 'x'", "shop_book") == 100
    with pytest.raises(
        ValueError, match=r"^The column of shop.Novel.title is not in the table of Novel. Fill shop.Book"
    ):
        shop.migrate(Backfill("novel", set={"title": "y"}))
    with pytest.raises(StepFailed, match=r"gave title for shop.Novel, whose table has no such column"):
        shop.migrate(Backfill("novel", set=parents_field))
