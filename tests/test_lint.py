"""`manage.py safemigrations lint` and `baseline`."""

from __future__ import annotations

import json

from .test_checks import HINT, INDEX, MESSAGE, migration, with_index, write


def test_nothing_unsafe(project):
    result = write(project).manage("safemigrations", "lint").check()
    assert result.stdout == "No unsafe operation.\n"
    assert write(project).manage("safemigrations", "lint", "--format", "json").check().stdout == "[]\n"


def test_as_text(project):
    result = with_index(project).manage("safemigrations", "lint")
    assert result.returncode == 1
    assert result.stdout == (
        f"?: (safemigrations.E001) shop/migrations/0002_index.py:8: {MESSAGE.format('one')}\n{HINT}\n"
    )
    assert result.stderr == "CommandError: 1 unsafe operation.\n"


def test_as_json(project):
    write(project, migration("0002_index", INDEX.format("one"), INDEX.format("two"), before="0001_initial"))
    result = project.manage("safemigrations", "lint", "--format", "json")
    assert result.returncode == 1
    assert result.stderr == "CommandError: 2 unsafe operations.\n"
    first, second = json.loads(result.stdout)
    assert first == {
        "app_label": "shop",
        "migration": "0002_index",
        "operation": 0,
        "id": "safemigrations.E001",
        "message": MESSAGE.format("one"),
        "hint": HINT.removeprefix("\tHINT: "),
        "file": "shop/migrations/0002_index.py",
        "line": 8,
        "level": "error",
    }
    assert (second["operation"], second["line"], second["message"]) == (1, 9, MESSAGE.format("two"))


def test_a_decision_that_nothing_needs_belongs_to_no_operation(project):
    options = "    allow_unsafe = {'safemigrations.E020': 'nobody reads it'}\n"
    write(project, migration("0002_index", before="0001_initial", options=options))
    (found,) = json.loads(project.manage("safemigrations", "lint", "--format", "json").stdout)
    assert (found["operation"], found["line"], found["id"]) == (None, 6, "safemigrations.E091")


def test_the_baseline_that_it_prints_makes_it_content(project):
    with_index(project)
    result = project.manage("safemigrations", "baseline").check()
    assert result.stdout == (
        "Add this to SAFEMIGRATIONS in your settings; only later migrations are checked then:\n"
        '    "BASELINE": {\n'
        '        "shop": "0002_index",\n'
        "    },\n"
    )
    project.set(SAFEMIGRATIONS={"BASELINE": {"shop": "0002_index"}})
    project.manage("safemigrations", "lint").check()


def test_it_asks_no_database(project):
    with_index(project)
    nowhere = {**project.settings["DATABASES"]["default"], "NAME": "nowhere"}
    project.set(DATABASES={"default": nowhere})
    assert project.manage("safemigrations", "lint").stderr == "CommandError: 1 unsafe operation.\n"
