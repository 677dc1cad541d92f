"""Who may do what in each phase of a change: docs/phases.md, and a section of each page, which this module writes.

    python -m tests.phases

Whatever stands here is tried by tests/test_phases.py: in each phase each release goes about its usual requests, then
does what the table says that it may do, and fails at what it says that it can't.
A change is added as a Line of LINES.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import django

if __name__ == "__main__":
    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
    django.setup()

from django.db import models
from django.db.migrations import CreateModel
from django.db.migrations.operations.base import Operation
from django.db.models import CheckConstraint, Q, UniqueConstraint, Value

from safemigrations import operations as ours
from safemigrations.operations.base import Change

from .cases import STORE, InStore
from .shop import KEY

PAGE = Path(__file__).resolve().parents[1] / "docs" / "phases.md"
BIG = 2**40
Request = Callable[[Any, Any], object]  # given the models of the old and of the new release

OLD, NEW = "old release, after expand", "new release, after expand"
DONE, LATE = "new release, after the contract", "old release, if it still ran then"
PHASES = (OLD, NEW, DONE, LATE)


@dataclass(frozen=True)
class Says:
    phase: str
    what: str
    request: Request
    fails: bool


def may(phase: str, what: str, request: Request) -> Says:
    return Says(phase, what, request, fails=False)


def cannot(phase: str, what: str, request: Request) -> Says:
    return Says(phase, what, request, fails=True)


@dataclass(frozen=True)
class Line:
    """One change of the model Book, as it stands after `options`, and what is special about it."""

    operation: Change
    says: Sequence[Says] = ()
    variant: str = ""
    options: dict[str, Any] | None = None  # of the model before
    fields: Sequence[tuple[str, models.Field[Any, Any]]] = ()  # that the model has besides
    filled: frozenset[str] = frozenset()  # where a null that the old release writes becomes something else
    in_store: bool = False  # has another app the model before?

    @property
    def before(self) -> list[Operation]:
        author = models.ForeignKey("shop.author", models.CASCADE, related_name="books")
        fields: list[tuple[str, Any]] = [
            KEY,
            ("title", models.CharField(max_length=100)),
            ("code", models.CharField(max_length=40)),
            ("pages", models.IntegerField()),
            ("note", models.CharField(max_length=40, null=True)),
            ("author", author),
            *self.fields,
        ]
        book = CreateModel("Book", fields, self.options or {})
        return [
            CreateModel("Author", [KEY, ("name", models.CharField(max_length=100))]),
            InStore(book) if self.in_store else book,
        ]

    @property
    def page(self) -> str:
        """The name of the change: that of the module which its operation is written in."""
        return Path(inspect.getfile(type(self.operation).__init__)).stem


# Requests.


def book(release: Any, **values: Any) -> Any:
    """A new book, with what this release knows of the usual values."""
    model = getattr(release, "Book", None) or release.Tale
    names = {field.name for field in model._meta.fields}
    usual = {"title": "Emma", "code": "e", "pages": 7, "length": 7}
    known = {name: value for name, value in usual.items() if name in names}
    if "author" in names and "author" not in values:
        values["author"] = release.Author.objects.create(name="Jane")
    return model.objects.create(**{**known, **values})


def twice(release: Any, **values: Any) -> None:
    book(release, **values)
    book(release, **values)


def large(old: Any, new: Any = None) -> Any:
    """What the other release reads of a size that isn't a number; the row goes, as the contract would name it."""
    row = book(old, size="large")
    read = new.Book.objects.get(pk=row.pk).size if new else ""
    row.delete()
    return read


def upsert(release: Any, *names: str, **values: Any) -> None:
    row = book(release, **values)
    same = {field.attname: getattr(row, field.attname) for field in row._meta.fields if field.name != "id"}
    release.Book.objects.bulk_create(
        [release.Book(**same)], update_conflicts=True, unique_fields=names, update_fields=["note"]
    )
    assert release.Book.objects.filter(**{name: getattr(row, name) for name in names}).count() == 1


