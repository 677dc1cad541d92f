"""The rules as system checks, the decisions of people, the baseline, and the check of the settings."""

from __future__ import annotations

import resource
import statistics
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest
from django.core.checks import Error
from django.test import override_settings

from safemigrations import conf
from safemigrations.checking import catalogue, checks, rules
from safemigrations.errors import StepFailed
from safemigrations.postgres.driver import ONLY_PSYCOPG2
from safemigrations.running.server import refuse_unusable

from .project import Project

HEAD = "from django.db import migrations, models\nfrom safemigrations.operations import *\n\n\n"
CLEAN = "System check identified no issues (0 silenced).\n"
INDEX = "migrations.AddIndex('book', models.Index(fields=['title'], name='book_{}'))"
MODELS = "class Book(models.Model):\n    title = models.TextField()\n"


def migration(name: str, *operations: str, before: str = "", app: str = "shop", options: str = "") -> tuple[str, str]:
    """A migration by hand; each operation is on a line of its own, the first on line 9 where there are no options."""
    dependencies = f"[('{app}', '{before}')]" if before else "[]"
    listed = "".join(f"        {operation},\n" for operation in operations)
    return name, (
        f"{HEAD}class Migration(migrations.Migration):\n{options}"
        f"    dependencies = {dependencies}\n    operations = [\n{listed}    ]\n"
    )


FIRST = migration(
    "0001_initial",
    "migrations.CreateModel('Book', [('id', models.BigAutoField(primary_key=True)), ('title', models.TextField())])",
    options="    initial = True\n",
)


def write(project: Project, *migrations: tuple[str, str], app: str = "shop") -> Project:
    project.write_models(app, MODELS)
    for name, text in (FIRST, *migrations):
        project.write_migration(app, name, text)
    return project


def with_index(project: Project, **options: str) -> Project:
    return write(project, migration("0002_index", INDEX.format("one"), before="0001_initial", **options))


def errors(project: Project) -> str:
    """What `check` says below its heading; empty where it is content."""
    result = project.manage("check")
    assert bool(result.returncode) == (result.stdout != CLEAN)
    return result.stderr.partition("ERRORS:\n")[2].partition("\n\nSystem check identified")[0]


MESSAGE = (
    "AddIndex book_{} on book builds the index under a SHARE lock: nobody can write to the table until it is ready."
)
HINT = (
    "\tHINT: Write\n"
    "    AddIndexConcurrently(\n"
    "        model_name='book',\n"
    "        index=models.Index(fields=['title'], name='book_one'),\n"
    "    )\n"
    "or delete the file and run makemigrations again."
)


# What is said.


def test_file_line_message_and_what_to_write_instead(project):
    assert errors(with_index(project)) == (
        f"?: (safemigrations.E001) shop/migrations/0002_index.py:8: {MESSAGE.format('one')}\n{HINT}"
    )


def test_each_operation_has_its_line(project):
    write(project, migration("0002_index", INDEX.format("one"), INDEX.format("two"), before="0001_initial"))
    said = errors(project)
    assert f"shop/migrations/0002_index.py:8: {MESSAGE.format('one')}" in said
    assert f"shop/migrations/0002_index.py:9: {MESSAGE.format('two')}" in said


def test_operations_that_are_not_a_plain_list_are_found_all_the_same(project):
    name, text = migration("0002_index", INDEX.format("one"), before="0001_initial")
    write(project, (name, text.replace("operations = [", "operations = list([").replace("    ]\n", "    ])\n")))
    assert f"shop/migrations/0002_index.py:1: {MESSAGE.format('one')}" in errors(project)


def test_ours_in_a_transaction(project):
    ours = "AddIndexConcurrently('book', models.Index(fields=['title'], name='book_one'))"
    write(project, migration("0002_index", ours, before="0001_initial"))
    assert errors(project) == (
        "?: (safemigrations.E090) shop/migrations/0002_index.py:8: AddIndexConcurrently can't run inside a "
        "transaction.\n\tHINT: Set atomic = False on the migration."
    )
    write(project, migration("0002_index", ours, before="0001_initial", options="    atomic = False\n"))
    assert errors(project) == ""


