"""Rows that a rehearsal makes up: what they point at is there as long as they are."""

from __future__ import annotations

from django.db import DEFAULT_DB_ALIAS, models
from django.db.migrations import CreateModel

from safemigrations.rehearsing.ledger import Names
from safemigrations.rehearsing.requests import Requests
from safemigrations.rehearsing.rows import Rows, label, seeds
from safemigrations.rehearsing.traffic import Traffic
from safemigrations.rehearsing.values import Numbers

from .releases import models_of
from .shop import KEY, Shop, book


def test_nothing_points_at_a_row_that_another_process_may_delete(database):
    """However few rows were there before: those of others look the same."""
    written_by = ("author", models.ForeignKey("shop.Author", models.CASCADE))
    shop = Shop(database, CreateModel("Author", [KEY]), book(written_by))
    author, pointing = (shop.state.apps.get_model(shop.label, name) for name in ("author", "book"))
    first = author.objects.create(**Rows(Numbers("seed", 1), DEFAULT_DB_ALIAS).values(author))
    found = seeds(models_of(shop.state), DEFAULT_DB_ALIAS)
    others = [author.objects.create(**Rows(Numbers("other", n * 50), DEFAULT_DB_ALIAS).values(author)) for n in (1, 2)]
    known = {label(model): model for model in models_of(shop.state)}
    rows = Rows(Numbers("own", 1_000), DEFAULT_DB_ALIAS)
    Traffic(Requests("old"), rows, Names({}, {}), known, chosen=[], seeds=found)
    chosen = {rows.value(pointing._meta.get_field("author")) for _ in range(30)}
    assert first in chosen
    assert chosen.isdisjoint(others)
