"""Functions of RunPython: each hazard and its twin, which differs in nothing but the hazard."""

from __future__ import annotations

import ast
import sys
import types
from collections.abc import Callable
from functools import partial
from textwrap import dedent, indent
from typing import Any

import pytest
from django.test import override_settings

from safemigrations.checking.catalogue import BY_ID
from safemigrations.checking.handwritten import read_sql
from safemigrations.checking.hazard import Hazard, NotUnderstood
from safemigrations.checking.python import functions, reader
from safemigrations.checking.python.texts import Texts
from safemigrations.checking.scene import Scene

from .test_sql_reader import scene

HEAD = """\
import time

import requests
from django.apps import apps as today
from django.contrib.auth import get_user_model
from django.core import serializers
from django.core.mail import send_mail
from django.core.management import call_command
from django.db import transaction
from django.db.models import F
from shop.models import Order as LiveOrder
from shop.tools import fill_all, slugify

"""


@pytest.fixture
def function(tmp_path, monkeypatch) -> Callable[..., Any]:
    """Makes `fill` of a module of its own, whose file is there."""

    def made(body: str, *, head: str = HEAD, name: str = "fill") -> Any:
        text = (
            body if body.startswith(("def ", "async ", "class ", "fill")) else f"def fill(apps, schema_editor):\n{body}"
        )
        path = tmp_path / "migration_0002.py"
        path.write_text(f"{head}\n{text}\n")
        module = types.ModuleType("migration_0002")
        module.__file__ = str(path)
        monkeypatch.setitem(sys.modules, "migration_0002", module)
        vars(module)["partial"] = partial
        # On its line, and without its head: what that imports isn't there.
        exec(compile("\n" * (head.count("\n") + 1) + text, str(path), "exec"), vars(module))
        return vars(module)[name]

    return made


def said(function: Any, at: Scene) -> list[Hazard | NotUnderstood]:
    return [one for _, one in reader.read(function, at, lambda text: read_sql(text, at))]


def ids(function: Any, at: Scene) -> list[str]:
    return [one.id.rpartition(".")[2] if isinstance(one, Hazard) else "?" for one in said(function, at)]


def body(text: str) -> str:
    lines = 'Order = apps.get_model("shop", "Order")\nCustomer = apps.get_model("shop", "Customer")\n'
    return indent(lines + dedent(text).strip(), "    ")