# What is known.


def test_a_table_of_the_same_migration_is_nobodys_yet(project):
    name, text = FIRST
    write(project, (name, text.replace("    ]\n", f"        {INDEX.format('one')},\n    ]\n")))
    assert errors(project) == ""


def test_a_table_of_another_initial_migration_is_nobodys_yet(project):
    write(
        project,
        migration("0002_initial", INDEX.format("one"), before="0001_initial", options="    initial = True\n"),
    )
    assert errors(project) == ""


def test_the_state_before_counts(project):
    """The index of an unmanaged model is not ours to build; made managed, it is."""
    unmanaged = "migrations.AlterModelOptions('book', {'managed': False})"
    managed = "migrations.AlterModelOptions('book', {'managed': True})"
    write(
        project, migration("0002", unmanaged, INDEX.format("one"), managed, INDEX.format("two"), before="0001_initial")
    )
    said = errors(project)
    assert MESSAGE.format("one") not in said
    assert MESSAGE.format("two") in said


def test_several_branches_and_a_squashed_migration(project):
    write(
        project,
        migration("0002_a", INDEX.format("a"), before="0001_initial"),
        migration("0002_b", INDEX.format("b"), before="0001_initial"),
    )
    said = errors(project)
    assert said.count("safemigrations.E001") == 2


# Which migrations are checked.


def test_only_apps_of_the_project(project):
    project.set(INSTALLED_APPS=["safemigrations", "django.contrib.contenttypes", "django.contrib.auth", "shop"])
    assert errors(write(project)) == ""


def test_check_apps(project):
    with_index(project)
    project.set(SAFEMIGRATIONS={"CHECK_APPS": []})
    assert errors(project) == ""
    project.set(SAFEMIGRATIONS={"CHECK_APPS": ["shop"]})
    assert "safemigrations.E001" in errors(project)


def test_an_app_without_migrations(project):
    with_index(project)
    project.set(MIGRATION_MODULES={"shop": None})
    assert errors(project) == ""


def test_the_baseline(project):
    write(
        project,
        migration("0002_old", INDEX.format("old"), before="0001_initial"),
        migration("0003_older_by_name", INDEX.format("needed"), before="0002_old"),
        migration("0004_base", before="0003_older_by_name"),
        migration("0005_new", INDEX.format("new"), before="0004_base"),
    )
    project.set(SAFEMIGRATIONS={"BASELINE": {"shop": "0004_base"}})
    said = errors(project)
    assert said.count("safemigrations.E001") == 1
    assert MESSAGE.format("new") in said
    project.set(SAFEMIGRATIONS={"BASELINE": {"shop": "0005_new"}})
    assert errors(project) == ""


def test_a_baseline_that_has_been_squashed_away(project):
    with_index(project)
    project.set(SAFEMIGRATIONS={"BASELINE": {"shop": "0001_gone"}})
    assert "safemigrations.E001" in errors(project)


# Decisions of people.


def allowing(project: Project, decisions: dict[str, str], *operations: str) -> Project:
    options = f"    allow_unsafe = {decisions!r}\n"
    return write(project, migration("0002_index", *operations, before="0001_initial", options=options))


def test_a_decision_with_a_reason(project):
    allowing(project, {"safemigrations.E001": "books has 180 rows"}, INDEX.format("one"))
    assert errors(project) == ""


@pytest.mark.parametrize("reason", ["", "  "])
def test_a_decision_without_a_reason(project, reason):
    allowing(project, {"safemigrations.E001": reason}, INDEX.format("one"))
    said = errors(project)
    assert "shop/migrations/0002_index.py:9: AddIndex book_one" in said
    assert (
        "?: (safemigrations.E091) shop/migrations/0002_index.py:6: allow_unsafe gives no reason for "
        "safemigrations.E001.\n\tHINT: Write why it is safe here, for the next reader."
    ) in said


