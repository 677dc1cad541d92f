"""Fixed files do what the files did before: the same schema, the same rows, on the way there and on the way back."""

from __future__ import annotations

from typing import Any

import pytest

from .project import Project
from .snapshot import snapshot

MODELS = """
class Author(models.Model):
    name = models.CharField(max_length=50)
    rank = models.IntegerField(null=True)

class Book(models.Model):
    title = models.CharField(max_length=100)
    slug = models.CharField(max_length=100, null=True)
    note = models.TextField(default="")
    pages = models.IntegerField(null=True)
    price = models.DecimalField(max_digits=8, decimal_places=2, null=True)
    code = models.UUIDField(null=True)
    shelf = models.CharField(max_length=10)
    isbn = models.CharField(max_length=20, default="")
    author = models.ForeignKey(Author, models.CASCADE)
    seen = models.DateTimeField(auto_now=True)

    class Meta:
        indexes = [models.Index(fields=["title"], name="book_title"), models.Index(fields=["note"], name="book_note")]
        constraints = [models.CheckConstraint(condition=models.Q(pages__gte=0), name="book_pages")]

class Shelf(models.Model):
    name = models.CharField(max_length=10)
"""
FIRST = """
from django.db import migrations, models

KEY = ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID"))

class Migration(migrations.Migration):
    initial = True
    operations = [
        migrations.CreateModel("Author", [KEY, ("name", models.CharField(max_length=50)),
            ("rank", models.IntegerField(null=True)), ("old", models.IntegerField(null=True))]),
        migrations.CreateModel("Book", [
            KEY,
            ("title", models.CharField(max_length=100)),
            ("slug", models.CharField(max_length=100, null=True)),
            ("note", models.TextField(default="")),
            ("pages", models.IntegerField(null=True)),
            ("price", models.DecimalField(max_digits=8, decimal_places=2, null=True)),
            ("code", models.UUIDField(null=True)),
            ("author", models.ForeignKey("shop.Author", models.CASCADE)),
            ("seen", models.DateTimeField(auto_now=True)),
        ]),
        migrations.CreateModel("Shelf", [KEY, ("name", models.CharField(max_length=10))]),
    ]
"""
HEAD = """
import uuid

from django.db import migrations, models
from django.db.models import F

UNKNOWN = "?"
"""
SHELF = """
def first_word(book):
    words = book.title.split()
    return words[0].lower() if words else UNKNOWN

def fill_shelves(apps, schema_editor):
    Book = apps.get_model("shop", "Book")
    # the shelf has the name of the first word
    for book in Book.objects.all():
        book.shelf = first_word(book)[:10]
        book.save(update_fields=["shelf"])
"""
CODES = """
def codes(apps, schema_editor):
    Book = apps.get_model("shop", "Book")
    for book in Book.objects.filter(code=None):
        book.code = uuid.uuid5(uuid.NAMESPACE_URL, book.title)
        book.save(update_fields=["code"])

def no_codes(apps, schema_editor):
    apps.get_model("shop", "Book").objects.update(code=None)
"""
RANKS = """
def ranks(apps, schema_editor):
    Author = apps.get_model("shop", "Author")
    Author.objects.exclude(old__isnull=True).update(rank=F("old"))
"""
TWICE = """
def pages(apps, schema_editor):
    apps.get_model("shop", "Book").objects.filter(pages__gt=100).update(pages=F("pages") * 2)
"""
INDEX = "migrations.AddIndex('book', models.Index(fields=['note'], name='book_note'))"
CREATE = "CREATE INDEX book_note ON shop_book (note)"
CHECK = "models.CheckConstraint(condition=models.Q(pages__gte=0), name='book_pages')"
LOWER = "UPDATE shop_book SET slug = lower(title), note = 'new' WHERE note = ''"
NOOP = "migrations.RunPython.noop"
# What each file does, and what it holds after it was fixed.
FILES: dict[str, tuple[str, list[str], list[str]]] = {
    "0002_stock": (
        "",
        [
            "migrations.AddIndex('book', models.Index(fields=['title'], name='book_title'))",
            "migrations.AddField('book', 'isbn', models.CharField(max_length=20, default=''))",
            f"migrations.AddConstraint('book', {CHECK})",
        ],
        ["AddIndexConcurrently(", "AddFieldWithDefault(", "ValidateConstraintLater("],
    ),
    "0003_index": (
        "",
        [f"migrations.RunSQL('{CREATE}', 'DROP INDEX book_note', state_operations=[{INDEX}])"],
        ["AddIndexConcurrently("],
    ),
    "0004_partial": (
        "",
        ["migrations.RunSQL('CREATE INDEX book_few ON shop_book (pages) WHERE pages < 9', 'DROP INDEX book_few')"],
        ["CREATE INDEX CONCURRENTLY book_few"],
    ),
    "0005_prices": (
        "",
        [
            "migrations.RunSQL('UPDATE shop_book SET price = 9.90 WHERE price IS NULL', '')",
            f'migrations.RunSQL("{LOWER}", "UPDATE shop_book SET slug = NULL")',
        ],
        [
            "Backfill('book', set={'price': Decimal('9.90')}, where=Q(price__isnull=True))",
            "set={'slug': Lower(F('title')), 'note': 'new'}, where=Q(note=''), reverse={'slug': None})",
        ],
    ),
    "0006_shelf": (
        SHELF,
        [
            "migrations.AddField('book', 'shelf', models.CharField(max_length=10, null=True))",
            f"migrations.RunPython(fill_shelves, {NOOP})",
            "migrations.AlterField('book', 'shelf', models.CharField(max_length=10))",
        ],
        [
            "def fill_book(book):\n    return {'shelf': first_word(book)[:10]}\n",
            "Backfill('book', set=fill_book)",
            "SetNotNullLater(",
        ],
    ),
    "0007_codes": (
        CODES,
        ["migrations.RunPython(codes, no_codes)"],
        ["Backfill('book', set=fill_book, where=Q(code=None), reverse={'code': None})"],
    ),
    "0008_ranks": (
        RANKS,
        [f"migrations.RunPython(ranks, {NOOP}, elidable=True)"],
        ["Backfill('author', set={'rank': F('old')}, where=~Q(old__isnull=True), elidable=True)"],
    ),
    "0009_old": ("", ["migrations.RemoveField('author', 'old')"], ["RemoveFieldLater("]),
    "0010_pages": (TWICE, [f"migrations.RunPython(pages, {NOOP})"], [f"migrations.RunPython(pages, {NOOP})"]),
}
DEPENDENT = """
from django.db import migrations

class Migration(migrations.Migration):
    dependencies = [("shop", "0006_shelf")]
    operations = [
        migrations.RunSQL("INSERT INTO shop_shelf (name) SELECT DISTINCT shelf FROM shop_book ORDER BY 1", ""),
    ]
"""
ROWS = """
INSERT INTO shop_author (name, old) VALUES ('Ann', 3), ('Bob', NULL);
INSERT INTO shop_book (title, note, pages, price, code, author_id, seen)
    SELECT title, note, pages, price, code::uuid, 1, '2024-01-01' FROM (VALUES
        ('Anna Karenina', '', 864, 12.5, NULL),
        ('', 'empty', NULL, NULL, '8f7d0e6c-0c5e-4f0b-9a53-7f3f1d2b6a11'),
        ('Émile', '', 100, NULL, NULL)
    ) AS v (title, note, pages, price, code);
INSERT INTO shop_book (title, note, author_id, seen)
    SELECT 'Book ' || n, '', 2, '2024-01-01' FROM generate_series(1, 3000) n;
"""


