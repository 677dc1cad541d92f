"""The pages of Django's admin: what they show, who may do what on them, and what they leave alone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from . import three_releases
from .admin_site import ask, run, with_admin, with_users
from .conftest import create_database, drop_database
from .project import Project

PAGES = ["contractrow/", "backfill/", "knownrelease/", "decision/", "pastrun/"]
ROWS = ["contractrow/1/change/", "backfill/1/change/", "knownrelease/1/change/"]
BEFORE = """class Item(models.Model):
    name = models.CharField(max_length=10)
    note = models.TextField()
"""
AFTER = """class Item(models.Model):
    title = models.CharField(max_length=10)
"""
PAUSED = "UPDATE safemigrations_backfill SET status = 'paused', estimate = 20000, visited = 8000, filled = 8000"
WAITED = "UPDATE safemigrations_history_step SET waited = 1.5 WHERE label LIKE '%copy name%'"
DONE = "UPDATE safemigrations_backfill SET status = 'done'"
LEFT = "drop note of shop_item"


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Iterator[Project]:
    """A project between migrate and contract, with a backfill that somebody paused, on a database to be copied."""
    with copied("template1") as dsn:
        project = with_admin(Project(tmp_path_factory.mktemp("site"), dsn))
        project.write_models("shop", BEFORE)
        project.manage("makemigrations", "shop").check()
        project.manage("migrate").check()
        with_users(project)
        project.sql("INSERT INTO shop_item (name, note) SELECT n::text, '' FROM generate_series(1, 20000) n")
        project.write_models("shop", AFTER)
        project.manage("makemigrations", "shop", input="y\n").check()
        project.manage("migrate").check()
        project.sql(
            "UPDATE safemigrations_backfill SET status = 'paused', estimate = 20000, visited = 8000, filled = 8000"
        )
        yield project


@contextmanager
def copied(template: str) -> Iterator[str]:
    """The connection string of a new database."""
    name = f"safemigrations_admin_{uuid4().hex}"
    create_database(name, template)
    try:
        yield three_releases.dsn_of(name)
    finally:
        drop_database(name)


@pytest.fixture
def dsn(made) -> Iterator[str]:
    with copied(str(conninfo_to_dict(made.dsn)["dbname"])) as dsn:
        yield dsn


@pytest.fixture
def site(made, dsn) -> Iterator[Project]:
    default = made.settings["DATABASES"]["default"]
    made.set(DATABASES={"default": {**default, "NAME": conninfo_to_dict(dsn)["dbname"]}})
    yield made
    made.set(DATABASES={"default": default})


def status(project: Project) -> list[dict[str, Any]]:
    found = json.loads(project.manage("safemigrations", "status", "--format", "json").stdout)
    return list(found["rows"])


def log(project: Project) -> list[str]:
    """What admin's own log says, newest first."""
    project.write("log.py", LOG)
    return list(json.loads(run(project, "log.py")))


LOG = """
import json
import django
django.setup()
from django.contrib.admin.models import LogEntry
print(json.dumps([entry.get_change_message() for entry in LogEntry.objects.all()]))
"""


@pytest.mark.parametrize("path", ["", *PAGES, *ROWS])
def test_every_page_is_there_for_whoever_may_see_it(site, path):
    """ask() asserts that none of them sends DDL."""
    assert ask(site, "seer", path).status == 200
    assert ask(site, "nobody", path).status == (404 if path == "" else 403)


def test_the_queue_says_what_goes_and_that_it_may(site, dsn):
    waiting = ask(site, "root", "contractrow/")
    assert "backfills that this contract needs" in waiting.text
    assert "It may run." not in waiting.text
    with psycopg.connect(dsn) as session:
        session.execute(DONE)
    page = ask(site, "root", "contractrow/")
    assert LEFT in page.text
    assert page.text.count("It may run.") == 2
    assert "python manage.py migrate --contract" in page.text
    assert 'ALTER TABLE "shop_item" DROP COLUMN IF EXISTS "note";' in ask(site, "root", "contractrow/2/change/").plain


def test_the_queue_says_who_needs_what_goes(site, dsn):
    with psycopg.connect(dsn) as session:
        session.execute(DONE)
    with psycopg.connect(dsn, application_name="gunicorn safemig:00aa11bb"):
        page = ask(site, "root", "contractrow/")
    assert "sessions of a release that needs what would go" in page.text
    assert "gunicorn" in page.text
    assert "It may run." not in page.text