def test_a_decision_that_nothing_needs(project):
    allowing(project, {"safemigrations.E020": "nobody reads it"})
    assert errors(project) == (
        "?: (safemigrations.E091) shop/migrations/0002_index.py:6: allow_unsafe names safemigrations.E020, which "
        "nothing here needs.\n\tHINT: Remove the entry."
    )


def test_a_decision_about_an_unknown_id(project):
    allowing(project, {"safemigrations.E999": "why not"})
    ids = sorted(catalogue.DECIDABLE)
    assert {rule.id for rule in rules.RULES} < set(ids)
    assert errors(project) == (
        "?: (safemigrations.E091) shop/migrations/0002_index.py:6: allow_unsafe names safemigrations.E999, which no "
        f"rule has.\n\tHINT: The ids are: {', '.join(ids)}."
    )


def test_a_decision_that_is_no_dictionary(project):
    name, text = migration("0002_index", before="0001_initial", options="    allow_unsafe = 'all of it'\n")
    write(project, (name, text))
    assert errors(project) == (
        "?: (safemigrations.E091) shop/migrations/0002_index.py:6: allow_unsafe must be a dictionary.\n"
        '\tHINT: Write allow_unsafe = {"safemigrations.E001": "the reason"}.'
    )


@pytest.mark.parametrize("line", ["max_wait = None", "max_wait: float | None = None\n    max_wait_reason = ' '"])
def test_a_watchdog_that_is_switched_off_without_a_reason(project, line):
    name, text = migration("0002_index", before="0001_initial", options=f"    {line}\n")
    write(project, (name, text))
    assert errors(project) == (
        "?: (safemigrations.E093) shop/migrations/0002_index.py:6: max_wait = None lets requests wait for this "
        "migration for as long as it takes, and gives no reason.\n"
        '\tHINT: Write the reason beside it: max_wait_reason = "nobody uses this table at night".'
    )
    write(project, (name, text.replace(line, "max_wait = None\n    max_wait_reason = 'the shop is closed'")))
    assert errors(project) == ""


# The checks stop nobody who must go on.


def test_migrate_and_makemigrations_run_all_the_same(project):
    with_index(project)
    project.write_models("shop", MODELS + "    pages = models.IntegerField(default=0)\n")
    project.manage("makemigrations", "--noinput", "--name", "pages").check()
    project.manage("migrate").check()
    assert project.manage("check").returncode == 1


GOES_ON = ["test", "showmigrations", "sqlmigrate shop 0002", "runserver --noreload nowhere"]


@pytest.mark.parametrize("command", GOES_ON)
def test_every_other_command_says_it_on_one_line_and_goes_on(project, command):
    with_index(project)
    project.set(ALLOWED_HOSTS=["localhost"])
    result = project.manage(*command.split())
    if "runserver" in command:  # it has come as far as its address
        assert '"nowhere" is not a valid port number or address:port pair' in result.stderr
        return
    assert f"?: (safemigrations.E001) shop/migrations/0002_index.py:8: {MESSAGE.format('one')}\n" in result.stderr
    assert "HINT" not in result.check().stderr


# The settings.