def same(read: Any, expected: Any) -> None:
    assert read == expected, f"{read!r} is not {expected!r}"


def delete_author_of(row: Any, by: Any, name: str = "author") -> None:
    by.Author.objects.get(pk=getattr(row, f"{name}_id")).delete()


def owned(new: Any) -> Any:
    return book(new, owner=new.Author.objects.create(name="Cassandra"))


def number_of(row: Any) -> int:
    return len(row.title)


LONG_TITLE = CheckConstraint(condition=Q(pages__gt=0), name="book_pages")
CODES = UniqueConstraint(fields=["code"], name="book_code")
INTEGER, CHAR = models.IntegerField(), models.CharField
STATE = CHAR(max_length=9, db_default="new")

LINES: Sequence[Line] = (
    Line(ours.AddIndexConcurrently("book", models.Index(fields=["title"], name="book_title"))),
    Line(
        ours.RemoveIndexLater("book", "book_title"),
        options={"indexes": [models.Index(fields=["title"], name="book_title")]},
    ),
    Line(
        ours.AddFieldConcurrently(
            "book", "owner", models.ForeignKey("shop.author", models.CASCADE, null=True, related_name="+")
        ),
        [
            may(OLD, "delete a parent that new rows point at", lambda o, n: delete_author_of(owned(n), o, "owner")),
            cannot(LATE, "delete a parent that new rows point at", lambda o, n: delete_author_of(owned(n), o, "owner")),
        ],
        variant="a foreign key",
    ),
    Line(
        ours.AddFieldWithDefault("book", "stars", models.IntegerField(default=3)),
        [
            may(
                OLD,
                "insert rows without the field: they get its default",
                lambda o, n: same(n.Book.objects.get(pk=book(o).pk).stars, 3),
            ),
            cannot(LATE, "insert rows", lambda o, n: book(o)),
        ],
    ),
    Line(
        ours.AddFieldNullableThenBackfill("book", "stars", models.IntegerField(), backfill=number_of),
        [
            may(OLD, "insert rows without the field", lambda o, n: book(o)),
            may(
                NEW,
                "find None in rows of the old release, without `meanwhile`",
                lambda o, n: same(n.Book.objects.get(pk=book(o).pk).stars, None),
            ),
            cannot(LATE, "insert rows", lambda o, n: book(o)),
        ],
        variant="a function",
    ),
    Line(
        ours.AddFieldNullableThenBackfill("book", "stars", models.IntegerField(), backfill=models.F("pages") * 2),
        [
            may(
                OLD,
                "insert rows without the field: they get the expression's value",
                lambda o, n: same(n.Book.objects.get(pk=book(o).pk).stars, 14),
            ),
            cannot(LATE, "insert rows", lambda o, n: book(o)),
        ],
        variant="an expression",
    ),
    Line(
        ours.RemoveFieldLater("book", "pages"),
        [
            may(NEW, "insert rows without the field", lambda o, n: book(n)),
            may(
                OLD,
                "find None in rows of the new release, where the field has no default",
                lambda o, n: same(o.Book.objects.get(pk=book(n).pk).pages, None),
            ),
            cannot(LATE, "read or write", lambda o, n: o.Book.objects.first()),
        ],
    ),
    Line(
        ours.RemoveFieldLater("book", "author"),
        [
            may(
                NEW,
                "delete parents that old rows point at: these rows get null",
                lambda o, n: delete_author_of(book(o), n),
            ),
            cannot(LATE, "read or write", lambda o, n: o.Book.objects.first()),
        ],
        variant="a foreign key",
    ),
    Line(
        ours.ExpandRename("book", "pages", "length"),
        [
            may(OLD, "read what the new release wrote", lambda o, n: same(o.Book.objects.get(pk=book(n).pk).pages, 7)),
            may(NEW, "read what the old release wrote", lambda o, n: same(n.Book.objects.get(pk=book(o).pk).length, 7)),
            cannot(LATE, "read or write", lambda o, n: o.Book.objects.first()),
        ],
    ),
    Line(
        ours.AlterFieldConcurrently("book", "code", CHAR(max_length=40, unique=True)),
        [
            cannot(OLD, "write duplicates, although it doesn't know the constraint", lambda o, n: twice(o)),
            may(NEW, "upsert over the field", lambda o, n: upsert(n, "code")),
        ],
        variant="unique",
    ),
    Line(
        ours.AlterFieldConcurrently("book", "isbn", CHAR(max_length=40, null=True)),
        [
            may(OLD, "upsert over the field", lambda o, n: upsert(o, "isbn", isbn="1")),
            cannot(NEW, "write duplicates: the constraint goes with the contract", lambda o, n: twice(n, isbn="1")),
            may(DONE, "write duplicates", lambda o, n: twice(n, isbn="1")),
            cannot(LATE, "upsert over the field", lambda o, n: upsert(o, "isbn", isbn="1")),
        ],
        fields=[("isbn", CHAR(max_length=40, null=True, unique=True))],
        variant="no longer unique",
    ),
    Line(
        ours.ExpandAlterField("book", "pages", models.BigIntegerField()),
        [
            may(
                OLD,
                "read values that only the new type holds",
                lambda o, n: same(o.Book.objects.get(pk=book(n, pages=BIG).pk).pages, BIG),
            )
        ],
        variant="a wider type",
    ),
    Line(
        ours.ExpandAlterField("book", "code", CHAR(max_length=30)),
        [
            may(
                OLD,
                "write what the new type can't hold; the contract then names the rows",
                lambda o, n: book(o, code="x" * 40),
            ),
            may(
                NEW,
                "write what the new type can't hold: nothing prevents that yet",
                lambda o, n: book(n, code="x" * 40),
            ),
            cannot(DONE, "write what its type can't hold", lambda o, n: book(n, code="x" * 40)),
            cannot(LATE, "write what the new type can't hold", lambda o, n: book(o, code="x" * 40)),
        ],
        variant="a narrower type",
    ),
    Line(
        ours.ExpandAlterField("book", "pages", models.IntegerField(db_column="length")),
        [
            may(OLD, "read what the new release wrote", lambda o, n: same(o.Book.objects.get(pk=book(n).pk).pages, 7)),
            may(NEW, "read what the old release wrote", lambda o, n: same(n.Book.objects.get(pk=book(o).pk).pages, 7)),
            cannot(LATE, "read or write", lambda o, n: o.Book.objects.first()),
        ],
        variant="`db_column`",
    ),
    Line(
        ours.ExpandAlterField("book", "size", models.IntegerField(db_column="number", choices=[(1, "S"), (2, "M")])),
        [
            may(OLD, "write what the new type can't hold; the contract then names the rows", lambda o, n: large(o)),
            may(
                OLD,
                "read what the new release wrote",
                lambda o, n: same(o.Book.objects.get(pk=book(n, size=2).pk).size, "2"),
            ),
            may(
                NEW,
                "read null where the old release wrote what the new type can't hold",
                lambda o, n: same(large(o, n), None),
            ),
            cannot(LATE, "read or write", lambda o, n: o.Book.objects.first()),
        ],
        fields=[("size", CHAR(max_length=9, choices=[("1", "S"), ("2", "M")], default="1"))],
        variant="another type in another column",
    ),
    Line(
        ours.SetNotNullLater("book", "note", CHAR(max_length=40), backfill=Value("none")),
        [
            may(
                OLD,
                "write null, which is filled",
                lambda o, n: same(n.Book.objects.get(pk=book(o, note=None).pk).note, "none"),
            ),
            cannot(LATE, "write null", lambda o, n: book(o, note=None)),
        ],
        filled=frozenset({"book.note"}),
    ),
    Line(
        ours.DropDefaultLater("book", "state", CHAR(max_length=9, default="old")),
        [
            may(OLD, "leave the field to the database", lambda o, n: book(o)),
            cannot(LATE, "leave the field to the database", lambda o, n: book(o)),
        ],
        fields=[("state", STATE)],
    ),
    Line(
        ours.AlterOrderWithRespectToConcurrently("book", "author"),
        [
            may(OLD, "insert rows without an order", lambda o, n: book(o)),
            cannot(LATE, "insert rows", lambda o, n: book(o)),
        ],
    ),
    Line(
        ours.AlterUniqueTogetherConcurrently("book", {("code", "title")}),
        [
            cannot(OLD, "write duplicates, although it doesn't know the constraint", lambda o, n: twice(o)),
            may(NEW, "upsert over the set", lambda o, n: upsert(n, "code", "title")),
        ],
        variant="a set is added",
    ),
    Line(
        ours.AlterUniqueTogetherConcurrently("book", set()),
        [
            may(OLD, "upsert over the set", lambda o, n: upsert(o, "code", "title")),
            cannot(NEW, "write what the set forbids", lambda o, n: twice(n)),
            may(DONE, "write what the set forbade", lambda o, n: twice(n)),
            cannot(LATE, "upsert over the set", lambda o, n: upsert(o, "code", "title")),
        ],
        variant="a set is removed",
        options={"unique_together": {("code", "title")}},
    ),
    Line(
        ours.AddConstraintConcurrently("book", CODES),
        [
            cannot(OLD, "write duplicates, although it doesn't know the constraint", lambda o, n: twice(o)),
            may(NEW, "upsert over the constraint", lambda o, n: upsert(n, "code")),
        ],
    ),
    Line(
        ours.ValidateConstraintLater("book", LONG_TITLE),
        [
            may(OLD, "write what the check forbids; the contract then names the rows", lambda o, n: book(o, pages=0)),
            may(NEW, "write what the check forbids: nothing prevents that yet", lambda o, n: book(n, pages=0)),
            cannot(DONE, "write what the check forbids", lambda o, n: book(n, pages=0)),
            cannot(LATE, "write what the check forbids", lambda o, n: book(o, pages=0)),
        ],
    ),
    Line(
        ours.ValidateConstraintLater("book", LONG_TITLE, enforce="expand"),
        [
            cannot(OLD, "write what the check forbids", lambda o, n: book(o, pages=0)),
            cannot(NEW, "write what the check forbids", lambda o, n: book(n, pages=0)),
            cannot(DONE, "write what the check forbids", lambda o, n: book(n, pages=0)),
            cannot(LATE, "write what the check forbids", lambda o, n: book(o, pages=0)),
        ],
        variant='`enforce="expand"`',
    ),
    Line(
        ours.RemoveConstraintLater("book", "book_code"),
        [
            may(OLD, "upsert over the constraint", lambda o, n: upsert(o, "code")),
            cannot(NEW, "write what the constraint forbids", lambda o, n: twice(n)),
            may(DONE, "write what the constraint forbade", lambda o, n: twice(n)),
            cannot(LATE, "upsert over the constraint", lambda o, n: upsert(o, "code")),
        ],
        variant="unique",
        options={"constraints": [CODES]},
    ),
    Line(
        ours.RemoveConstraintLater("book", "book_pages"),
        [
            may(OLD, "write what its check forbade: nothing prevents that any more", lambda o, n: book(o, pages=0)),
            may(NEW, "write what the check forbade", lambda o, n: book(n, pages=0)),
        ],
        variant="check",
        options={"constraints": [LONG_TITLE]},
    ),
    Line(
        ours.DeleteModelLater("book"),
        [
            may(
                NEW,
                "delete parents that old rows point at: these rows are deleted too",
                lambda o, n: delete_author_of(book(o), n),
            ),
            cannot(LATE, "read or write", lambda o, n: o.Book.objects.first()),
        ],
    ),
    Line(
        ours.ExpandRenameModel("Book", "Tale"),
        [
            may(OLD, "read what the new release wrote", lambda o, n: o.Book.objects.get(pk=book(n).pk)),
            may(NEW, "read what the old release wrote", lambda o, n: n.Tale.objects.get(pk=book(o).pk)),
            cannot(LATE, "read or write", lambda o, n: o.Book.objects.first()),
        ],
    ),
    Line(
        ours.ExpandAlterModelTable("book", "shop_tale"),
        [
            may(OLD, "read what the new release wrote", lambda o, n: o.Book.objects.get(pk=book(n).pk)),
            may(NEW, "read what the old release wrote", lambda o, n: n.Book.objects.get(pk=book(o).pk)),
            cannot(LATE, "read or write", lambda o, n: o.Book.objects.first()),
        ],
    ),
    Line(
        ours.MoveModelIn("Book", STORE),
        [
            may(OLD, "read what the new release wrote", lambda o, n: o.Book.objects.get(pk=book(n).pk)),
            may(NEW, "read what the old release wrote", lambda o, n: n.Book.objects.get(pk=book(o).pk)),
            cannot(LATE, "read or write", lambda o, n: o.Book.objects.first()),
        ],
        in_store=True,
    ),
    Line(ours.Backfill("book", {"note": Value("none")}, where=Q(note=None))),
)