CURSOR = "with connection.cursor() as cursor:\n    cursor.execute('UPDATE shop_order SET {})"
FOR_EACH = "table = Order._meta.db_table\nfor column in ['state']:\n    schema_editor.execute(f'{}')"
PAGES = "for page in Paginator(Order.objects.all(), 9):\n    for order in page.object_list:\n        {}"
TOGETHER = "Order.objects.bulk_update(rows, ['state'], batch_size=9)"
COLLECTS = f"for row in Order.objects.iterator():\n    rows.append(row){{}}\n{TOGETHER}"
PAIRS: dict[str, tuple[str, bool, str, str]] = {  # what: id, atomic, the hazard, its twin
    "live model": (
        "E300",
        True,
        "LiveOrder.objects.filter(pk=1).update(state='a')",
        "Order.objects.filter(pk=1).update(state='a')",
    ),
    "user model": (
        "E300",
        True,
        "get_user_model().objects.filter(pk=1).update(email='')",
        "apps.get_model('auth', 'User').objects.filter(pk=1).update(email='')",
    ),
    "registry": (
        "E300",
        True,
        "today.get_model('a', 'B').objects.get(pk=1)",
        "apps.get_model('a', 'B').objects.get(pk=1)",
    ),
    "fixture": ("E300", True, "call_command('loaddata', 'a.json')", "print('loaddata', 'a.json')"),
    "deserialized": ("E300", True, "list(serializers.deserialize('json', '[]'))", "serializers.get_serializer('json')"),
    "whole table": ("E301", True, "Order.objects.update(state='a')", "Order.objects.filter(pk=1).update(state='a')"),
    "some rows": (
        "E301",
        False,
        "Order.objects.filter(state=None).update(state='a')",
        "Order.objects.filter(pk__in=[1, 2]).update(state='a')",
    ),
    "by a unique field": (
        "E301",
        True,
        "Order.objects.filter(state='a').delete()",
        "Order.objects.filter(number='a').delete()",
    ),
    "delete": ("E301", True, "Order.objects.all().delete()", "Order.objects.get(pk=1).delete()"),
    "through a name": (
        "E301",
        True,
        "rows = Order.objects.exclude(state='a')\nrows.update(state='a')",
        "rows = Order.objects.filter(pk__range=(1, 100))\nrows.update(state='a')",
    ),
    "row by row": (
        "E301",
        True,
        "for order in Order.objects.iterator():\n    order.state = 'a'\n    order.save()",
        "for order in Order.objects.iterator():\n    print(order.state)",
    ),
    "row by row, in one transaction by hand": (
        "E301",
        False,
        "with transaction.atomic():\n    for order in Order.objects.iterator():\n        order.save()",
        "for order in Order.objects.iterator():\n    with transaction.atomic():\n        order.save()",
    ),
    "batches of one transaction": (
        "E301",
        True,
        "while True:\n    Order.objects.filter(pk__gte=1, pk__lt=9).update(state='a')",
        "Order.objects.filter(pk__gte=1, pk__lt=9).update(state='a')",
    ),
    "pages": ("E301", True, PAGES.format("order.save()"), PAGES.format("print(order)")),
    "all at once, outside of a transaction": (
        "E301",
        False,
        f"rows = list(Order.objects.iterator())\n{TOGETHER}",
        f"rows = list(Order.objects.all()[:1000])\n{TOGETHER}",
    ),
    "all that a loop collects": ("E301", False, COLLECTS.format(""), COLLECTS.format("\n    rows.clear()")),
    "keys of a query": (
        "E301",
        True,
        "Order.objects.filter(pk__in=Order.objects.filter(state=None)).update(pieces=1)",
        "Order.objects.filter(pk__in=Order.objects.filter(state=None)[:100]).update(pieces=1)",
    ),
    "locked": (
        "E301",
        True,
        "for order in Order.objects.select_for_update().iterator():\n    print(order)",
        "for order in Order.objects.iterator():\n    print(order)",
    ),
    "one by one, created or updated": (
        "E301",
        True,
        "for one in Customer.objects.iterator():\n    Order.objects.update_or_create(pk=one.pk)",
        "Order.objects.update_or_create(pk=1)",
    ),
    "a list of what is unique": (
        "E301",
        True,
        "Order.objects.filter(state__in=['a', 'b']).update(pieces=1)",
        "Order.objects.filter(number__in=['a', 'b']).update(pieces=1)",
    ),
    "all at once": ("E301", True, "Order.objects.bulk_update([], ['state'])", "Order.objects.bulk_create([])"),
    "memory, a loop": (
        "W302",
        False,
        "for order in Order.objects.all():\n    print(order)",
        "for order in Order.objects.all().iterator():\n    print(order)",
    ),
    "memory, a list": ("W302", False, "list(Order.objects.all())", "list(Order.objects.all()[:100])"),
    "memory, by their keys": ("W302", False, "Order.objects.in_bulk()", "Order.objects.in_bulk([1, 2])"),
    "memory, a generator": (
        "W302",
        False,
        "sum(order.pieces for order in Order.objects.all())",
        "sum(order.pieces for order in Order.objects.iterator())",
    ),
    "memory, a comprehension": (
        "W302",
        False,
        "[order for order in Order.objects.all()]",
        "[pk for pk in Order.objects.values_list('pk', flat=True)]",
    ),
    "network": ("E303", True, "requests.get('https://example.org')", "slugify('https://example.org')"),
    "network outside of a transaction": ("E303", False, "requests.get('https://example.org')", "slugify('a')"),
    "task": ("E303", True, "slugify.delay('a')", "slugify('a')"),
    "mail": ("E303", True, "send_mail('a', 'b', 'c', ['d'])", "print('a', 'b', 'c', ['d'])"),
    "sleep": ("E303", True, "time.sleep(1)", "time.monotonic()"),
    "schema": (
        "E304",
        True,
        "schema_editor.add_field(Order, None)",
        "schema_editor.quote_name('a')",
    ),
    "ddl": (
        "E200",
        True,
        "schema_editor.execute('CREATE INDEX i ON shop_order (state)')",
        "schema_editor.execute('SELECT 1')",
    ),
    "sql of a cursor": (
        "E209",
        True,
        CURSOR.format("state = %s', ['a']"),
        CURSOR.format("state = %s WHERE id = 3', ['a']"),
    ),
    "sql that has a name": (
        "E205",
        True,
        "statement = 'DROP TABLE shop_order'\nschema_editor.execute(statement)",
        "statement = 'DROP TABLE shop_gone'\nschema_editor.execute(statement)",
    ),
    "sql by two names": (
        "E200",
        True,
        "for i, c in {'i': 'state'}.items():\n    schema_editor.execute(f'CREATE INDEX {i} ON shop_order ({c})')",
        "for i, c in {'i': 'state'}.items():\n    schema_editor.execute(f'COMMENT ON INDEX {i} IS $${c}$$')",
    ),
    "sql that is put together": (
        "E200",
        True,
        FOR_EACH.format("CREATE INDEX ON {table} ({column})"),
        FOR_EACH.format("ALTER TABLE {table} ALTER {column} SET STATISTICS 500"),
    ),
    "created twice": (
        "W306",
        False,
        "Customer.objects.create(name='a')",
        "Customer.objects.get_or_create(name='a')",
    ),
    "created twice, many": (
        "W306",
        False,
        "Customer.objects.bulk_create([])",
        "Customer.objects.bulk_create([], ignore_conflicts=True)",
    ),
}


