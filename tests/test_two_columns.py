"""Two columns for one: what tests/attacks/ tries with many inputs, with one of each kind."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from django.db import models
from django.db.migrations import AddConstraint, AddField, AlterField, RenameField
from django.db.models import UniqueConstraint
from django.test import override_settings

from .attacks.deployment import Deployment, deployment
from .attacks.library import BIGGER, RENAMED, library
from .attacks.test_left_behind import forget, stop_half_way


@pytest.fixture
def books(dsn: str, tmp_path: Path) -> Iterator[Deployment]:
    with deployment(tmp_path, dsn) as made:
        yield library(made, rows=3)


def test_a_report_that_began_before_keeps_the_exchange_waiting(books):
    """In its rows the column that takes the name isn't filled."""
    books.write(BIGGER.operation)
    with psycopg.connect(books.dsn) as report:
        report.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        report.execute("SELECT count(*) FROM shop_author")
        with override_settings(SAFEMIGRATIONS={"LOCK_RETRY_FOR": 0.2}):
            stopped = books.migrate()
        assert "transactions that read rows as they were before would find null in them" in stopped.error
        assert f"pid {report.info.backend_pid}" in stopped.error
        assert report.execute("SELECT pages FROM shop_book ORDER BY id").fetchall() == [(10,), (20,), (30,)]
    books.migrate().check()


def test_a_column_that_a_stopped_run_left_is_nobody_elses(books):
    assert stop_half_way(books, RENAMED.operation).error == "interrupted"
    forget(books)
    before = books.catalog()
    refused = books.deploy(AddField("book", "sheets", models.IntegerField(default=7)))
    assert refused.error == (
        "shop_book has the trigger zzz_safemig_3_shop_book_sheets_sync, which is about pages and sheets. A run of "
        "migrate that was stopped half way has left it, and the migration that it belongs to isn't part of this run, "
        "or was edited. Nothing was changed. Either migrate to that migration, as it was, and unapply it. Or, "
        "where python manage.py safemigrations verify says that it is left over, type: DROP TRIGGER "
        '"zzz_safemig_3_shop_book_sheets_sync" ON "public"."shop_book"; DROP FUNCTION '
        '"safemig_shop_book.sheets.sync"(); and drop the column that it added, if it added one. Then run the same '
        "command again."
    )
    books.assert_unchanged(before)
    books.sql('DROP TRIGGER "zzz_safemig_3_shop_book_sheets_sync" ON shop_book')
    books.sql('DROP FUNCTION "safemig_shop_book.sheets.sync"(); ALTER TABLE shop_book DROP COLUMN sheets')
    books.migrate().check()
    assert books.sql("SELECT pages, sheets FROM shop_book WHERE id = 1") == [(10, 7)]


def test_a_foreign_key_to_another_column_is_no_matter_of_it(books):
    assert stop_half_way(books, RENAMED.operation).error == "interrupted"
    forget(books)
    best = models.ForeignKey("shop.Book", models.CASCADE, null=True, related_name="+")
    books.deploy(AddField("author", "best", best)).check()


def test_a_default_by_hand_that_is_null_changes_nothing(books):
    """Of a varchar, PostgreSQL keeps even this one; dumps and other tools write it."""
    books.sql("ALTER TABLE shop_book ALTER note SET DEFAULT NULL::character varying")
    books.deploy(RenameField("book", "note", "remark")).check()


def test_an_index_over_two_that_change_is_there_for_both_releases(books):
    books.deploy(AddConstraint("book", UniqueConstraint(fields=["pages", "code"], name="book_pages_code"))).check()
    books.contract().check()
    books.deploy(RENAMED.operation).check()
    books.deploy(AlterField("book", "code", models.CharField(max_length=40, db_collation="C"))).check()
    for pages in ("pages", "sheets"):
        values = "VALUES ('again', 10, 'code 1', 1)"
        upsert = f"ON CONFLICT ({pages}, code) DO UPDATE SET title = EXCLUDED.title"
        books.request(f"INSERT INTO shop_book (title, {pages}, code, author_id) {values} {upsert}")
    assert books.count("TRUE") == 3


def test_a_trigger_that_would_change_rows_after_ours_is_named(books):
    books.sql("CREATE FUNCTION later() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'")
    books.sql("CREATE TRIGGER ümlaut BEFORE UPDATE ON shop_book FOR EACH ROW EXECUTE FUNCTION later()")
    before = books.catalog()
    assert (
        '"ümlaut", which fires after ours and needs a name that comes before zzz'
        in books.deploy(RENAMED.operation).error
    )
    books.assert_unchanged(before)