KEYS = ", ".join(sorted(conf.KEYS))
WRONG: dict[str, tuple[Any, list[Error]]] = {
    "no dictionary": (["CONTRACT"], [Error("SAFEMIGRATIONS must be a dictionary.", id="safemigrations.E100")]),
    "unknown key": (
        {"LOCK_TIMOUT": 1},
        [
            Error(
                "SAFEMIGRATIONS has no key 'LOCK_TIMOUT'.",
                hint=f"Did you mean 'LOCK_TIMEOUT'? The keys are: {KEYS}.",
                id="safemigrations.E100",
            )
        ],
    ),
    "contract": (
        {"CONTRACT": "later"},
        [
            Error(
                "SAFEMIGRATIONS['CONTRACT'] is 'later'; write 'explicitly' or 'immediately'.",
                id="safemigrations.E101",
            )
        ],
    ),
    **{
        f"{key} {value!r}": (
            {key: value},
            [Error(f"SAFEMIGRATIONS[{key!r}] is {value!r}; write a number greater than 0.", id="safemigrations.E101")],
        )
        for key in ("LOCK_TIMEOUT", "LOCK_RETRY_FOR", "BACKFILL_BATCH_SECONDS")
        for value in (0, -1, "5", None, True, float("nan"))
    },
    **{
        f"BACKFILL_BATCH_SIZE {value!r}": (
            {"BACKFILL_BATCH_SIZE": value},
            [
                Error(
                    f"SAFEMIGRATIONS['BACKFILL_BATCH_SIZE'] is {value!r}; write a whole number greater than 0.",
                    id="safemigrations.E101",
                )
            ],
        )
        for value in (0, -1, 0.5, "5", None, True, float("nan"), float("inf"))
    },
    "check apps": (
        {"CHECK_APPS": "shop"},
        [Error("SAFEMIGRATIONS['CHECK_APPS'] is 'shop'; write a list of app labels.", id="safemigrations.E101")],
    ),
    "check apps number": (
        {"CHECK_APPS": 5},
        [Error("SAFEMIGRATIONS['CHECK_APPS'] is 5; write a list of app labels.", id="safemigrations.E101")],
    ),
    "baseline": (
        {"BASELINE": {"shop": 6}},
        [
            Error(
                "SAFEMIGRATIONS['BASELINE'] is {'shop': 6}; write a dictionary such as {'shop': '0006_order_note'}, a "
                "date such as '2026-01-31', or a ref of git.",
                id="safemigrations.E101",
            )
        ],
    ),
    "baseline file": (
        {"BASELINE_FILE": 5},
        [Error("SAFEMIGRATIONS['BASELINE_FILE'] is 5; write the path of a file.", id="safemigrations.E101")],
    ),
    "rehearsal seed": (
        {"REHEARSAL_SEED": 5},
        [
            Error(
                "SAFEMIGRATIONS['REHEARSAL_SEED'] is 5; write 'module.function' or a function.",
                id="safemigrations.E101",
            )
        ],
    ),
    "rehearsal actions": (
        {"REHEARSAL_ACTIONS": "shop.rehearsal.check_out"},
        [
            Error(
                "SAFEMIGRATIONS['REHEARSAL_ACTIONS'] is 'shop.rehearsal.check_out'; "
                "write a list such as ['shop.rehearsal.check_out'].",
                id="safemigrations.E101",
            )
        ],
    ),
    "rehearsal values": (
        {"REHEARSAL_VALUES": {"shop.fields.MoneyField": 5}},
        [
            Error(
                "SAFEMIGRATIONS['REHEARSAL_VALUES'] is {'shop.fields.MoneyField': 5}; write a dictionary such as "
                "{'shop.fields.MoneyField': 'shop.rehearsal.money'}.",
                id="safemigrations.E101",
            )
        ],
    ),
    "two": (
        {"CONTRACT": 1, "NOTHING": 2},
        [
            Error("SAFEMIGRATIONS has no key 'NOTHING'.", hint=f"The keys are: {KEYS}.", id="safemigrations.E100"),
            Error("SAFEMIGRATIONS['CONTRACT'] is 1; write 'explicitly' or 'immediately'.", id="safemigrations.E101"),
        ],
    ),
}


@pytest.mark.parametrize("what", WRONG)
def test_settings_that_make_no_sense(what):
    value, expected = WRONG[what]
    with override_settings(SAFEMIGRATIONS=value):
        assert checks.check_settings() == expected


@pytest.mark.parametrize("value", [{"BASELINE": {"shop": 6}, "CHECK_APPS": 5}, ["CONTRACT"]])
def test_settings_that_make_no_sense_do_not_hide_behind_a_traceback(project, value):
    with_index(project)
    project.set(SAFEMIGRATIONS=value)
    result = project.manage("check")
    assert result.returncode == 1
    assert "(safemigrations.E10" in result.stderr
    assert "Traceback" not in result.stderr