@pytest.mark.parametrize("what", PAIRS)
def test_the_hazard_and_its_twin(what, function):
    id, atomic, hazard, twin = PAIRS[what]
    assert ids(function(body(hazard)), scene(atomic=atomic)) == [id]
    assert ids(function(body(twin)), scene(atomic=atomic)) == []


def test_every_id_is_in_the_catalogue():
    assert {f"safemigrations.{id}" for id, *_ in PAIRS.values()} <= set(BY_ID)


ROWS = [what for what, (id, *_) in PAIRS.items() if id in ("E301", "W302")]


@pytest.mark.parametrize("what", ROWS)
def test_a_table_that_the_migration_makes_is_nobodys_yet(what, function):
    at = scene(atomic=PAIRS[what][1])
    at.made.add("shop_order")
    assert ids(function(body(PAIRS[what][2])), at) == []


def test_a_pause_between_batches_is_no_harm(function):
    assert ids(function(body("time.sleep(1)")), scene()) == []


@pytest.mark.parametrize(
    ("call", "level"),
    [
        ("Order.objects.update(state='a')", "error"),
        ("Order.objects.filter(state=None).update(state='a')", "warning"),
    ],
)
def test_what_is_filtered_may_be_few(call, level, function):
    (one,) = said(function(body(call)), scene(atomic=True))
    assert isinstance(one, Hazard)
    assert one.level == level


def test_rows_that_come_from_elsewhere_are_not_understood_in_a_transaction(function):
    fill = function(body("for row in rows():\n    row.save()"))
    assert ids(fill, scene(atomic=True)) == ["?"]
    assert ids(fill, scene()) == []


def test_the_standard_library_reads_no_rows(function):
    loop = "for order in Order.objects.filter(pk__lt=9).iterator(): print(json.loads(order.note))"
    assert ids(function(body(loop), head="import json"), scene()) == []


def test_a_lock_is_held_while_it_runs(function):
    fill = function(body("for order in Order.objects.filter(pk__lt=9).iterator():\n    order.save()"))
    at = scene(atomic=True)
    assert ids(fill, at) == []
    at.hold("shop_order", "ACCESS EXCLUSIVE", "Add field")
    assert ids(fill, at) == ["E210"]


def test_a_few_rows_hold_a_lock_no_longer(function):
    at = scene(atomic=True)
    at.hold("shop_order", "ACCESS EXCLUSIVE", "Add field")
    assert ids(function(body("Customer.objects.create(name='a')")), at) == []


