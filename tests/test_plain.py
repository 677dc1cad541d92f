"""RunSQL and RunPython whose Backfill is known to do the same, and their twins of which nobody knows."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.db import migrations, models
from django.db.migrations.state import ProjectState

from safemigrations.rewriting.backfills import instead_of

from .shop import KEY

HEAD = """\
import random
import uuid
from datetime import date
from django.conf import settings
from django.db import migrations, models
from django.db.models import F, Value
from django.db.models.functions import Coalesce, Concat, Lower, Now
from django.utils.text import slugify

LOUD = "!"
WORDS = ["a", "b"]
HERE = settings.SECRET_KEY


def short(book):
    if not book.title:
        return ""
    word = book.title.split()[0]
    return word.lower()


def of_author(book):
    return book.author.name


def forever(book):
    return forever(book)


def told(book):
    print(book.title)
    return book.title

"""
MODELS = [
    migrations.CreateModel("Author", [KEY, ("name", models.CharField(max_length=50))]),
    migrations.CreateModel(
        "Book",
        [
            KEY,
            ("title", models.CharField(max_length=100)),
            ("subtitle", models.CharField(max_length=100)),
            ("note", models.TextField(null=True)),
            ("pages", models.IntegerField(null=True)),
            ("price", models.DecimalField(max_digits=8, decimal_places=2, null=True)),
            ("sold", models.BooleanField(default=False)),
            ("code", models.UUIDField(null=True)),
            ("printed", models.DateTimeField(null=True)),
            ("author", models.ForeignKey("shop.Author", models.CASCADE)),
        ],
    ),
    migrations.CreateModel("Seen", [KEY, ("at", models.DateTimeField(auto_now=True)), ("n", models.IntegerField())]),
    migrations.CreateModel("Kept", [KEY, ("n", models.IntegerField())], managers=[("objects", models.Manager())]),
]
BOOK = 'Book = apps.get_model("shop", "Book")\n    '


@pytest.fixture(autouse=True)
def one_database(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "DATABASES", {"default": settings.DATABASES["default"]})


@pytest.fixture
def written(tmp_path: Path) -> Iterator[Callable[..., str | None]]:
    """What is written instead of an operation in a file of its own, below what that needs."""
    names: list[str] = []

    def instead(operation: str, body: str = "", back: str = "", *, sql: bool = False) -> str | None:
        name = f"plain_{len(names)}"
        names.append(name)
        path = tmp_path / f"{name}.py"
        functions = "".join(
            f"def {name}(apps, schema_editor):\n    {text}\n\n"
            for name, text in (("fill", body), ("back", back))
            if text
        )
        path.write_text(f"{HEAD}{functions}\nclass Migration(migrations.Migration):\n    operations = [{operation}]\n")
        spec: Any = importlib.util.spec_from_file_location(name, path)
        sys.modules[name] = module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        migration = module.Migration(name, "shop")
        state = ProjectState()
        for each in MODELS:
            each.state_forwards("shop", state)
        found = instead_of(migration.operations[0], migration, state, lambda wanted: wanted)
        return f"{found.function}{found.code}" if found else None

    yield instead
    for name in names:
        del sys.modules[name]


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("SET note = 'a'", "set={'note': 'a'}"),
        ("SET note = NULL, pages = 5", "set={'note': None, 'pages': 5}"),
        ("SET sold = true WHERE pages > 5", "set={'sold': True}, where=Q(pages__gt=5)"),
        ("SET price = 1.50 WHERE price IS NULL", "set={'price': Decimal('1.50')}, where=Q(price__isnull=True)"),
        ("SET title = subtitle WHERE title = ''", "set={'title': F('subtitle')}, where=Q(title='')"),
        ("SET title = lower(subtitle)", "set={'title': Lower(F('subtitle'))}"),
        ("SET pages = 1 WHERE id IN (1, 2) AND (title = 'a' OR note IS NULL)",
         "set={'pages': 1}, where=Q(id__in=[1, 2]) & (Q(title='a') | Q(note__isnull=True))"),
        ("SET pages = 1 WHERE title <> 'a'", "set={'pages': 1}, where=~Q(title='a')"),
        # It may be another value in Django, or at another time.
        ("SET pages = pages + 1", None),
        ("SET title = subtitle, subtitle = title", None),
        ("SET pages = '5'", None),
        ("SET printed = now()", None),
        ("SET printed = '2024-01-01'", None),
        ("SET code = gen_random_uuid()", None),
        ("SET note = title", None),
        ("SET title = 'a' || subtitle", None),
        ("SET author_id = 3", None),
        ("SET missing = 3", None),
        ("SET title = NULL", None),
        ("SET pages = 1 WHERE note = NULL", None),
        ("SET pages = 1 WHERE note <> 'a'", None),
        ("SET pages = 1 WHERE printed < '2024-01-01'", None),
        ("SET pages = 1 WHERE title LIKE 'a%'", None),
        ("SET pages = 1 WHERE title = subtitle", None),
        ("SET pages = 1 WHERE id IN (SELECT id FROM shop_author)", None),
        ("SET title = name FROM shop_author WHERE author_id = shop_author.id", None),
        ("SET pages = 1 RETURNING id", None),
        ("SET pages = 1; SELECT 1", None),
    ],
)  # fmt: skip
def test_an_update(sql, expected, written):
    found = written(f"migrations.RunSQL({f'UPDATE shop_book {sql}'!r}, '')")
    assert found == (expected and f"Backfill('book', {expected})")


UPDATE = "UPDATE shop_book SET pages = 1"


@pytest.mark.parametrize(
    ("operation", "expected"),
    [
        (f"migrations.RunSQL('{UPDATE}', elidable=True)", "set={'pages': 1}, elidable=True"),
        (f"migrations.RunSQL(['{UPDATE}'], migrations.RunSQL.noop)", "set={'pages': 1}"),
        (f"migrations.RunSQL('{UPDATE}', 'UPDATE shop_book SET pages = 2')", "set={'pages': 1}, reverse={'pages': 2}"),
        (f"migrations.RunSQL('{UPDATE}', 'UPDATE shop_book SET pages = NULL WHERE pages = 1')", None),
        (f"migrations.RunSQL('{UPDATE}', 'DELETE FROM shop_book')", None),
        (f"migrations.RunSQL(['{UPDATE}', '{UPDATE}'], '')", None),
        (f"migrations.RunSQL([('{UPDATE} WHERE id = %s', [3])], '')", None),
        (f"migrations.RunSQL('{UPDATE}', '', hints={{'a': 1}})", None),
        (f"migrations.RunSQL('{UPDATE}', '', state_operations=[migrations.AlterModelOptions('book', {{}})])", None),
        ("migrations.RunSQL('UPDATE other SET pages = 1', '')", None),
        ("migrations.AddIndex('book', models.Index(fields=['title'], name='t'))", None),
    ],
)  # fmt: skip
def test_the_operation_around_it(operation, expected, written):
    assert written(operation) == (expected and f"Backfill('book', {expected})")


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("Book.objects.update(note='a')", "set={'note': 'a'}"),
        ("Book.objects.all().update(note=LOUD)", "set={'note': LOUD}"),
        ("Book.objects.filter(note=None).update(note=F('title'))", "set={'note': F('title')}, where=Q(note=None)"),
        ("Book.objects.exclude(pages__gt=3).update(note=Lower('title'))",
         "set={'note': Lower('title')}, where=~Q(pages__gt=3)"),
        ("Book.objects.update(title=Concat('subtitle', Value('!')))", "set={'title': Concat('subtitle', Value('!'))}"),
        ("Book.objects.update(title=Coalesce('note', Value('')))", "set={'title': Coalesce('note', Value(''))}"),
        ("db = schema_editor.connection.alias\n    Book.objects.using(db).update(sold=True)", "set={'sold': True}"),
        # It may be another value, at another time, or for other rows.
        ("Book.objects.update(pages=F('pages') + 1)", None),
        ("Book.objects.update(pages=F('author__id'))", None),
        ("Book.objects.update(title=F('subtitle'), subtitle=F('title'))", None),
        ("Book.objects.update(printed=Now())", None),
        ("Book.objects.update(printed=date.today())", None),
        ("Book.objects.update(note=HERE)", None),
        ("Book.objects.update(author=3)", None),
        ("Book.objects.update(missing=3)", None),
        ("Book.objects.filter(author__name='a').update(pages=1)", None),
        ("Book.objects.filter(title__regex='a').update(pages=1)", None),
        ("Book.objects.filter(pages=random.random()).update(pages=1)", None),
        ("Book.objects.filter(models.Q(pages=1)).update(note='')", None),
        ("Book.objects.all()[:5].update(note='')", None),
        ("Book.objects.distinct().update(note='')", None),
        ("Book.objects.using('other').update(note='')", None),
        ("Book.objects.update(note='')\n    Book.objects.update(pages=1)", None),
        ("print(1)\n    Book.objects.update(note='')", None),
        ("if Book.objects.exists():\n        Book.objects.update(note='')", None),
        ("alias = 'other'\n    Book.objects.update(note='')", None),
        ("apps.get_model('shop', 'Kept').objects.update(n=1)", None),
        ("apps.get_model('other', 'Book').objects.update(n=1)", None),
        ("settings.get_model('shop', 'Book').objects.update(pages=1)", None),
        ("Book._base_manager.update(pages=1)", None),
    ],
)  # fmt: skip
def test_update_in_python(body, expected, written):
    found = written("migrations.RunPython(fill, migrations.RunPython.noop)", BOOK + body)
    assert found == (expected and f"Backfill('book', {expected})")


LOOP = "for book in Book.objects.{}:\n        {}"
SAVE = "\n        book.save()"


@pytest.mark.parametrize(
    ("rows", "body", "expected"),
    [
        ("all()", f"book.note = book.title.strip(){SAVE}", "{'note': book.title.strip()}"),
        ("iterator(chunk_size=500)", f"book.code = uuid.uuid4(){SAVE}", "{'code': uuid.uuid4()}"),
        ("all()", f"book.note = short(book){SAVE}", "{'note': short(book)}"),
        ("all()", f"book.note = slugify(book.title)[:10] + LOUD{SAVE}", "{'note': slugify(book.title)[:10] + LOUD}"),
        ("all()", f"book.pages = len([w for w in book.title.split() if w in WORDS]){SAVE}",
         "{'pages': len([w for w in book.title.split() if w in WORDS])}"),
        ("all()", f"book.note = f'{{book.author_id:>5}}'{SAVE}", "{'note': f'{book.author_id:>5}'}"),
        ("all()", "book.note = book.title\n        book.pages = 1\n        book.save(update_fields=['note', 'pages'])",
         "{'note': book.title, 'pages': 1}"),
        ("using(schema_editor.connection.alias)",
         "book.pages = 1\n        book.save(using=schema_editor.connection.alias)", "{'pages': 1}"),
        # It may do something else, or something more.
        ("all()", f"book.title = book.title.strip(){SAVE}", None),
        ("all()", f"book.note = of_author(book){SAVE}", None),
        ("all()", f"book.note = book.author.name{SAVE}", None),
        ("all()", f"book.note = told(book){SAVE}", None),
        ("all()", f"book.note = forever(book){SAVE}", None),
        ("all()", f"book.note = open(book.title).read(){SAVE}", None),
        ("all()", f"book.note = HERE{SAVE}", None),
        ("all()", f"book.pages = book.objects.count(){SAVE}", None),
        ("all()", f"book.pages = WORDS.pop(){SAVE}", None),
        ("all()", f"book.note = book.title\n        book.pages = len(book.note){SAVE}", None),
        ("all()", "book.note = ''\n        book.save(update_fields=['title'])", None),
        ("all()", "book.note = ''\n        book.save(force_update=True)", None),
        ("all()", "book.note = ''\n        book.author.save()", None),
        ("all()", "book.note = ''", None),
        ("all()", f"if book.note:\n            book.note = ''{SAVE}", None),
        ("all()", f"author = 3\n        book.note = author{SAVE}", None),
        ("all()[:9]", f"book.note = ''{SAVE}", None),
        ("values()", f"book.note = ''{SAVE}", None),
        ("all()", f"book.note = ''{SAVE}\n    else:\n        print(1)", None),
    ],
)  # fmt: skip
def test_a_loop(rows, body, expected, written):
    found = written("migrations.RunPython(fill)", BOOK + LOOP.format(rows, body))
    function = f"def fill_book(book):\n    return {expected}\n\n\n"
    assert found == (expected and f"{function}Backfill('book', set=fill_book)")


def test_a_field_that_changes_itself_when_the_row_is_saved(written):
    loop = "for row in apps.get_model('shop', 'Seen').objects.all():\n        row.n = 1\n        row.save({})"
    assert written("migrations.RunPython(fill)", loop.format("")) is None
    found = written("migrations.RunPython(fill)", loop.format("update_fields=['n']"))
    assert found == "def fill_seen(row):\n    return {'n': 1}\n\n\nBackfill('seen', set=fill_seen)"


@pytest.mark.parametrize(
    ("operation", "back", "expected"),
    [
        ("migrations.RunPython(fill, back)", "Book.objects.update(pages=None)", ", reverse={'pages': None}"),
        ("migrations.RunPython(fill, migrations.RunPython.noop, elidable=True)", "pass", ", elidable=True"),
        ("migrations.RunPython(fill, back)", "Book.objects.filter(pages=1).update(pages=None)", None),
        ("migrations.RunPython(fill, back)", "Book.objects.all().delete()", None),
        ("migrations.RunPython(fill, back)", "apps.get_model('shop', 'Author').objects.update(name='')", None),
        ("migrations.RunPython(fill, hints={'a': 1})", "pass", None),
        ("migrations.RunPython(migrations.RunPython.noop)", "pass", None),
        ("migrations.RunPython(lambda apps, schema_editor: None)", "pass", None),
    ],
)
def test_the_way_back(operation, back, expected, written):
    found = written(operation, f"{BOOK}Book.objects.update(pages=1)", BOOK + back)
    assert found == (expected and f"Backfill('book', set={{'pages': 1}}{expected})")


def test_several_databases_want_a_name(written, monkeypatch):
    monkeypatch.setattr(settings, "DATABASES", {**settings.DATABASES, "other": {}})
    body = "Book.objects{}.update(pages=1)"
    assert written("migrations.RunPython(fill)", BOOK + body.format("")) is None
    assert written("migrations.RunPython(fill)", BOOK + body.format(".using(schema_editor.connection.alias)"))