# The page.

HEAD = """# Who may do what in each phase

In each phase both releases do their usual work: they read what is there, create, save, update, lock, upsert and delete
rows and their parents. A cell names only what is special about that change. **can't** means that the database refuses
it; everything else works. Because of the last column `migrate --contract` waits until no server runs the old release
any more.

The table leaves out one exception, because no operation of ours is part of it: the old release can't delete a parent
that a row of [a new model](add_field.md#a-new-model) points at.

`tests/phases.py` writes this page, and the tests try every line of it: the usual requests of each release in each
phase, what the release may do, and what it can't.

"""


def cell(line: Line, phase: str) -> str:
    said = [says for says in line.says if says.phase == phase]
    return "<br>".join(f"**can't** {says.what}" if says.fails else f"may {says.what}" for says in said) or "-"


def written() -> str:
    rows: list[Sequence[str]] = [("change", *PHASES), ("---",) * 5]
    for line in LINES:
        name = f"[`{type(line.operation).__name__}`]({line.page}.md)"
        what = f"{name}, {line.variant}" if line.variant else name
        rows.append((what, *(cell(line, phase) for phase in PHASES)))
    return HEAD + "".join(f"| {' | '.join(row)} |\n" for row in rows)


# The same on the page of a change.

HEADING, BEFORE = "## Who may do what\n", "## The way back\n"
USUAL = "In every phase both releases go about [their usual work](phases.md).\n"
USUAL_BUT = (
    "Both releases go about [their usual work](phases.md). Besides:\n\n| which release, when | what |\n| --- | --- |\n"
)


def section(page: str) -> str:
    rows = [row for line in LINES if line.page == page for row in _special(line)]
    return f"{HEADING}\n{USUAL_BUT if rows else USUAL}{''.join(rows)}\n"


def _special(line: Line) -> Iterator[str]:
    variant = f" ({line.variant})" if line.variant else ""
    for phase in PHASES:
        if (said := cell(line, phase)) != "-":
            yield f"| {phase}{variant} | {said} |\n"


def with_section(page: Path) -> str:
    """The text of the page as it should be."""
    first, before, last = page.read_text().partition(BEFORE)
    return f"{first.partition(HEADING)[0]}{section(page.stem)}{before}{last}"


PAGES = [PAGE.parent / f"{name}.md" for name in dict.fromkeys(line.page for line in LINES)]

if __name__ == "__main__":
    PAGE.write_text(written())
    for each in PAGES:
        each.write_text(with_section(each))