def test_which_database_where_there_are_several(function):
    row = "for order in Order.objects{}.filter(pk__lt=9).iterator():\n    order.save()"
    at = scene()
    at.databases = 2
    assert ids(function(body(row.format(""))), at) == ["I307"]
    assert ids(function(body(row.format(".using(schema_editor.connection.alias)"))), at) == []


def test_what_a_filter_leaves_in_memory_may_be_few(function):
    fill = function(body("for order in Order.objects.filter(state='new'):\n    print(order)"))
    (one,) = said(fill, scene())
    assert isinstance(one, Hazard)
    assert (one.id, one.level) == ("safemigrations.W302", "note")


@override_settings(AUTH_USER_MODEL="shop.Customer")
@pytest.mark.parametrize("given", ["settings.AUTH_USER_MODEL", '*settings.AUTH_USER_MODEL.split(".")'])
def test_the_model_that_a_setting_names(given, function):
    assert ids(function(body(f"apps.get_model({given}).objects.update(name='a')")), scene()) == ["E301"]


# What is read.


def test_functions_that_it_calls_in_the_same_module(function):
    text = (
        f"def fill(apps, schema_editor):\n    other(apps)\n\ndef other(apps):\n{body('Order.objects.update(pieces=1)')}"
    )
    (one,) = said(function(text), scene())
    assert one.line == HEAD.count("\n") + 1 + 7


MENDS = """\
def mend(one):
    keep(one)

def keep(row):
    {}

def fill(apps, schema_editor):
    for order in apps.get_model("shop", "Order").objects.iterator():
        mend(order)
"""


def test_a_text_that_is_passed_on(function):
    run = "def run(schema_editor, sql):\n    schema_editor.execute(sql)\n\ndef fill(apps, schema_editor):\n"
    statements = "    run(schema_editor, 'DROP TABLE shop_gone')\n    run(schema_editor, 'DROP TABLE shop_order')\n"
    assert ids(function(run + statements), scene(atomic=True)) == ["E205"]
    assert ids(function(f"{run}{statements}    run(schema_editor, open('a').read())"), scene(atomic=True)) == ["?"]


def test_a_row_that_is_passed_on(function):
    assert ids(function(MENDS.format("row.save()")), scene(atomic=True)) == ["E301"]
    assert ids(function(MENDS.format("mend(row)")), scene(atomic=True)) == []


GIVEN = """\
def all_of(model, *, rows):
    {}

def fill(apps, schema_editor):
    Order = apps.get_model("shop", "Order")
    all_of(Order, rows=list(Order.objects.filter(pk__lt=9)))
"""


def test_what_a_function_is_given(function):
    assert ids(function(GIVEN.format("model.objects.update(pieces=1)")), scene(atomic=True)) == ["E301"]
    assert ids(function(GIVEN.format("rows.update(pieces=1)")), scene(atomic=True)) == []


def test_a_partial_and_a_decorator(function):
    text = f"def work(apps, schema_editor):\n{body('Order.objects.update(pieces=1)')}\n\nfill = partial(work)"
    assert ids(function("fill = None\n" + text, head=""), scene()) == ["E301"]