def test_check_of_some_apps_is_about_their_migrations_alone(tmp_path, dsn):
    project = with_index(Project(tmp_path, dsn, apps=["shop", "store"]))
    write(project, app="store")
    assert "shop/migrations/0002_index.py" in project.manage("check", "shop").stderr
    assert "shop/migrations/0002_index.py" in project.manage("check", "shop", "store").stderr
    assert project.manage("check", "store").check().stdout == CLEAN


def test_every_key_has_a_default_that_is_right():
    with override_settings(SAFEMIGRATIONS={}):
        assert checks.check_settings() == []
    assert len(conf.READERS) == len(conf.KEYS)


# The driver.

TWO = (
    "(safemigrations.I107) psycopg2 is installed, and Django uses psycopg 3, which is installed with safemigrations.\n"
)


def test_a_project_whose_driver_this_installation_has_changed_is_told(project):
    write(project)
    assert project.manage("check").check().stdout == CLEAN
    project.write("psycopg2.py", "raise RuntimeError('nobody imports it')")
    found = project.manage("check", "--fail-level", "WARNING").check()
    assert TWO in found.stderr
    assert "in a release of its own (docs/installing.md)" in found.stderr
    assert "I107" not in project.manage("makemigrations", "--check", "--dry-run").stderr
    project.set(SILENCED_SYSTEM_CHECKS=["safemigrations.I107"])
    assert project.manage("check").check().stderr == ""


@pytest.mark.parametrize(
    ("used", "is_there", "said"),
    [
        ("psycopg", False, None),
        ("", True, None),
        ("psycopg2", True, f"{ONLY_PSYCOPG2} Its migrate refuses to run."),
    ],
)
def test_a_driver_is_told_where_it_may_be_another_than_was_thought(monkeypatch, used, is_there, said):
    monkeypatch.setattr(checks, "driver", lambda: used)
    monkeypatch.setattr(checks, "has_psycopg2", lambda: is_there)
    assert checks.check_driver() == []
    with checks._holding(checks._failing, True):
        assert [message.msg for message in checks.check_driver()] == ([said] if said else [])


def test_migrate_refuses_psycopg2_before_it_sends_anything(database, monkeypatch):
    monkeypatch.setattr(database, "Database", SimpleNamespace(__name__="psycopg2"))
    with pytest.raises(StepFailed) as refused:
        refuse_unusable(database)
    assert str(refused.value) == f'{ONLY_PSYCOPG2} Nothing was changed. Type: pip install "psycopg[binary]"'


# What it costs.


@pytest.mark.parametrize(
    "operation",
    [
        "AddFieldWithDefault('book', 'field_{}', models.IntegerField(default=0))",
        "migrations.AddField('book', 'field_{}', models.IntegerField(null=True))",
    ],
    ids=["ours", "stock"],
)
def test_a_check_of_200_migrations_costs_nothing_noticeable(project, operation):
    names = ["0001_initial", *(f"{number:04}_field" for number in range(2, 202))]
    options = "    atomic = False\n" if operation.startswith("AddFieldWith") else ""
    history = [
        migration(name, operation.format(name[:4]), before=before, options=options) for before, name in pairwise(names)
    ]
    write(project, *history)
    project.fresh = True  # a child of this process, whose time is measured

    def seconds() -> float:
        """Of the processor: what else runs on the machine doesn't count."""
        began = resource.getrusage(resource.RUSAGE_CHILDREN)
        project.manage("check").check()
        ended = resource.getrusage(resource.RUSAGE_CHILDREN)
        return ended.ru_utime + ended.ru_stime - began.ru_utime - began.ru_stime

    took: dict[str, list[float]] = {"with": [], "without": []}
    for _ in range(2):
        project.set(INSTALLED_APPS=["safemigrations", "shop"])
        took["with"].append(seconds())
        project.set(INSTALLED_APPS=["shop"])
        took["without"].append(seconds())
    assert min(took["with"]) < 2.5 * statistics.median(took["without"]), took
