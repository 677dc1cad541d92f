"""ready: what a probe asks of a release, as a command, a view and a check of django-health-check."""

from __future__ import annotations

import json
import textwrap

import pytest
from psycopg.conninfo import make_conninfo

from safemigrations.contracts import readiness as module
from safemigrations.contracts.readiness import ask, readiness
from tests import started, three_releases
from tests.project import Project, Result

NOT_READY = "CommandError: Not ready.\n"
URLS = """
from django.urls import include, path
from safemigrations.console.views import ready
urlpatterns = [
    path("ready/", include("safemigrations.console.urls")),
    path("ready/other/", ready, {"databases": ["other"]}),
]
"""
PROBE = """
import django, sys
django.setup()
from django.test import Client
answer = Client(raise_request_exception=False).get(sys.argv[1], headers={"host": "localhost"})
print(answer.status_code, answer.content.decode())
"""
READY = '{"ready": true, "databases": {"default": {"ready": true, "unapplied": [], "contracted": [], "trouble": ""}}}\n'
CONTRACTED_SIZE = "shop.0002_size  drop the database default of size of shop_item"
CONTRACTED_NOTE = "shop.0002_size  drop note of shop_item"


@pytest.fixture
def releases(tmp_path, at):
    """A function: three releases on a database that they have brought to a stage."""

    def found(stage: str) -> list[Project]:
        projects = three_releases.trees(tmp_path, at(stage), ROOT_URLCONF="urls", ALLOWED_HOSTS=["localhost"])
        for project in projects:
            project.write("urls.py", URLS)
            project.write("probe.py", PROBE)
        return projects

    return found


def ready(project: Project, *args: str) -> Result:
    return project.manage("safemigrations", "ready", *args)


def probe(project: Project, path: str = "/ready/") -> tuple[int, str]:
    """The status and the body of an answer of the project."""
    environment = project._environment()
    said, error, returned = started.run(["probe.py", path], folder=project.folder, env=environment, input="")
    assert returned == 0, error
    status, _, body = said.partition(" ")
    return int(status), body


def database_of(body: str, name: str = "default") -> dict[str, object]:
    return dict(json.loads(body)["databases"][name])


def test_a_release_is_ready_when_all_of_its_migrations_are_applied(releases):
    old, new, _ = releases("v1")
    assert ready(old).check().stdout == "default: ready\n"
    missing = ready(new)
    assert (missing.stdout, missing.stderr) == ("default: shop.0002_size isn't applied\n", NOT_READY)
    assert missing.returncode == 1


def test_both_releases_are_ready_after_the_expand(releases):
    old, new, _ = releases("v2")
    ready(new).check()
    ready(old).check()


def test_a_release_is_not_ready_when_what_it_needs_is_contracted(releases):
    old, new, _ = releases("v2 contracted")
    ready(new).check()
    said = (
        "default: the contract of a migration that this release doesn't know has run: "
        f"{CONTRACTED_NOTE}; the contract of a migration that this release doesn't know has run: {CONTRACTED_SIZE}\n"
    )
    assert (ready(old).stdout, ready(old).returncode) == (said, 1)
    new.manage("migrate", "shop", "0001").check()
    ready(old).check()


def test_the_view_says_the_same(releases):
    old, new, _ = releases("v1")
    assert probe(old) == (200, READY)
    status, body = probe(new)
    assert status == 503
    missing = {"ready": False, "unapplied": ["shop.0002_size"], "contracted": [], "trouble": ""}
    assert database_of(body) == missing
    said = ready(new, "--format", "json")
    assert (json.loads(said.stdout), said.returncode) == ({"default": missing}, 1)


def test_the_view_says_what_is_contracted(releases):
    old, new, _ = releases("v2 contracted")
    assert probe(new) == (200, READY)
    status, body = probe(old)
    assert status == 503
    assert database_of(body)["contracted"] == [CONTRACTED_NOTE, CONTRACTED_SIZE]


def test_a_squash_is_known_by_what_it_replaces(releases):
    old, new, _ = releases("v2 contracted")
    squashed = three_releases.squash(new, replaces=True)
    squashed.manage("migrate").check()
    assert ready(squashed).check().stdout == "default: ready\n"
    pruned = three_releases.squash(new, replaces=False)
    pruned.manage("migrate").check()
    assert ready(pruned).check().stdout == "default: ready\n"
    assert ready(old).returncode == 1


def test_a_database_that_is_down_is_said_without_an_exception_or_a_secret(releases):
    old = releases("v1")[0]
    old.settings["DATABASES"]["default"] |= {"PORT": "1", "USER": "secret", "ATOMIC_REQUESTS": True}
    old.set()
    status, body = probe(old)
    assert status == 503
    assert database_of(body)["trouble"] == "it could not be asked (OperationalError)"
    assert "secret" not in body
    assert ready(old).stdout == "default: it could not be asked (OperationalError)\n"


