"""Names, constants and probes as SQL: nothing that they hold ends the quotes that stand around it."""

from __future__ import annotations

import ast
import copy
import itertools
import json
import pickle
from pathlib import Path

import pytest

import safemigrations
from safemigrations.postgres.blocks import for_each
from safemigrations.postgres.names import NAME_LENGTH, Name, regclass
from safemigrations.postgres.probe import NEVER, Probe, no_row
from safemigrations.postgres.values import dollar_quoted, literal, pattern

RAW = [
    "item",
    "Item",
    "a b",
    'a"b',
    '"',
    '""',
    'a"."b',
    "it's",
    "100 %",
    "{}",
    "{0} {name}",
    "$safemig$",
    "$$",
    "a.b",
    "a\\b",
    "a\\'b",
    "a;b--c",
    "order",
    "b" * NAME_LENGTH,
    "語" * (NAME_LENGTH // 3),
]


# Names.


@pytest.mark.parametrize("raw", RAW)
def test_a_name_is_what_postgresql_makes_of_it(other_connection, raw):
    other_connection.execute(f"CREATE SCHEMA {Name.of(raw)}")
    name = Name.of(raw, raw)
    other_connection.execute(f"CREATE TABLE {name} ({Name.of(raw)} int)")
    found = other_connection.execute(
        "SELECT format('%I.%I', n.nspname, c.relname), n.nspname, c.relname, a.attname FROM pg_class c"
        " JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = 1"
        f" WHERE c.oid = {regclass(name)}"
    ).fetchall()
    assert [row[1:] for row in found] == [(raw, raw, raw)]
    assert Name(found[0][0]) == name


@pytest.mark.parametrize("raw", RAW)
def test_a_name_reads_its_own_text(raw):
    for name in (Name.of(raw), Name.of(raw, raw), Name.of(raw, "library")):
        for again in (Name(name), Name.from_django(name), copy.deepcopy(name), pickle.loads(pickle.dumps(name))):
            assert (again, again.raw, again.schema) == (name, name.raw, name.schema)
        assert json.loads(json.dumps(name)) == name
    assert Name.of(raw).raw == raw


@pytest.mark.parametrize(
    ("given", "text", "raw", "schema"),
    [
        ("shop_book", '"shop_book"', "shop_book", ""),
        ('"shop_book"', '"shop_book"', "shop_book", ""),
        ("Shop Book", '"Shop Book"', "Shop Book", ""),
        ("library.book", '"library.book"', "library.book", ""),
        ('"library"."Book"', '"library"."Book"', "Book", "library"),
        ('library"."Book', '"library"."Book"', "Book", "library"),
        ('a""b', '"a""b"', 'a"b', ""),
        ('"a""b"', '"a""b"', 'a"b', ""),
        ('"the ""old""".""""', '"the ""old""".""""', '"', 'the "old"'),
        ('a"b', '"a""b"', 'a"b', ""),  # Django's own statement would be wrong
        ("語" * 22, f'"{"語" * 21}"', "語" * 21, ""),
    ],
)
def test_a_name_that_django_has(given, text, raw, schema):
    name = Name.from_django(given)
    assert (name, name.raw, name.schema) == (text, raw, schema)


@pytest.mark.parametrize(
    ("text", "raw", "schema"),
    [
        ("item", "item", ""),
        ("library.item", "item", "library"),
        ('library."Item"', "Item", "library"),
        ('"Library".item', "item", "Library"),
    ],
)
def test_a_name_as_format_writes_it(text, raw, schema):
    assert (Name(text).raw, Name(text).schema) == (raw, schema)


@pytest.mark.parametrize(
    ("table", "name", "bare", "beside"),
    [
        ('"shop_order"', "i", '"shop_order"', '"i"'),
        ('"Shop Order"', "I", '"Shop Order"', '"I"'),
        ('"tenant"."shop_order"', "i", '"shop_order"', '"tenant"."i"'),
        ('"the ""old"""."or""der"', 'i"', '"or""der"', '"the ""old"""."i"""'),
    ],
)
def test_names_of_a_table_and_of_an_index_beside_it(table, name, bare, beside):
    assert Name(table).bare == bare
    assert Name(table).beside(name) == beside


# Constants.


@pytest.mark.parametrize("standard", ["on", "off"])
@pytest.mark.parametrize("text", RAW)
def test_a_constant_is_the_text(other_connection, text, standard):
    other_connection.execute(f"SET standard_conforming_strings = {standard}")
    assert other_connection.execute(f"SELECT {literal(text)}").fetchone() == (text,)


@pytest.mark.parametrize("text", [*RAW, "$safemig$ $safemig1$", "$safemig", "ends in $"])
def test_nothing_ends_what_stands_between_dollars(other_connection, text):
    assert other_connection.execute(f"SELECT {dollar_quoted(text)}").fetchone() == (text,)


def test_the_dollars_are_the_same_as_ever_where_that_will_do():
    assert dollar_quoted(" BEGIN END ") == "$safemig$ BEGIN END $safemig$"


@pytest.mark.parametrize("text", RAW)
def test_a_text_in_a_pattern_is_the_text(other_connection, text):
    assert other_connection.execute(f"SELECT format({literal(pattern(text))})").fetchone() == (text,)


@pytest.mark.parametrize("raw", RAW)
def test_a_block_runs_over_names_of_any_kind(other_connection, raw):
    name = Name.of(raw)
    other_connection.execute(f"CREATE TABLE {name} (id int)")
    rows = f"SELECT relname FROM pg_class WHERE oid = {regclass(name)}"
    body = f"EXECUTE format('ALTER TABLE %s RENAME COLUMN id TO %I', {literal(name)}, found.relname);"
    other_connection.execute(for_each(rows, body))
    assert other_connection.execute(f"SELECT {name} FROM {name}").fetchall() == []


# Probes.

YES, NO = Probe("SELECT 1"), Probe("SELECT 1 WHERE FALSE")


@pytest.mark.parametrize(("first", "second"), list(itertools.product([True, False], repeat=2)))
def test_probes_put_together(other_connection, first, second):
    def says_yes(probe):
        return bool(other_connection.execute(probe).fetchall())

    one, two = (YES if value else NO for value in (first, second))
    assert says_yes(one.or_(two)) == (first or second)
    assert says_yes(one.and_(two)) == (first and second)
    assert says_yes(one.unless(two)) == (first and not second)
    assert says_yes(one.negated()) == (not first)
    # However they were put together before.
    assert says_yes(one.or_(two).negated()) == (not first and not second)
    assert says_yes(one.or_(two).and_(two)) == second
    assert says_yes(one.or_(one, two).unless(two)) == (first and not second)
    assert says_yes(one.unless(two).or_(two)) == (first or second)


def test_a_probe_that_nobody_asks_adds_nothing():
    assert NEVER.or_(YES) == YES.or_(NEVER) == YES
    assert not NEVER


def test_no_row_of_any_query(other_connection):
    assert other_connection.execute(no_row("SELECT relname FROM pg_class")).fetchall() == []
    assert other_connection.execute(no_row("SELECT 'a', 2 WHERE FALSE UNION SELECT 'b', 3 WHERE FALSE")).fetchall() == [
        (1,)
    ]


# Nothing else quotes a name.

PACKAGE = Path(safemigrations.__file__).parent
BUILDERS = [path for room in ("postgres", "plans", "running", "contracts") for path in (PACKAGE / room).rglob("*.py")]


def quotes_by_hand(node: ast.AST) -> bool:
    """Has an f-string a value between double quotes, or does somebody call what quotes, or what takes quotes off?"""
    if isinstance(node, ast.JoinedStr):
        parts = [part.value if isinstance(part, ast.Constant) else None for part in node.values]
        around = zip(parts, parts[1:], parts[2:], strict=False)
        return any(
            value is None and str(before).endswith('"') and str(after).startswith('"')
            for before, value, after in around
        )
    if isinstance(node, ast.Attribute) and node.attr == "quote_name":
        return True
    return takes_quotes_off(node)


def takes_quotes_off(node: ast.AST) -> bool:
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        arguments = [argument.value for argument in node.args if isinstance(argument, ast.Constant)]
        return node.func.attr in ("strip", "removeprefix") and '"' in arguments
    return False


def test_no_quotes_are_taken_off_by_hand_in_any_room():
    for path in PACKAGE.rglob("*.py"):
        by_hand = filter(takes_quotes_off, ast.walk(ast.parse(path.read_text())))
        assert [ast.unparse(node) for node in by_hand] == [], path


@pytest.mark.parametrize("path", [path for path in BUILDERS if path.name != "names.py"], ids=lambda path: path.name)
def test_names_are_quoted_in_one_place(path):
    by_hand = filter(quotes_by_hand, ast.walk(ast.parse(path.read_text())))
    assert [ast.unparse(node) for node in by_hand] == []