def text(above: str, operations: list[str], before: str) -> str:
    listed = "".join(f"        {operation},\n" for operation in operations)
    return (
        f"{HEAD}\n{above}\n\nclass Migration(migrations.Migration):\n    dependencies = [('shop', {before!r})]\n"
        f"    operations = [\n{listed}    ]\n"
    )


@pytest.fixture
def shop(project: Project) -> Project:
    project.set(SAFEMIGRATIONS={"BASELINE": {"shop": "0001_initial"}})
    project.write_models("shop", MODELS)
    project.write_migration("shop", "0001_initial", FIRST)
    before = "0001_initial"
    for name, (above, operations, _) in FILES.items():
        project.write_migration("shop", name, text(above, operations, before))
        before = name
    project.write_migration("shop", "0006_shelf_names", DEPENDENT)
    project.write_migration(
        "shop", "0011_merge", text("", [], before).replace(")]", "), ('shop', '0006_shelf_names')]", 1)
    )
    return project


def played(shop: Project, connection: Any) -> list[Any]:
    """The schema and the rows at the end, and after the way back to the first migration, on an empty database."""
    shop.sql("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    shop.manage("migrate", "shop", "0001").check()
    shop.sql(ROWS)
    shop.migrate_and_contract()
    end = [schema(connection), rows(connection)]
    shop.manage("migrate", "shop", "0001").check()
    return [*end, schema(connection), rows(connection)]


def schema(connection: Any) -> dict[str, Any]:
    found = snapshot(connection)
    kinds = ("tables", "columns", "indexes", "constraints")
    return {kind: {name: is_ for name, is_ in found[kind].items() if "safemig" not in str(name)} for kind in kinds}


def rows(connection: Any) -> dict[str, list[Any]]:
    """Of the tables of the shop. Columns that come anew on the way back stand elsewhere."""
    found = {}
    with connection.cursor() as cursor:
        for table in ("shop_author", "shop_book", "shop_shelf"):
            cursor.execute(f"SELECT to_jsonb(t) FROM {table} AS t ORDER BY id")
            found[table] = [row for (row,) in cursor.fetchall()]
    return found


def files(shop: Project) -> dict[str, str]:
    return {name: shop.read_migration("shop", name) for name in shop.migration_files("shop")}


def test_fixed_files_do_what_they_did_before(shop, database):
    before = played(shop, database)
    shop.sql("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    untouched = {name: files(shop)[name] for name in ("0001_initial", "0006_shelf_names", "0011_merge")}
    said = shop.manage("safemigrations", "lint", "--fix").stdout
    after = files(shop)
    assert {name: after[name] for name in untouched} == untouched  # who depends on a file depends on its last part
    for name, (_, _, expected) in FILES.items():
        parts = "".join(text for file, text in after.items() if file.startswith(name))
        assert [part for part in expected if part not in parts] == [], said + parts
    shop.manage("makemigrations", "--check", "--dry-run").check()
    shop.manage("safemigrations", "lint", "--fix")
    assert files(shop) == after
    for one, other in zip(played(shop, database), before, strict=True):
        assert one == other
