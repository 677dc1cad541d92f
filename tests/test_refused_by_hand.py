"""Each change of docs/refused.md: makemigrations refuses it, and the way by hand that stands there can be gone.

The default run takes every second one; where SAFEMIGRATIONS_TEST_ONE_IN is 1, as in the matrix, all.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from .project import Project
from .representatives import ONE_IN

PAGE = Path(__file__).resolve().parents[1] / "docs" / "refused.md"


@dataclass(frozen=True)
class Release:
    """Models; what is answered to makemigrations; and what a person does to the last file before it is migrated."""

    models: str
    answers: str = ""
    by_hand: Callable[[Project], None] | None = None


@dataclass(frozen=True)
class Way:
    before: str
    refused: str
    said: str
    releases: tuple[Release, ...]
    answers: str = "n\n" * 3


def decided(id: str) -> Callable[[Project], None]:
    def decide(project: Project) -> None:
        name = project.migration_files("shop")[-1]
        text = project.read_migration("shop", name).replace(
            "    dependencies =", f'    allow_unsafe = {{"safemigrations.{id}": "a quiet night"}}\n\n    dependencies ='
        )
        project.write_migration("shop", name, text)

    return decide


def book(*fields: str, meta: str = "") -> str:
    lines = ["class Book(models.Model):", "    title = models.CharField(max_length=40)", *(f"    {f}" for f in fields)]
    return "\n".join([*lines, f"    class Meta:\n        {meta}" if meta else ""]) + "\n"


TRIGGER = """from django.db import migrations

DOUBLE = '''
CREATE FUNCTION double_pages() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN NEW.double := NEW.pages * 2; RETURN NEW; END $$;
CREATE TRIGGER book_double BEFORE INSERT OR UPDATE ON shop_book FOR EACH ROW EXECUTE FUNCTION double_pages();
'''


class Migration(migrations.Migration):
    dependencies = [("shop", "0002_book_double")]
    operations = [migrations.RunSQL(DOUBLE, "DROP FUNCTION double_pages CASCADE")]
"""
FILLED = """from django.db import migrations, models
from safemigrations.operations import Backfill


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("shop", "0003_trigger")]
    operations = [Backfill("book", set={"double": models.F("pages") * 2}, where=models.Q(double=None))]
"""


def filled_by_a_trigger(project: Project) -> None:
    project.write_migration("shop", "0003_trigger", TRIGGER)
    project.write_migration("shop", "0004_fill", FILLED)


MOVED = """from django.db import migrations

MOVE = '''
CREATE SCHEMA lib; ALTER TABLE shop_book SET SCHEMA lib; ALTER TABLE lib.shop_book RENAME TO book;
CREATE VIEW shop_book AS SELECT * FROM lib.book
'''


class Migration(migrations.Migration):
    allow_unsafe = {"safemigrations.E205": "the view has the old name"}
    dependencies = [("shop", "0001_initial")]
    operations = [
        migrations.SeparateDatabaseAndState(
            [migrations.RunSQL(MOVE)], [migrations.AlterModelTable("book", '"lib"."book"')]
        )
    ]
"""


def moved_by_hand(project: Project) -> None:
    name = project.migration_files("shop")[-1]
    project.write_migration("shop", name, MOVED)


CUSTOMERS = """
class Customer(models.Model):
    name = models.CharField(max_length=9)

class Client(models.Model):
    code = models.CharField(max_length=9)
    {link}

class Order(models.Model):
    customer = models.ForeignKey({to}, models.CASCADE)
"""
LINK = "customer = models.OneToOneField(Customer, models.CASCADE, null=True)"
TAGS = """
class Tag(models.Model):
    name = models.CharField(max_length=9)

class Label(models.Model):
    name = models.CharField(max_length=9)
    {link}

class Order(models.Model):
    tags = models.ManyToManyField({to})
"""
ONE = "tag = models.OneToOneField(Tag, models.CASCADE, null=True)"
TAGGING = """
class Tagging(models.Model):
    order = models.ForeignKey(Order, models.CASCADE)
    tag = models.{kind}({to}, models.CASCADE)

    class Meta:
        unique_together = [("order", "tag")]
"""
FRIENDS = """
class Label(models.Model):
    owner = models.OneToOneField("Order", models.CASCADE, null=True)