def test_a_row_that_nobody_has_signed_stops_no_page(site, dsn):
    with psycopg.connect(dsn) as session:
        session.execute("UPDATE safemigrations_contract SET signature = '' WHERE id = 2")
    assert "isn't signed with the SECRET_KEY" in ask(site, "root", "contractrow/").plain
    assert "DROP COLUMN" not in ask(site, "root", "contractrow/2/change/").plain


def test_what_a_newer_version_has_written_is_said_on_the_index(site, dsn):
    with psycopg.connect(dsn) as session:
        session.execute("UPDATE safemigrations_contract SET status = 'newer' WHERE id = 2")
    page = ask(site, "root", "contractrow/")
    assert page.status == 302
    assert "has the status newer, which this version of safemigrations doesn't know" in page.said[0]


def test_a_backfill_says_how_far_it_is_and_why_it_waits(site):
    page = ask(site, "root", "backfill/")
    assert "40 %, 8,000 rows filled" in page.text
    assert '<progress max="100" value="40" aria-label="shop_item: copy name to title: 40 %">' in page.body
    assert "paused: somebody has paused it" in page.text


def test_rows_that_are_rejected_are_named_with_their_keys(site, dsn):
    with psycopg.connect(dsn) as session:
        session.execute("""UPDATE safemigrations_backfill SET "left" = '[["shop_item", ["17"], "too long"]]'""")
    page = ask(site, "root", "backfill/1/change/")
    assert "Rows that it comes back to id Why 17 too long" in page.text


def test_the_history_has_each_run_with_its_steps_and_how_long_it_waited(site, dsn):
    with psycopg.connect(dsn) as session:
        (key,) = session.execute(
            "SELECT key FROM safemigrations_history WHERE app_label = 'shop' AND name LIKE '0002%'"
        ).fetchone() or ("",)
        session.execute(WAITED)
    page = ask(site, "seer", "pastrun/")
    assert "shop.0002_rename" in page.text
    assert "1.5 s" in page.text
    assert len(page.queries) < 12
    of_one = ask(site, "seer", f"pastrun/{key}/change/")
    assert "of which 1.5 s waiting" in of_one.text
    assert "copy name to title" in of_one.text


def test_whoever_may_only_see_gets_no_button_and_can_not_post(site):
    assert "Pause" not in ask(site, "seer", "backfill/1/change/").text
    assert ask(site, "seer", "backfill/1/act/resume/", {}).status == 403
    assert ask(site, "nobody", "backfill/1/act/resume/", {}).status == 403
    assert "paused" in site.manage("safemigrations", "backfill", "status").stdout


def test_an_act_needs_a_post_a_name_that_there_is_and_a_row_that_it_fits(site):
    assert ask(site, "root", "backfill/1/act/resume/").status == 405
    assert ask(site, "root", "backfill/1/act/explode/", {}).status == 404
    assert ask(site, "root", "backfill/7/act/resume/", {}).status == 404
    said = ask(site, "root", "backfill/1/act/pause/", {}).said
    assert said == ["Nothing was changed: shop_item: copy name to title is paused."]


def test_a_backfill_is_steered_and_three_places_keep_it(site):
    assert ask(site, "root", "backfill/1/act/resume/", {}).said == ["Resumed: shop_item: copy name to title"]
    assert ask(site, "root", "backfill/1/act/pace/", {"rate": "50"}).said[0].startswith("Changed the pace")
    assert ask(site, "root", "backfill/1/act/cancel/", {}).said == [
        "Nothing was changed. reason: This field is required."
    ]
    ask(site, "root", "backfill/1/act/cancel/", {"reason": "enough"})
    assert "cancelled" in site.manage("safemigrations", "backfill", "status").stdout
    assert log(site) == ["Cancelled. enough", "Changed the pace.", "Resumed."]
    page = ask(site, "root", "decision/").text
    assert all(act in page for act in ("resume", "pace", "cancel", "enough", "root"))


