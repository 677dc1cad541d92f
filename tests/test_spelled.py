"""Two spellings of one type are no change: what two forms of a field are in the database is compared."""

from __future__ import annotations

import pytest

from safemigrations.plans.casts import misfit
from safemigrations.plans.spelled import spelled

SPELLINGS = """
decimal(8,2) DECIMAL(8) numeric(8) numeric(8,0) dec int4 INT8 int2 int bool float8 float4 float float(20) float(30)
"character varying(5)" "char varying(4)" varchar "VARCHAR (20)" char character(3) bpchar bpchar(4) char(1) bit bit(1)
bit(3) varbit(3) timestamptz timestamptz(3) "timestamp(3) with time zone" "timestamp without time zone" timestamp
"timestamp(0) without time zone" timetz time "time with time zone" time(2) integer[3] "integer array" int[3][3]
"integer array[4]" pg_catalog.int4 nchar(3) "national character varying(3)" interval(3) "interval day to second"
"interval second(2)" "double   precision" name bigint[] decimal(8,2)[] char[] json bytea uuid inet
""".replace("\n", " ")


def spellings():
    outside, *quoted = [part.split() if number % 2 == 0 else [part] for number, part in enumerate(SPELLINGS.split('"'))]
    return [*outside, *(each for part in quoted for each in part), '"char"']


OF_COLUMN = (
    "SELECT format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = 'spelled'::regclass AND attnum = 1"
)


def as_postgresql_has_it(connection, type_):
    connection.execute(f"CREATE TEMPORARY TABLE spelled (a {type_})")
    ((found,),) = connection.execute(OF_COLUMN).fetchall()
    connection.execute("DROP TABLE spelled")
    return found


def test_postgresql_takes_each_spelling_for_the_type_that_it_is_made_of(other_connection):
    by_type: dict[str, set[str]] = {}
    for type_ in spellings():
        found = as_postgresql_has_it(other_connection, type_)
        assert as_postgresql_has_it(other_connection, spelled(type_)) == found, type_
        assert spelled(found) == spelled(type_)
        by_type.setdefault(found, set()).add(spelled(type_))
    assert {found: names for found, names in by_type.items() if len(names) > 1} == {}


@pytest.mark.parametrize("type_", ['"Mood"', "shop.mood", "public.citext", "geometry(Point,4326)", ""])
def test_a_type_of_others_stays_as_it_is(type_):
    assert spelled(type_) == type_


@pytest.mark.parametrize(
    ("old", "new", "values"),
    [
        ("varchar(20)[]", "varchar(3)[]", {"{abc,NULL}": False, "{abcd}": True, "{{a,b},{c,defg}}": True, "{}": False}),
        ("text[]", "varchar(3)[]", {"{abc}": False, "{abcd,NULL}": True}),
        ("numeric(10, 3)[]", "numeric(4, 1)[]", {"{999.9,NULL}": False, "{1000}": True, "{1.01,NULL}": True}),
        ("bigint[]", "smallint[]", {"{32767}": False, "{1,NULL,32768}": True}),
    ],
)
def test_what_does_not_fit_into_an_array_of_a_narrower_type(other_connection, old, new, values):
    condition = misfit(old, new).replace("{}", f"value::{old}")
    listed = ", ".join(f"('{value}')" for value in values)
    rows = other_connection.execute(f"SELECT value, {condition} FROM (VALUES {listed}) x (value)").fetchall()
    assert {value: bool(is_misfit) for value, is_misfit in rows} == values


BEFORE = """from django.contrib.postgres.fields import ArrayField
from shop.money import Money

class Person(models.Model):
    class Meta:
        db_table = "people"

class Customer(Person):
    class Meta:
        proxy = True

class Order(models.Model):
    sizes = ArrayField(models.IntegerField(), size=3)
    codes = ArrayField(models.CharField(max_length=10))
    price = Money()
    at = models.DateTimeField(null=True)
    buyer = models.ForeignKey(Person, models.CASCADE, related_name="+")
    payer = models.ForeignKey(Customer, models.CASCADE, related_name="+", to_field="id")
"""
MONEY = """from django.db import models

class Money(models.Field):
    def db_type(self, connection):
        return "decimal(8,2)"
"""


def test_makemigrations_compares_what_is_in_the_database(project):
    project.set(INSTALLED_APPS=["django.contrib.postgres", "safemigrations", "shop"])
    project.write("shop/money.py", MONEY)
    project.write_models("shop", BEFORE)
    project.manage("makemigrations").check()
    project.manage("migrate").check()
    project.sql("INSERT INTO people DEFAULT VALUES")
    project.sql("INSERT INTO shop_order (sizes, codes, price, buyer_id, payer_id) VALUES ('{1,2}', '{a,b}', 1.5, 1, 1)")
    after = (
        BEFORE.replace("size=3", "size=5")
        .replace("max_length=10", "max_length=20")
        .replace("Money()", "models.DecimalField(max_digits=8, decimal_places=2)")
        .replace("buyer = models.ForeignKey(Person", "buyer = models.ForeignKey(Customer")
        .replace(', to_field="id"', "")
    )
    project.write_models("shop", after)
    project.manage("makemigrations").check()
    text = "".join(project.read_migration("shop", name) for name in project.migration_files("shop")[1:])
    assert text.count("migrations.AlterField(") == 3
    assert text.count("ExpandAlterField(") == 1
    assert project.manage("check").check().stdout == "System check identified no issues (0 silenced).\n"
    project.migrate_and_contract()
    assert project.sql("SELECT sizes, codes, price::text FROM shop_order") == [([1, 2], ["a", "b"], "1.50")]
    project.manage("safemigrations", "verify").check()
    project.write_models("shop", BEFORE)
    project.manage("makemigrations").check()
    project.migrate_and_contract()
    project.manage("safemigrations", "verify").check()