class Order(models.Model):
    tags = models.ManyToManyField({to})
"""
FRIEND = """
class Friend(models.Model):
    one = models.ForeignKey(Order, models.CASCADE, related_name="+")
    other = models.ForeignKey({to}, models.CASCADE, related_name="+")

    class Meta:
        unique_together = [("one", "other")]
"""
CURRENCY = """
class Currency(models.Model):
    code = models.{}
    {}

class Price(models.Model):
    currency = models.ForeignKey(Currency, models.CASCADE, to_field="code")
"""
SPAN = "from django.contrib.postgres.fields import IntegerRangeField\n" + book("span = IntegerRangeField()")
APART = (
    "from django.contrib.postgres.constraints import ExclusionConstraint\n"
    "from django.contrib.postgres.fields import IntegerRangeField\n"
    + book(
        "span = IntegerRangeField()",
        meta='constraints = [ExclusionConstraint(expressions=[("span", "&&")], name="apart")]',
    )
)
DOUBLE = "models.GeneratedField(expression=models.F('pages') * 2, output_field=models.IntegerField(), db_persist=True)"
PAGES = "pages = models.IntegerField()"
OLD = "class Old(models.Model):\n    name = models.CharField(max_length=9)\n"
NEW = "class New(models.Model):\n    number = models.IntegerField()\n    class Meta:\n        db_table = 'shop_old'\n"
UNIQUE = 'constraints = [models.UniqueConstraint(fields=["shelf", "pages"], name="book_shelf")]'
SHELF = "shelf = models.IntegerField(default=0)"
BIGGER = "pages = models.BigIntegerField()"
CODE = "code = models.CharField(max_length=40, {})".format


def by_a_link(models: str, link: str, ends: tuple[str, str], reason: str) -> Way:
    """A relation comes first that says which row of the one end is which of the other."""
    before, after = ((models.format(link=one, to=ends[0]), models.format(link=one, to=ends[1])) for one in ("", link))
    return Way(*before, reason, (Release(after[0]), Release(after[1], "y\n")))


WAYS = {
    "a new unique field with one default for all rows": Way(
        book(),
        book(CODE("unique=True, default='x'")),
        "is unique and has one default",
        (Release(book(CODE("unique=True, null=True"))), Release(book(CODE("unique=True")), "4\nF('title')\n")),
    ),
    "a new stored `GeneratedField`": Way(
        book(PAGES),
        book(PAGES, f"double = {DOUBLE}"),
        "rewrites the whole table while nobody can read or write",
        (Release(book(PAGES, "double = models.IntegerField(null=True)"), by_hand=filled_by_a_trigger),),
    ),
    "a primary key that goes, or that becomes another kind of key": Way(
        "import uuid\n" + book(),
        "import uuid\n" + book("id = models.UUIDField(primary_key=True, default=uuid.uuid4)"),
        "A key of another kind is another key",
        (Release("import uuid\n" + book("key = models.UUIDField(unique=True, default=uuid.uuid4)")),),
    ),
    "numbers that PostgreSQL gives to rows come or go (`BigAutoField` ↔ `BigIntegerField`)": Way(
        book(),
        book("id = models.BigIntegerField(primary_key=True)"),
        "One of the two releases inserts rows without a number",
        (Release(book("id = models.BigIntegerField(primary_key=True)"), by_hand=decided("E043")),),
    ),
    "a unique set or constraint over a field that the same release adds with one default": Way(
        book(PAGES),
        book(PAGES, SHELF, meta=UNIQUE),
        "in the release that adds it",
        (Release(book(PAGES, SHELF)), Release(book(PAGES, SHELF, meta=UNIQUE))),
    ),
    "an exclusion constraint, or a constraint of a class that nobody here knows": Way(
        SPAN,
        APART,
        "PostgreSQL has no online way to add an exclusion constraint",
        (Release(APART, by_hand=decided("E034")),),
    ),
    "a unique field that forbids null, with one default": Way(
        book(CODE("unique=True, null=True")),
        book(CODE("unique=True, default='x'")),
        "gives every row that is null the same value",
        (Release(book(CODE("unique=True")), "4\nF('title')\n"),),
    ),
    "a foreign key points at another model, and no foreign key between the two says which row is which": by_a_link(
        CUSTOMERS, LINK, ("Customer", "Client"), "Give one of the two models a foreign key to the other"
    ),
    "a many-to-many field points at another model, and no field that is one to one says which row is which": by_a_link(
        TAGS, ONE, ("Tag", "Label"), "Give one of the two models a OneToOneField to the other"
    ),
    "a many-to-many field points at another model of the same name, or at its own, or no longer at its own": Way(
        FRIENDS.format(to="'self'"),
        FRIENDS.format(to="Label"),
        "the table can't have a column for each release",
        (
            Release(FRIENDS.format(to="'self', through='Friend'") + FRIEND.format(to="Order")),
            Release(FRIENDS.format(to="Label, through='Friend'") + FRIEND.format(to="Label"), "y\n"),
        ),
    ),
    "a model of `through` that the table can't be, as its keys are of another kind": Way(
        TAGS.format(link=ONE, to="Tag"),
        TAGS.format(link=ONE, to="Tag, through='Tagging'") + TAGGING.format(kind="OneToOneField", to="Tag"),
        "changes `through`, which Django can't",
        (
            Release(TAGS.format(link=ONE, to="Tag, through='Tagging'") + TAGGING.format(kind="ForeignKey", to="Tag")),
            Release(
                TAGS.format(link=ONE, to="Tag, through='Tagging'") + TAGGING.format(kind="OneToOneField", to="Tag")
            ),
        ),
    ),
    "a generated field gets another column": Way(
        book(PAGES, f"double = {DOUBLE}"),
        book(PAGES, f"twice = {DOUBLE}"),
        "PostgreSQL computes a generated column after every trigger",
        (Release(book(PAGES, f"twice = {DOUBLE[:-1]}, db_column='double')"), "y\n"),),
        answers="y\nn\n",
    ),
    "another type of a key that others point at by `to_field`": Way(
        CURRENCY.format("CharField(max_length=9, unique=True)", ""),
        CURRENCY.format("IntegerField(unique=True)", ""),
        "shop.Price.currency points at it, and would have to become of its type",
        (
            Release(
                CURRENCY.format("CharField(max_length=9, unique=True)", "number = models.IntegerField(unique=True)"),
                "3\nCast(F('code'), models.IntegerField())\n",
            ),
        ),
    ),
    "another type, or an exchange of names, in the release that renames the table or the other field": Way(
        book(PAGES),
        book(BIGGER, meta="db_table = 'books'"),
        "The same release renames the table",
        (Release(book(PAGES, meta="db_table = 'books'")), Release(book(BIGGER, meta="db_table = 'books'"))),
    ),
    "a model or a field goes, and its table or column is taken by another": Way(
        book() + OLD,
        book() + NEW,
        "drops the table shop_old, which shop.New has",
        (Release(book()), Release(book() + NEW)),
    ),
    "a table moves to another schema": Way(
        book(),
        book(meta="""db_table = '"lib"."book"'"""),
        "Django can't move a table into another schema",
        (Release(book(meta="""db_table = '"lib"."book"'"""), by_hand=moved_by_hand),),
    ),
}


def rows() -> list[str]:
    lines = [line for line in PAGE.read_text().splitlines() if line.startswith("| ")][1:]
    return [line.split(" | ")[0].removeprefix("| ") for line in lines]


def test_each_row_of_the_page_has_its_way_here():
    assert rows() == list(WAYS)


@pytest.mark.parametrize("change", list(WAYS)[::ONE_IN])
def test_the_way_by_hand(project, change):
    way = WAYS[change]
    project.set(INSTALLED_APPS=[*project.settings["INSTALLED_APPS"], "django.contrib.postgres"])
    project.write_models("shop", way.before)
    project.manage("makemigrations", "shop").check()
    project.manage("migrate").check()
    project.write_models("shop", way.refused)
    said = project.manage("makemigrations", "shop", input=way.answers).check()
    assert way.said in said.stderr
    assert project.manage("check").returncode == 1
    for name in project.migration_files("shop")[1:]:
        (project.folder / f"shop/migrations/{name}.py").unlink()
    for release in way.releases:
        project.write_models("shop", release.models)
        project.manage("makemigrations", "shop", input=release.answers).check()
        if release.by_hand:
            release.by_hand(project)
        project.manage("check").check()
        project.migrate_and_contract()
    project.manage("makemigrations", "--check", "--dry-run").check()
