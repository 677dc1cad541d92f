"""The ledger: what runs leave in it, and what `safemigrations history` makes of it."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from tests.project import Project

BEFORE = (
    "class Book(models.Model):\n    title = models.TextField(null=True)\n    pages = models.IntegerField(default=0)\n"
)
INDEXED = BEFORE.replace("default=0", "default=0, db_index=True")
REQUIRED = INDEXED.replace("null=True", "default=''")
NO_PAGES = "class Book(models.Model):\n    title = models.TextField(default='')\n"


@pytest.fixture
def shop(project: Project) -> Project:
    """A table with some rows, migrated by a first release."""
    project.write_models("shop", BEFORE)
    project.manage("makemigrations", "--name", "first").check()
    project.manage("migrate").check()
    project.sql("INSERT INTO shop_book (pages) SELECT generate_series(1, 1000)")
    project.sql("ANALYZE shop_book")
    return project


def release(project: Project, models: str, name: str) -> None:
    project.write_models("shop", models)
    project.manage("makemigrations", "--name", name).check()


def history(project: Project, *arguments: str) -> list[dict[str, Any]]:
    said = project.manage("safemigrations", "history", "--format", "json", *arguments).check()
    runs: list[dict[str, Any]] = json.loads(said.stdout)["runs"]
    return runs


def test_each_run_is_noted_with_its_steps(shop):
    release(shop, INDEXED, "indexed")
    release(shop, REQUIRED, "required")
    shop.migrate_and_contract()
    runs = history(shop)
    assert [(run["migration"], run["direction"], run["outcome"]) for run in runs] == [
        ("0001_first", "forwards", "done"),
        ("0002_indexed", "forwards", "done"),
        ("0003_required", "forwards", "done"),
        ("0003_required", "contract", "done"),
    ]
    (build,) = runs[1]["steps"]
    assert (build["step"], build["work"], build["table"], build["rows"]) == (
        "BuildIndex",
        "builds an index",
        "shop_book",
        1000,
    )
    assert build["bytes"] > 8192 < build["built"]
    assert build["seconds"] > 0 == build["waited"]
    assert build["statement"].startswith("CREATE INDEX CONCURRENTLY")
    works = {step["work"] for run in runs[2:] for step in run["steps"]}
    assert works == {"instant", "writes every row", "reads the table"}
    fills = [step["rows"] for run in runs[2:] for step in run["steps"] if step["work"] == "writes every row"]
    assert max(fills) == 1000
    assert {run["role"] for run in runs} == {"postgres"}
    assert all(run["ended_at"] for run in runs)
    assert re.fullmatch("[0-9a-f]{8}", runs[-1]["release"])


def test_every_row_that_was_filled_is_counted_where_no_statistics_say_how_many_there_are(project):
    project.write_models("shop", "class Item(models.Model):\n    name = models.CharField(max_length=10)\n")
    project.manage("makemigrations", "--name", "first").check()
    project.manage("migrate").check()
    project.sql("ALTER TABLE shop_item SET (autovacuum_enabled = off)")
    project.sql("INSERT INTO shop_item (name) SELECT 'n' || n FROM generate_series(1, 20000) n")
    project.write_models("shop", "class Item(models.Model):\n    title = models.CharField(max_length=10)\n")
    project.manage("makemigrations", "--name", "title", input="y\n").check()
    project.manage("migrate").check()
    (copied,) = (step["rows"] for step in history(project)[-1]["steps"] if step["step"] == "Backfill")
    assert copied == 20_000


def test_a_way_back_and_what_is_faked_are_noted(shop):
    release(shop, INDEXED, "indexed")
    shop.manage("migrate").check()
    shop.manage("migrate", "shop", "0001").check()
    shop.manage("migrate", "--fake").check()
    shop.manage("migrate", "shop", "0001", "--fake").check()
    assert [(run["migration"], run["direction"], run["outcome"]) for run in history(shop, "--last", "3")] == [
        ("0002_indexed", "backwards", "done"),
        ("0002_indexed", "forwards", "faked"),
        ("0002_indexed", "backwards", "faked"),
    ]


def test_what_failed_is_noted_with_the_error_and_the_steps_before(shop):
    release(shop, BEFORE.replace("default=0", "default=0, unique=True"), "unique")
    shop.sql("UPDATE shop_book SET pages = 1 WHERE pages = 2")
    assert shop.manage("migrate").returncode == 1
    shop.write_migration(
        "shop",
        "0002_unique",
        "from django.db import migrations\n\n\nclass Migration(migrations.Migration):\n"
        "    dependencies = [('shop', '0001_first')]\n    operations = [migrations.RunSQL('SELECT 1 / 0')]\n",
    )
    assert shop.manage("migrate").returncode == 1
    failed = history(shop)[-1]
    assert (failed["outcome"], failed["error"]) == ("failed", "division by zero")


def test_a_first_run_that_fails_notes_what_it_has_done_and_the_error(project):
    project.write_models("shop", BEFORE)
    project.manage("makemigrations", "--name", "first").check()
    project.write(
        "shop/migrations/0002_broken.py",
        "from django.db import migrations\n\n\nclass Migration(migrations.Migration):\n"
        "    dependencies = [('shop', '0001_first')]\n    operations = [migrations.RunSQL('SELECT 1 / 0')]\n",
    )
    assert project.manage("migrate").returncode
    done, failed = history(project)
    assert (done["migration"], done["outcome"], done["steps"]) == ("0001_first", "done", [])
    assert (failed["migration"], failed["outcome"]) == ("0002_broken", "failed")
    assert failed["error"].startswith("division by zero")


def test_text_names_the_runs_and_what_took_long(shop):
    release(shop, INDEXED, "indexed")
    shop.manage("migrate").check()
    shop.sql("UPDATE safemigrations_history_step SET seconds = 75, waited = 3, built = 2000000")
    shop.sql("UPDATE safemigrations_history SET mark = '1a2b3c4d', ended_at = started_at + interval '75 s'")
    (first, indexed, step) = shop.manage("safemigrations", "history").check().lines
    assert re.sub(r"^[\d-]+ [\d:]+", "NOW", first) == (
        "NOW  shop.0001_first  done in 75 s, by postgres, release 1a2b3c4d"
    )
    assert "shop.0002_indexed  done in 75 s" in indexed
    assert re.sub(r"\d+ kB", "N kB", step) == (
        "      75 s, of which 3.0 s waiting  shop_book: index shop_book_pages_d177e4d8"
        " (builds an index, 1,000 rows, N kB, built 2 MB)"
    )
    assert shop.manage("safemigrations", "history", "--last", "1").check().lines[0] == (
        "1 before these: python manage.py safemigrations history --last 0"
    )
    assert shop.manage("safemigrations", "history", "--app", "auth").check().lines == [
        "Nothing was noted in database default."
    ]


def test_a_role_without_rights_migrates_all_the_same(shop):
    """It may alter the table, and make none."""
    release(shop, BEFORE + "    isbn = models.TextField(null=True)\n", "isbn")
    shop.sql("DROP TABLE safemigrations_history, safemigrations_history_step")
    shop.sql("CREATE ROLE poor LOGIN" if not shop.sql("SELECT FROM pg_roles WHERE rolname = 'poor'") else "SELECT 1")
    shop.sql("ALTER TABLE shop_book OWNER TO poor")
    shop.sql("GRANT ALL ON django_migrations, safemigrations_release TO poor")
    shop.sql("GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO poor")
    shop.settings["DATABASES"]["default"]["USER"] = "poor"
    shop.set()
    shop.manage("migrate").check()
    assert shop.sql("SELECT isbn FROM shop_book LIMIT 1") == [(None,)]
    assert shop.sql("SELECT to_regclass('safemigrations_history')") == [(None,)]


def test_a_migrate_that_has_nothing_to_do_notes_nothing(shop):
    before = history(shop)
    shop.manage("migrate").check()
    assert history(shop) == before