def test_a_role_that_may_not_look_is_said(releases):
    old = releases("v1")[0]
    old.sql("ALTER TABLE django_migrations OWNER TO postgres; CREATE ROLE ready_nobody LOGIN")
    try:
        old.settings["DATABASES"]["default"]["USER"] = "ready_nobody"
        old.set()
        assert ready(old).stdout == "default: it could not be asked (InsufficientPrivilege)\n"
    finally:
        old.sql("DROP ROLE ready_nobody")


def test_a_server_that_wants_everybody_to_log_in_answers_probes(releases):
    old = releases("v1")[0]
    apps = ["django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions"]
    middleware = [
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "django.contrib.auth.middleware.LoginRequiredMiddleware",
    ]
    old.set(INSTALLED_APPS=["safemigrations", "shop", *apps], MIDDLEWARE=middleware)
    old.manage("migrate").check()
    assert probe(old)[0] == 200


def test_every_database_that_was_ever_migrated_counts(tmp_path, dsn, two_databases):
    other = make_conninfo(dsn, dbname=two_databases[1].settings_dict["NAME"])
    project = three_releases.tree(
        tmp_path, dsn, 1, databases={"other": other}, ROOT_URLCONF="urls", ALLOWED_HOSTS=["*"]
    )
    project.write("urls.py", URLS)
    project.write("probe.py", PROBE)
    assert ready(project).stdout == "default: no migration was ever applied here\n"
    project.manage("migrate").check()
    assert ready(project).check().stdout == "default: ready\n"
    asked = ready(project, "--database", "other")
    assert (asked.stdout, asked.returncode) == ("other: no migration was ever applied here\n", 1)
    assert probe(project, "/ready/other/")[0] == 503
    project.manage("migrate", "--database", "other").check()
    assert ready(project).check().stdout == "default: ready\nother: ready\n"
    assert probe(project, "/ready/other/")[0] == 200


def test_on_sqlite_only_the_migrations_count(tmp_path, dsn):
    project = three_releases.tree(tmp_path, dsn, 2)
    engine = "django.db.backends.sqlite3"
    project.set(DATABASES={"default": {"ENGINE": engine, "NAME": str(tmp_path / "shop.db")}})
    assert ready(project).returncode == 1
    project.manage("migrate").check()
    assert ready(project).check().stdout == "default: ready\n"


def test_a_check_of_django_health_check(releases):
    old, new, _ = releases("v1")
    for project in (old, new):
        project.set(INSTALLED_APPS=["safemigrations", "shop", "health_check"])
        project.write("urls.py", HEALTH)
    assert probe(old, "/health/?format=json") == (200, '{"Ready()": "OK"}\n')
    status, body = probe(new, "/health/?format=json")
    assert status == 500
    assert "default: shop.0002_size isn't applied" in body


HEALTH = """
from django.urls import path
from health_check.views import HealthCheckView
checks = ["safemigrations.console.health_check.Ready"]
urlpatterns = [path("health/", HealthCheckView.as_view(checks=checks))]
"""


# What a probe costs.


@pytest.fixture
def asked(database, monkeypatch):
    """The queries that probes send, from a process that has asked before."""
    monkeypatch.setattr(module, "_answers", {})
    monkeypatch.setattr(module, "_there", {})
    database.cursor().execute(
        textwrap.dedent("""
        CREATE TABLE django_migrations (app text, name text);
        CREATE TABLE safemigrations_contract (app_label text, migration text, label text, attempts int);
        """)
    )
    ask("default")
    sent = []

    def note(execute, sql, *args):
        sent.append(sql)
        return execute(sql, *args)

    with database.execute_wrapper(note):
        yield sent


def test_a_probe_sends_one_query(asked):
    readiness()
    assert asked == [f"{module.APPLIED} UNION ALL {module.BEGUN}"]


def test_probes_of_one_moment_share_the_answer(asked, monkeypatch):
    readiness()
    readiness(["default"])
    assert len(asked) == 1
    monkeypatch.setattr(module, "MOMENT", 0.0)
    readiness()
    assert len(asked) == 2


def test_probes_do_not_pile_up_behind_a_database_that_hangs(asked, monkeypatch):
    monkeypatch.setattr(module, "PATIENCE", 0.01)
    with module._asking["default"]:  # as a thread that waits for an answer
        (answer,) = readiness(["default"])
    assert str(answer) == "default: it hasn't answered for 0.01 s"
    assert readiness(["default"])[0].trouble == ""