def test_models_by_the_name_of_a_keyword(function):
    text = "Order = apps.get_model(app_label='shop', model_name='Order')\nOrder.objects.update(pieces=1)"
    assert ids(function(indent(text, "    ")), scene()) == ["E301"]
    assert ids(function(indent("apps.get_model('shop.Order').objects.update(pieces=1)", "    ")), scene()) == ["E301"]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("fill, other = lambda apps, editor: None, lambda apps, editor: 1", "which lambda of line "),
        ("def work(then):\n    then()\n\nfill = partial(work, print)", "work is given then to call"),
        ("fill = print", "<built-in function print> is no plain function"),
        (f"def fill(apps, schema_editor):\n{body('fill_all(apps)')}", "it calls shop.tools.fill_all, which stands"),
        (f"def fill(apps, schema_editor):\n{body('fill_all(Order)')}", "it calls shop.tools.fill_all, which stands"),
        (
            f"def fill(apps, schema_editor):\n{body('schema_editor.execute(text + str(1))')}",
            "the SQL that is executed here is put together when it runs",
        ),
        (
            f"def fill(apps, schema_editor):\n{body('schema_editor.execute(str(apps))')}",
            "the SQL that is executed here is put together when it runs",
        ),
        (
            f"def fill(apps, schema_editor):\n{body('call_command({0}reindex{0})'.format(chr(34)))}",
            "it runs the command 'reindex'",
        ),
        (
            f"def fill(apps, schema_editor):\n{body('apps.get_model(label, name)')}",
            "the name of the model is put together when it runs",
        ),
    ],
    ids=[
        "lambda",
        "given a function",
        "built in",
        "elsewhere",
        "elsewhere, a model",
        "joined",
        "formatted",
        "command",
        "model",
    ],
)
def test_what_is_not_understood_is_said(text, why, function):
    (one,) = said(function(text), scene())
    assert isinstance(one, NotUnderstood)
    assert one.why.startswith(why)


# What is written instead.


def hint(function: Any) -> str:
    (one,) = said(function, scene(atomic=True))
    assert isinstance(one, Hazard)
    return one.hint


def test_the_backfill_that_replaces_an_update(function):
    text = "Order.objects.filter(state=None).exclude(pieces__gt=3).update(state='new', pieces=F('pieces') + 1)"
    assert hint(function(body(text))) == (
        "Write, with atomic = False on the migration,\n"
        "    Backfill('order', set={'state': 'new', 'pieces': F('pieces') + 1}, where=Q(state=None) & ~Q(pieces__gt=3))"
    )


def test_the_backfill_of_another_app(function):
    at = scene(atomic=True)
    at.app_label = "billing"
    (one,) = said(function(body("Order.objects.update(state='new')")), at)
    assert isinstance(one, Hazard)
    assert one.hint == (
        "Write, in a migration of shop with atomic = False,\n    Backfill('order', set={'state': 'new'})"
    )


def test_the_backfill_that_replaces_a_loop(function):
    text = "for row in Order.objects.filter(state=None).iterator():\n    row.state = row.number[:3]\n    row.save()"
    assert hint(function(body(text))) == (
        "Write, with atomic = False on the migration,\n"
        "    def fill_order(row):\n        return {'state': row.number[:3]}\n\n"
        "    Backfill('order', set=fill_order, where=Q(state=None))"
    )


# Texts that are put together.


def texts(expression: str, **names: str) -> list[str] | None:
    known = {name: [ast.parse(text, mode="eval").body] for name, text in names.items()}
    reader = Texts(lambda name: known.get(name, []), lambda node: f"shop_{ast.unparse(node).lower()}")
    return reader.of(ast.parse(expression, mode="eval").body)


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("'a' + 'b' 'c'", ["abc"]),
        ("f'x{A}y{1}'", ["xoney1"]),
        ("f'x{A!r}'", None),
        ("f'x{missing}'", None),
        ("'%s of %s' % (A, 'b')", ["one of b"]),
        ("'%s' % A", ["one"]),
        ("'%d' % A", None),
        ("'{} {x}'.format(A, x=2)", ["one 2"]),
        ("'{0.a}'.format(A)", None),
        ("'{} {}'.format(A)", None),
        ("dedent('  a').strip()", ["  a"]),
        ("'DROP TABLE ' + schema_editor.quote_name(Order._meta.db_table)", ['DROP TABLE "shop_order"']),
        ("'a' if now() else 'b'", ["a", "b"]),
        ("LOOP", None),
        ("open('a').read()", None),
    ],
)
def test_texts_that_are_put_together(expression, expected):
    assert texts(expression, A="'one'", LOOP="LOOP + 'a'") == expected


def test_a_loop_is_followed_only_where_all_of_it_is_known(function):
    loop = "    for name, other in {}:\n        schema_editor.execute(f'DROP TABLE {{name}}')"
    assert ids(function(loop.format("[('shop_gone', 1), ('shop_order', 2)]")), scene()) == ["E205"]
    assert ids(function(loop.format("[('shop_gone', 1), pair]")), scene()) == ["?"]


