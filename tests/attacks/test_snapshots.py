"""Transactions that began before a change, and come to its table after it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest
from django.test import override_settings

from .deployment import Deployment
from .library import BIGGER, COLUMN, RENAMED, SMALLER, TEXT, Change, library


@contextmanager
def report_that_began_before(shop: Deployment) -> Iterator[psycopg.Connection]:
    """It has a snapshot, and hasn't come to the table yet."""
    with psycopg.connect(shop.dsn) as session:
        session.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        session.execute("SELECT count(*) FROM shop_author")
        yield session


def assert_it_reads_what_there_was(report: psycopg.Connection) -> None:
    wrong = "count(*) FILTER (WHERE pages IS DISTINCT FROM truth)"
    assert report.execute(f"SELECT count(*), {wrong} FROM shop_book").fetchone() == (120, 0)
    report.commit()


@pytest.mark.parametrize("change", [BIGGER, TEXT, RENAMED, COLUMN], ids=str)
def test_a_report_that_began_before_expand_reads_what_there_was(books, change: Change):
    books.write(change.operation)
    with report_that_began_before(books) as report:
        with override_settings(SAFEMIGRATIONS={"LOCK_RETRY_FOR": 0.5, "GATE_WATCH": 0}):
            migrated = books.migrate()
        assert not migrated.error or f"pid {report.info.backend_pid}" in migrated.error
        assert_it_reads_what_there_was(report)
    books.migrate().check()
    books.contract().check()
    assert books.count(change.wrong) == 0


def test_a_report_of_a_role_whose_sessions_are_hidden_is_waited_for(shop, owner):
    """Without pg_read_all_stats little of such a session is shown; that it has a snapshot is."""
    with shop.as_role(owner):
        books = library(shop)
        books.write(BIGGER.operation)
        with report_that_began_before(books) as report:
            with override_settings(SAFEMIGRATIONS={"LOCK_RETRY_FOR": 0.5, "GATE_WATCH": 0}):
                assert f"pid {report.info.backend_pid}" in books.migrate().error
            assert_it_reads_what_there_was(report)
        books.migrate().check()
        books.contract().check()
    assert books.count(BIGGER.wrong) == 0


def test_a_report_that_began_before_the_contract_reads_what_there_was(books):
    books.deploy(SMALLER.operation).check()
    with report_that_began_before(books) as report:
        with override_settings(SAFEMIGRATIONS={"LOCK_RETRY_FOR": 0.5, "GATE_WATCH": 0}):
            contracted = books.contract()
        assert f"pid {report.info.backend_pid}" in contracted.error
        assert_it_reads_what_there_was(report)
    books.contract().check()
    assert books.count(SMALLER.wrong) == 0
