"""What is real but small is no error: each such change, beside the one that is an error."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import models
from django.db.migrations import operations as stock

from safemigrations.checking import rules

from .shop import book
from .test_rules import AUTHOR, context

UNIQUE = models.UniqueConstraint(fields=["title"], name="book_once")
CHECK = models.CheckConstraint(condition=~models.Q(title=""), name="book_titled")
FILLED = models.CheckConstraint(condition=models.Q(extra__isnull=False), name="book_extra")
OTHER = models.CheckConstraint(condition=models.Q(title__isnull=False), name="book_other")


def level(operation: Any, *before: Any, release: tuple[Any, ...] = ()) -> str | None:
    found = rules.find(operation, context(operation, *(before or (AUTHOR, book())), release=release))
    return found[1].level if found else None


def alter(field: Any) -> Any:
    return stock.AlterField("book", "extra", field)


def with_extra(field: Any, **options: Any) -> tuple[Any, ...]:
    return AUTHOR, book(("extra", field), **options)


NUMBER, NULL = models.IntegerField(), models.IntegerField(null=True)
AUTHOR_OF = models.ForeignKey("shop.author", models.CASCADE)
FREE = models.ForeignKey("shop.author", models.CASCADE, db_constraint=False)


@pytest.mark.parametrize(
    ("operation", "before", "expected"),
    [
        (stock.RemoveConstraint("book", "book_titled"), (book(constraints=[CHECK]),), "note"),
        (stock.RemoveConstraint("book", "book_once"), (book(constraints=[UNIQUE]),), "warning"),
        (stock.AddConstraint("book", CHECK), (book(),), "error"),
        (alter(NUMBER), with_extra(models.IntegerField(unique=True)), "warning"),
        (alter(models.IntegerField(unique=True)), with_extra(NUMBER), "error"),
        (alter(NUMBER), with_extra(models.IntegerField(db_index=True)), "error"),
        (alter(FREE), with_extra(AUTHOR_OF), "note"),
        (alter(AUTHOR_OF), with_extra(FREE), "error"),
        (alter(NUMBER), with_extra(NULL, constraints=[FILLED]), "note"),
        (alter(NUMBER), with_extra(NULL, constraints=[OTHER]), "error"),
        (alter(models.IntegerField(unique=True)), with_extra(NULL, constraints=[FILLED]), "error"),
        (stock.AddField("book", "extra", models.ManyToManyField("shop.Author")), (AUTHOR, book()), "note"),
        (stock.AddField("book", "extra", AUTHOR_OF.clone()), (AUTHOR, book()), None),
        (
            stock.AddField(
                "book",
                "extra",
                models.ForeignKey("shop.author", models.CASCADE, null=True, db_index=False, db_constraint=False),
            ),
            (AUTHOR, book()),
            None,
        ),
        (
            stock.AddField("book", "extra", models.ForeignKey("shop.author", models.CASCADE, null=True)),
            (AUTHOR, book()),
            "error",
        ),
        (
            stock.AlterUniqueTogether("book", set()),
            (book(("extra", NUMBER), unique_together={("title", "extra")}),),
            "warning",
        ),
        (stock.AlterUniqueTogether("book", {("title", "extra")}), with_extra(NUMBER), "error"),
    ],
)
def test_the_level_of_a_change(operation, before, expected):
    assert level(operation, *before) == expected


def test_a_check_of_the_same_release_proves_nothing_yet():
    before = with_extra(NULL, constraints=[FILLED])
    assert level(alter(NUMBER), *before, release=(stock.AddConstraint("book", FILLED),)) == "error"