def test_a_row_of_the_queue_is_postponed_skipped_and_resumed(site):
    assert ask(site, "root", "contractrow/2/act/postpone/", {"span": "1d", "reason": "friday"}).status == 302
    assert (status(site)[1]["status"], status(site)[1]["acts"][0]["user"]) == ("postponed", "root")
    assert "postponed until" in ask(site, "root", "contractrow/").text
    ask(site, "root", "contractrow/2/act/resume/", {"reason": ""})
    ask(site, "root", "contractrow/2/act/skip/", {"reason": "still read"})
    assert status(site)[1]["status"] == "skipped"
    assert log(site) == ["Skipped. still read", "Resumed.", "Postponed. friday"]
    assert "skipped: still read" in ask(site, "root", "contractrow/").text


def test_a_role_that_may_not_write_is_told_what_to_type(site, dsn):
    with psycopg.connect(dsn, autocommit=True) as session:
        role = "web_of_" + str(session.info.backend_pid)
        session.execute(f"CREATE ROLE {role} LOGIN; GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}")
        session.execute(f"GRANT ALL ON django_session, django_admin_log, auth_user TO {role}")
        site.set(DATABASES={"default": {**site.settings["DATABASES"]["default"], "USER": role}})
        try:
            said = ask(site, "root", "backfill/1/act/resume/", {}).said
        finally:
            session.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")
    assert "permission denied" in said[0]
    assert "python manage.py safemigrations backfill resume 1" in said[0]


def test_a_thousand_rows_have_pages_and_cost_no_more_queries(site, dsn):
    few = len(ask(site, "root", "contractrow/").queries)
    few_backfills = len(ask(site, "root", "backfill/").queries)
    site.write("many.py", MANY)
    run(site, "many.py")
    page = ask(site, "root", "contractrow/?shown=all&p=2")
    assert "1002 contract rows" in page.text
    assert page.body.count('class="field-why"') == 50
    assert len(page.queries) <= few + 1
    page = ask(site, "root", "backfill/?p=2")
    assert "1001 backfills" in page.text
    assert page.body.count('class="field-bar"') == 50
    assert len(page.queries) <= few_backfills + 1


MANY = """
import django
django.setup()
from django.db import connection
from safemigrations.contracts import queue
from safemigrations.contracts.table import Contract
(row,) = queue.rows(connection, pk=2)
rows = [Contract(app_label="shop", migration=row.migration, operation=f"more {n}", label=row.label, plan=row.plan,
                 status="pending" if n < 100 else "done")
        for n in range(1000)]
for one in rows:
    one.sign()
Contract._base_manager.bulk_create(rows)

from safemigrations.running.backfill import progress
(row,) = progress.rows(connection)
rows = [row.copied() for n in range(1000)]
for n, one in enumerate(rows):
    one._state.adding, one.pk, one.digest, one.status = True, None, f"more {n}", "paused" if n < 100 else "done"
    one.sign()
progress.Progress._base_manager.bulk_create(rows)
"""


def test_each_database_has_its_own_pages(site):
    with copied("template1") as dsn:
        default = site.settings["DATABASES"]["default"]
        site.set(DATABASES={"default": default, "other": {**default, "NAME": conninfo_to_dict(dsn)["dbname"]}})
        assert "2 releases" in ask(site, "root", "knownrelease/").text
        assert "0 releases" in ask(site, "root", "knownrelease/?database=other").text
        assert ask(site, "root", "knownrelease/?database=nowhere").status == 404


def test_before_migrate_has_made_our_tables_the_pages_are_empty(site, dsn):
    with psycopg.connect(dsn) as session:
        session.execute("DROP TABLE safemigrations_backfill, safemigrations_contract, safemigrations_act")
    for path in PAGES:
        assert ask(site, "root", path).status == 200


def test_a_project_knows_nothing_of_the_models_of_the_pages(site):
    site.manage("makemigrations", "--check", "--dry-run").check()
    assert json.loads(site.manage("dumpdata", "safemigrations").check().stdout) == []
    assert json.loads(site.manage("dumpdata", "safemigrations", "--all").check().stdout) == []


def test_check_loads_the_pages_and_nothing_that_runs_a_step(site):
    site.write("loaded.py", LOADED)
    loaded = set(run(site, "loaded.py").split())
    assert "safemigrations.console.pages.queue" in loaded
    assert not loaded & {f"safemigrations.{module}" for module in RUN_STEPS}


RUN_STEPS = ("contracts.carrying_out", "running.runner", "running.backfill.control", "running.backfill.work")


LOADED = """
import sys
from django.core.management import ManagementUtility
sys.argv = ["manage.py", "check"]
ManagementUtility(sys.argv).execute()
print(*sys.modules)
"""
