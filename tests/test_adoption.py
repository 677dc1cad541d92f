"""A project that had migrations before it had safemigrations: one warning, and everything goes on."""

from __future__ import annotations

import json
import re
import subprocess
from itertools import pairwise
from typing import Any

import pytest

from .project import Project
from .test_checks import CLEAN, FIRST, INDEX, MODELS, migration

STOCK = re.compile(r"^from safemigrations.*\n", re.MULTILINE)


def stock(name: str, *operations: str, **rest: Any) -> tuple[str, str]:
    """A migration of somebody who had never heard of this app."""
    written, text = migration(name, *operations, **rest)
    return written, STOCK.sub("", text)


def alter(number: int) -> str:
    return f"migrations.AddField('book', 'f{number}', models.IntegerField(default=0))"


@pytest.fixture
def grown(project: Project) -> Project:
    """30 migrations, 29 of them unsafe."""
    project.write_models("shop", MODELS)
    first = FIRST[0], STOCK.sub("", FIRST[1])
    names = ["0001_initial", *(f"{number:04}_f" for number in range(2, 31))]
    later = [stock(name, alter(int(name[:4])), before=before) for before, name in pairwise(names)]
    for name, text in (first, *later):
        project.write_migration("shop", name, text)
    return project


WARNING = (
    "System check identified some issues:\n\nWARNINGS:\n"
    "?: (safemigrations.W105) 29 findings in migrations from before safemigrations. Until BASELINE is set, only what "
    "comes after the first migration that was written with safemigrations is checked.\n"
    "\tHINT: Run `python manage.py safemigrations baseline --write`, or paste into SAFEMIGRATIONS:\n"
    '    "BASELINE": {\n        "shop": "0030_f",\n    },\n'
)


def test_it_is_one_warning(grown):
    said = grown.manage("check").check()
    assert said.stderr == f"{WARNING}\nSystem check identified 1 issue (0 silenced).\n"


@pytest.mark.parametrize("command", ["showmigrations shop", "sqlmigrate shop 0002", "test", "migrate --plan"])
def test_every_command_works(grown, command):
    said = grown.manage(*command.split()).check()
    assert said.stderr.count("(safemigrations.") == (0 if command.startswith("migrate") else 1)


def test_the_setting_to_paste_ends_it(grown):
    grown.set(SAFEMIGRATIONS={"BASELINE": {"shop": "0030_f"}})
    assert grown.manage("check").check().stdout == CLEAN


def test_the_command_that_writes_it_ends_it(grown):
    said = grown.manage("safemigrations", "baseline", "--write").check().stdout
    assert said == "Wrote safemigrations_baseline.json: only later migrations are checked now. Commit it.\n"
    assert json.loads((grown.folder / "safemigrations_baseline.json").read_text()) == {"shop": "0030_f"}
    assert grown.manage("check").check().stdout == CLEAN
    grown.write_migration("shop", *stock("0031_index", INDEX.format("one"), before="0030_f"))
    assert "safemigrations.E001" in grown.manage("check").stderr


def test_the_file_lies_where_the_settings_say(grown):
    grown.set(BASE_DIR=str(grown.folder), SAFEMIGRATIONS={"BASELINE_FILE": "shop/checked_from.json"})
    grown.manage("safemigrations", "baseline", "--write").check()
    assert (grown.folder / "shop" / "checked_from.json").exists()
    assert grown.manage("check").check().stdout == CLEAN


@pytest.mark.parametrize("text", ["{", "[]", '{"shop": 6}'])
def test_a_file_that_is_no_baseline(grown, text):
    grown.write("safemigrations_baseline.json", text)
    said = grown.manage("check")
    assert said.returncode == 1
    assert (
        "?: (safemigrations.E101) safemigrations_baseline.json isn't a baseline; `manage.py safemigrations baseline "
        "--write` writes it anew.\n"
    ) in said.stderr


def test_what_makemigrations_writes_from_now_on_is_checked(grown):
    """Also a file without an operation of ours."""
    fields = "".join(f"    f{number} = models.IntegerField(default=0)\n" for number in range(2, 31))
    grown.write_models("shop", f"{MODELS}{fields}    class Meta:\n        ordering = ['title']\n")
    grown.manage("makemigrations", "--name", "ordering").check()
    assert grown.read_migration("shop", "0031_ordering").partition("\n")[0].endswith(", with safemigrations")
    grown.write_migration("shop", *stock("0032_index", INDEX.format("one"), before="0031_ordering"))
    said = grown.manage("check")
    assert said.returncode == 1
    assert said.stderr.count("(safemigrations.") == 2
    assert "shop/migrations/0032_index.py:7: AddIndex book_one" in said.stderr
    assert '"shop": "0030_f",' in said.stderr


def test_an_empty_baseline_checks_everything(grown):
    grown.set(SAFEMIGRATIONS={"BASELINE": {}})
    assert grown.manage("check").stderr.count("safemigrations.E010") == 29


def test_a_harmless_history_needs_no_baseline(project):
    project.write_models("shop", MODELS)
    project.write_migration("shop", FIRST[0], STOCK.sub("", FIRST[1]))
    assert project.manage("check").check().stdout == CLEAN


# Settings that don't fit.


