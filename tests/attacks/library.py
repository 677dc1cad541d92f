"""A library of authors and books, and the changes of it that most attacks are made on.

Whoever writes a book's pages writes the same number to `truth`, so that afterwards one sees what was lost.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.db import models
from django.db.migrations import AddConstraint, AlterField, CreateModel, RenameField
from django.db.migrations.operations.base import Operation
from django.db.models import CheckConstraint, F, Q, UniqueConstraint, Value

from safemigrations.operations import AddFieldNullableThenBackfill, Backfill

from ..shop import KEY
from .deployment import Deployment

AUTHOR = CreateModel("Author", [KEY, ("name", models.CharField(max_length=40))])
BOOK = CreateModel(
    "Book",
    [
        KEY,
        ("title", models.CharField(max_length=40)),
        ("pages", models.IntegerField(null=True)),
        ("truth", models.IntegerField(null=True)),
        ("note", models.CharField(max_length=40, null=True)),
        ("code", models.CharField(max_length=40)),
        ("author", models.ForeignKey("shop.Author", models.CASCADE)),
        ("editor", models.ForeignKey("shop.Author", models.SET_NULL, null=True, related_name="+")),
    ],
)
LATER = {"BACKFILL_BATCH_SIZE": 50, "BACKFILL_INLINE_ROWS": 50}  # settings: books are left for `backfill run`
AUTHORS = "INSERT INTO shop_author (name) SELECT 'author ' || n FROM generate_series(1, 7) n"
BOOKS = """
    INSERT INTO {table} (title, pages, truth, note, code, author_id, editor_id)
        SELECT 'title ' || n, n * 10, n * 10, CASE WHEN n % 3 = 0 THEN 'note ' || n END, 'code ' || n,
            1 + n % 7, 1 + n % 7
        FROM generate_series({first}, {last}) n
"""


def library(made: Deployment, *more: Operation, rows: int = 120) -> Deployment:
    """Its first release, migrated, and rows that it wrote; the operations in `more` are part of that release."""
    made.deploy(AUTHOR, BOOK, *more).check()
    made.sql(AUTHORS)
    add_books(made, rows)
    return made


def add_books(made: Deployment, rows: int, *, first: int = 1, table: str = "shop_book") -> None:
    made.sql(BOOKS.format(table=table, first=first, last=first + rows - 1))


@dataclass(frozen=True)
class Change:
    """A change of the library, and how its books are when it has gone wrong.

    `pages` is what the new release calls their number, where the change is about that. `waits`: rows of the old release
    may be wrong until the contract. `spoil` is SQL after which the change has to be refused.
    """

    name: str
    operation: Operation
    wrong: str
    pages: str = "pages"
    waits: bool = False
    spoil: str = ""

    def __str__(self) -> str:
        return self.name

    def write(self, made: Deployment, *, table: str = "shop_book") -> None:
        """What both releases do while both run: change rows, their own and those of the other, and add some."""
        plus = "UPDATE {0} SET {1} = ({1}::int + 1){2}, truth = truth + 1 WHERE id % 4 IN ({3})"
        cast = "::varchar" if "::text" in self.wrong else ""
        made.sql(plus.format(table, "pages", "", "1, 3"))
        made.sql(plus.format(table, self.pages, cast, "2, 3"))
        add_books(made, 5, first=901, table=table)
        columns = "title, truth, note, code, author_id"
        made.sql(
            f"INSERT INTO {table} ({columns}, {self.pages})"
            f" SELECT 'new', n, 'new', 'new ' || n, 1, n{cast} FROM generate_series(951, 955) n"
        )
        made.sql(plus.format(table, "pages", "", "0"))


def lines_of(book: Any) -> int:
    return int(book.pages) * 30


SAME = "pages IS DISTINCT FROM truth"
BIGGER = Change("int to bigint", AlterField("book", "pages", models.BigIntegerField(null=True)), SAME)
SMALLER = Change("int to smallint", AlterField("book", "pages", models.SmallIntegerField(null=True)), SAME)
TEXT = Change(
    "another type in another column",
    AlterField("book", "pages", models.CharField(max_length=9, null=True, db_column="sheets", choices=[("1", "one")])),
    "sheets IS DISTINCT FROM truth::text",
    pages="sheets",
)
RENAMED = Change("a rename", RenameField("book", "pages", "sheets"), "sheets IS DISTINCT FROM truth", pages="sheets")
COLUMN = Change(
    "db_column",
    AlterField("book", "pages", models.IntegerField(null=True, db_column="sheets")),
    "sheets IS DISTINCT FROM truth",
    pages="sheets",
)
COMPUTED = Change(
    "a new field that is computed",
    AddFieldNullableThenBackfill("book", "lines", models.IntegerField(), backfill=F("truth") * 30),
    "lines IS NULL",
)
BY_FUNCTION = Change(
    "a new field that a function computes",
    AddFieldNullableThenBackfill("book", "lines", models.IntegerField(), backfill=lines_of),
    "lines IS NULL",
    waits=True,
)
NOT_NULL = Change(
    "NOT NULL", AlterField("book", "note", models.CharField(max_length=40, default="none")), "note IS NULL"
)
THERE_BEFORE = "note IS NULL AND truth < 9000"  # later rows are no business of a backfill
BACKFILL = Change("a backfill", Backfill("book", {"note": Value("none")}, where=Q(note=None)), THERE_BEFORE)
BY_RELATION = Change(
    "a backfill by a relation", Backfill("book", {"note": F("author__name")}, where=Q(note=None)), THERE_BEFORE
)
UNIQUE = Change(
    "a unique constraint",
    AddConstraint("book", UniqueConstraint(fields=["code"], name="book_code")),
    "FALSE",
    spoil="UPDATE shop_book SET code = 'same'",
)
CHECK = Change(
    "a check",
    AddConstraint("book", CheckConstraint(condition=Q(pages__gt=0), name="book_pages")),
    "FALSE",
    spoil="UPDATE shop_book SET pages = 0 WHERE id = 7",
)
TWINS: Sequence[Change] = (BIGGER, SMALLER, TEXT, RENAMED, COLUMN)  # two columns for what is one
FILLS: Sequence[Change] = (COMPUTED, BY_FUNCTION, NOT_NULL, BACKFILL, BY_RELATION)
CHANGES: Sequence[Change] = (*TWINS, *FILLS, UNIQUE, CHECK)