def test_too_many_texts_are_none():
    assert texts("A + B", A="'a' if x else 'b'", B="'c' if x else 'd'") == ["ac", "ad", "bc", "bd"]
    six = "+".join(["A"] * 6)
    assert texts(six, A="'a' if x else 'b'") is None


LAMBDA = 'fill = lambda apps, editor: apps.get_model("shop", "Order").objects{}.update(pieces=1)'
FACTORY = """\
def of(name):
    def work(apps, schema_editor):
        apps.get_model("shop", name).objects{}.update(pieces=1)
    return work

fill = of("Order")"""
CALLED = """\
class Work:
    def __init__(self, name):
        self.name = name

    def __call__(self, apps, schema_editor):
        self.set_pieces(apps.get_model("shop", self.name).objects{})

    def set_pieces(self, orders):
        orders.update(pieces=1)

fill = Work("Order")"""
PARTIAL = """\
def work(name, apps, schema_editor, pieces):
    apps.get_model("shop", name).objects{}.update(pieces=pieces)

fill = partial(work, "Order", pieces=1)"""


@pytest.mark.parametrize("text", [LAMBDA, FACTORY, CALLED, f"{CALLED}.__call__", PARTIAL])
def test_whatever_can_be_called_is_read_with_what_it_is_given(function, text):
    assert ids(function("fill = None\n" + text.format(""), head=""), scene()) == ["E301"]
    assert ids(function("fill = None\n" + text.format(".filter(pk=1)"), head=""), scene()) == []


# Functions of other modules.


@pytest.fixture
def project(tmp_path, monkeypatch) -> Callable[[str, str], None]:
    """Writes a module of an app whose package is in a folder; nobody can import it."""
    config = types.SimpleNamespace(name="market", path=str(tmp_path / "market"))
    monkeypatch.setattr(functions, "apps", types.SimpleNamespace(get_app_configs=lambda: [config]))

    def write(name: str, text: str) -> None:
        path = tmp_path / "market" / f"{name}.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text(dedent(text))

    return write


CALLS = {
    "from market.fills import set_pieces": "set_pieces(Order.objects.all())",
    "from market import fills": "fills.set_pieces(Order.objects.all())",
    "import market.fills": "market.fills.set_pieces(Order.objects.all())",
    "from market import set_pieces as work": "work(Order.objects.all())",
}


@pytest.mark.parametrize(("head", "call"), CALLS.items())
def test_functions_of_another_module_of_the_project_are_read_and_not_imported(function, project, head, call):
    project("__init__", "from .fills import set_pieces")
    project("fills", "raise RuntimeError\n\ndef set_pieces(orders):\n    orders.update(pieces=1)\n")
    found = list(reader.read(function(body(call), head=head), scene(), lambda text: iter(())))
    assert [(module and module.source.path.name, said.line) for module, said in found] == [("fills.py", 4)]
    assert ids(function(body(call), head=head), scene()) == ["E301"]


def test_a_row_that_a_function_of_another_module_saves(function, project):
    project("fills", "def mend(order):\n    order.pieces = 1\n    order.save()\n")
    head = "from market.fills import mend"
    loop = "for order in Order.objects.{}: mend(order)"
    assert ids(function(body(loop.format("iterator()")), head=head), scene(atomic=True)) == ["E301"]
    assert ids(function(body(loop.format("filter(pk=1)")), head=head), scene(atomic=True)) == []


def test_models_of_today_in_another_module(function, project):
    project("fills", "from .models import Order\n\ndef mend():\n    Order.objects.filter(pk=1).update(pieces=1)\n")
    assert ids(function(body("mend()"), head="from market.fills import mend"), scene()) == ["E300"]


@pytest.mark.parametrize("text", ["", "from .fills import set_pieces", "from market import set_pieces"])
def test_what_no_module_of_the_project_has_is_not_understood(function, project, text):
    project("__init__", text)
    (one,) = said(function(body("set_pieces(apps)"), head="from market import set_pieces"), scene())
    assert isinstance(one, NotUnderstood)
    assert one.why == "it calls market.set_pieces, which stands elsewhere"