@pytest.mark.parametrize(
    ("setting", "status", "said"),
    [
        (
            {"CHECK_APPS": ["shopp"]},
            1,
            """(safemigrations.E102) CHECK_APPS names 'shopp', and no installed app has that label.
\tHINT: Did you mean 'shop'?
""",
        ),
        (
            {"BASELINE": {"shpo": "0030_f"}},
            1,
            """(safemigrations.W103) BASELINE names 'shpo', and no installed app has that label.
\tHINT: Did you mean 'shop'?
""",
        ),
        (
            {"BASELINE": {"shop": "0030_g"}},
            1,
            "(safemigrations.W103) BASELINE names shop.0030_g, which doesn't exist.\n\tHINT: Did you mean '0030_f'?\n",
        ),
        (
            {"BASELINE": {"shop": "0030_f", "safemigrations": "0001_initial"}},
            0,
            """(safemigrations.W103) BASELINE names safemigrations.0001_initial, which doesn't exist.
\tHINT: There are none.
""",
        ),
    ],
    ids=["check apps", "label", "name", "no migrations"],
)
def test_a_name_that_nothing_has(grown, setting, status, said):
    grown.set(SAFEMIGRATIONS=setting)
    result = grown.manage("check")
    assert result.returncode == status
    assert said in result.stderr


def test_a_baseline_in_a_squashed_migration(grown):
    grown.manage("squashmigrations", "shop", "0030", "--noinput").check()
    grown.set(SAFEMIGRATIONS={"BASELINE": {"shop": "0030_f"}})
    assert grown.manage("check").check().stdout == CLEAN
    for name in ("0001_initial", *(f"{number:04}_f" for number in range(2, 31))):
        (grown.folder / "shop" / "migrations" / f"{name}.py").unlink()
    assert grown.manage("check").check().stdout == CLEAN


def test_two_leaves(grown):
    grown.set(SAFEMIGRATIONS={"BASELINE": {"shop": "0030_f"}})
    for name in ("0031_a", "0031_b"):
        grown.write_migration("shop", *stock(name, alter(int(name[:4])), before="0030_f"))
    said = grown.manage("check").stderr
    assert (
        "(safemigrations.W104) shop/migrations/0031_b.py:1: shop has more than one leaf: 0031_a, 0031_b. Django "
        "refuses to migrate.\n\tHINT: Run makemigrations --merge.\n"
    ) in said


# Decisions about one operation.

TWO = (INDEX.format("one"), INDEX.format("two"))


@pytest.mark.parametrize("which", [1, "1", "book_two"])
def test_a_decision_about_one_operation(project, which):
    decision = {"safemigrations.E001": {which: "built by hand"}}
    project.write_models("shop", MODELS)
    options = f"    allow_unsafe = {decision!r}\n"
    for name, text in (FIRST, migration("0002_index", *TWO, before="0001_initial", options=options)):
        project.write_migration("shop", name, text)
    said = project.manage("check")
    assert "AddIndex book_one" in said.stderr
    assert "AddIndex book_two" not in said.stderr
    assert "E091" not in said.stderr


def test_a_decision_about_an_operation_that_is_not_there(project):
    decision = {"safemigrations.E001": {"book_three": "built by hand", 0: ""}}
    project.write_models("shop", MODELS)
    options = f"    allow_unsafe = {decision!r}\n"
    for name, text in (FIRST, migration("0002_index", *TWO, before="0001_initial", options=options)):
        project.write_migration("shop", name, text)
    said = project.manage("check").stderr
    assert "allow_unsafe names safemigrations.E001 of operation 'book_three', which nothing here needs." in said
    assert "allow_unsafe gives no reason for safemigrations.E001 of operation 0." in said
    assert said.count("safemigrations.E001)") == 2


# A baseline that is a date, or a ref of git.

GENERATED = "# Generated by Django 5.2 on 2026-{} 10:00\n"


def dated(grown: Project, number: int, date: str) -> None:
    name = f"{number:04}_f"
    grown.write_migration("shop", name, GENERATED.format(date) + grown.read_migration("shop", name))


def test_a_date(grown):
    for number, date in ((20, "01-30"), (28, "01-31"), (29, "02-01"), (30, "02-02")):
        dated(grown, number, date)
    grown.set(SAFEMIGRATIONS={"BASELINE": "2026-01-31"})
    assert re.findall(r"AddField (f\d+) ", grown.manage("check").stderr) == ["f29", "f30"]
    grown.set(SAFEMIGRATIONS={"BASELINE": "2026-02-02"})
    assert grown.manage("check").check().stdout == CLEAN


def test_a_ref(grown):
    for arguments in (["init"], ["add", "."], ["commit", "-m", "before"], ["tag", "before"]):
        who = ["-c", "user.name=a", "-c", "user.email=a@b"]
        subprocess.run(["git", *who, *arguments], cwd=grown.folder, check=True, capture_output=True)
    grown.set(SAFEMIGRATIONS={"BASELINE": "before"})
    assert grown.manage("check").check().stdout == CLEAN
    grown.write_migration("shop", *stock("0031_f", alter(31), before="0030_f"))
    assert re.findall(r"AddField (f\d+) ", grown.manage("check").stderr) == ["f31"]
    grown.set(SAFEMIGRATIONS={"BASELINE": "2026-13-01"})
    said = grown.manage("check")
    assert said.returncode == 1
    assert (
        "(safemigrations.E101) SAFEMIGRATIONS['BASELINE'] is '2026-13-01', which is no date, and git can't say what is "
        "there: git ls-tree: fatal: Not a valid object name 2026-13-01. Where there is no git, write a date, or the "
        "names that `manage.py safemigrations baseline` prints.\n"
    ) in said.stderr
    assert (
        "UnknownRef: SAFEMIGRATIONS['BASELINE'] is '2026-13-01', which" in grown.manage("safemigrations", "lint").stderr
    )
    assert "WARNINGS:\n?: (safemigrations.E101)" in grown.manage("showmigrations", "--plan").check().stderr
