"""What lint prints, in each of its forms, and the hook and the action that run it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from django.core.management.base import CommandError
from django.core.management.color import color_style, no_style

from safemigrations.checking import pages
from safemigrations.checking.catalogue import BY_ID, KINDS
from safemigrations.checking.finding import LintFinding, Report, Stands, Unread
from safemigrations.checking.outputs import lines, machines, markdown, sarif

from .project import ROOT, Project
from .test_checks import INDEX, migration, write


def finding(id: str = "E001", level: Any = "error", **rest: Any) -> LintFinding:
    values = {
        "app_label": "shop",
        "migration": "0002_index",
        "operation": 0,
        "message": "It hurts, 100%: really.",
        "hint": "Write\n    Other()",
        "file": "shop/migrations/0002_index.py",
        "line": 8,
    }
    return LintFinding(id=f"safemigrations.{id}", level=level, **{**values, **rest})


UNREAD = Unread("statement", finding("I290", "note", message="statement not understood: CALL f()", hint="", line=3))
REPORT = Report(
    [finding(), finding("W302", "warning", line=20, message="It may hurt.", hint="Do so.")],
    [UNREAD],
    changes=[Stands("shop", "0003_x", "Add index a"), Stands("shop", "0003_x", "Remove field b")],
)
EMPTY = Report()


def test_text(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "shop" / "migrations" / "0002_index.py"
    file.parent.mkdir(parents=True)
    file.write_text("\n" * 7 + "        migrations.AddIndex(),\n")
    assert lines.text(REPORT, no_style()) == (
        "shop/migrations/0002_index.py\n"
        "  3: note safemigrations.I290: statement not understood: CALL f()\n\n"
        "  8: error safemigrations.E001: It hurts, 100%: really.\n"
        "      > migrations.AddIndex(),\n"
        "      Write\n          Other()\n\n"
        "  20: warning safemigrations.W302: It may hurt.\n      Do so.\n\n"
        "1 error, 1 warning. 1 statement not understood."
    )
    assert "\x1b[" in lines.text(REPORT, color_style(force_color=True))


GITHUB = """\
::error file={0},line=8,title=safemigrations.E001 {1}::It hurts, 100%25: really.%0AWrite%0A    Other()
::warning file={0},line=20,title=safemigrations.W302 {2}::It may hurt.%0ADo so.
::notice file={0},line=3,title=safemigrations.I290 {3}::statement not understood: CALL f()
::notice title=safemigrations::1 error, 1 warning. 1 statement not understood."""


def test_github():
    titles = [BY_ID[f"safemigrations.{id}"].title for id in ("E001", "W302", "I290")]
    assert machines.github(REPORT) == GITHUB.format("shop/migrations/0002_index.py", *titles)


def test_gitlab():
    first, _, last = json.loads(machines.gitlab(REPORT))
    assert first == {
        "description": "It hurts, 100%: really.",
        "check_name": "safemigrations.E001",
        "fingerprint": machines.fingerprint(REPORT.findings[0]),
        "severity": "critical",
        "location": {"path": "shop/migrations/0002_index.py", "lines": {"begin": 8}},
    }
    assert last["severity"] == "info"


def test_a_fingerprint_stays_when_the_finding_moves():
    assert machines.fingerprint(finding(line=9)) == machines.fingerprint(finding())
    assert machines.fingerprint(finding(operation=1)) != machines.fingerprint(finding())


SCHEMA = json.loads((Path(__file__).parent / "schemas" / "sarif-2.1.0.json").read_text())


@pytest.mark.parametrize("report", [REPORT, EMPTY], ids=["findings", "none"])
def test_sarif_is_as_its_schema_says(report):
    written = json.loads(sarif.sarif(report))
    jsonschema.Draft7Validator(SCHEMA).validate(written)
    (run,) = written["runs"]
    assert [run["tool"]["driver"]["rules"][one["ruleIndex"]]["id"] for one in run["results"]] == [
        one.id for one in report.everything
    ]


def test_the_schema_refuses_what_is_no_sarif():
    written = json.loads(sarif.sarif(REPORT))
    written["runs"][0]["results"][0]["level"] = "critical"
    assert not jsonschema.Draft7Validator(SCHEMA).is_valid(written)


def test_markdown():
    assert markdown.markdown(REPORT) == (
        "### Migrations\n\n1 error, 1 warning. 1 statement not understood.\n\n"
        "**error** `shop/migrations/0002_index.py:8` safemigrations.E001\n\nIt hurts, 100%: really.\n\n"
        "```\nWrite\n    Other()\n```\n\n"
        "**warning** `shop/migrations/0002_index.py:20` safemigrations.W302\n\nIt may hurt.\n\nDo so.\n\n"
        "#### What is expanded now, and contracted after the rollout\n\n"
        "- `shop.0003_x`\n  - Add index a\n  - Remove field b\n\n"
        "#### Not understood\n\n"
        "- `shop/migrations/0002_index.py:3` statement not understood: CALL f()"
    )


@pytest.mark.parametrize(
    "write",
    [machines.as_json, machines.github, machines.gitlab, markdown.markdown, sarif.sarif],
    ids=["json", "github", "gitlab", "markdown", "sarif"],
)
def test_what_was_not_understood_is_in_every_form(write):
    assert "not understood" in write(REPORT)
    assert "No unsafe operation" not in write(REPORT)


# The docs in the terminal.


def test_every_id_is_listed():
    assert [line.split()[0] for line in pages.listed().splitlines()] == [kind.id for kind in KINDS]


@pytest.mark.parametrize("id", ["safemigrations.E001", "E001", "e001"])
def test_an_id_is_explained_by_its_page(id):
    text = pages.explained(id)
    assert text.startswith("safemigrations.E001 (error): An index is built while nobody can write\n")
    assert "# add_index: `AddIndex` → `AddIndexConcurrently`" in text


def test_an_id_without_a_page():
    assert pages.explained("W302").splitlines()[1].startswith("Fires on: Python: a queryset")


def test_an_id_that_nothing_has():
    with pytest.raises(CommandError, match=r"^No rule has the id I29\. Did you mean safemigrations\.I290\?$"):
        pages.explained("I29")


# Only what a branch adds.


def git(project: Project, *arguments: str) -> None:
    who = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", *who, *arguments], cwd=project.folder, check=True, capture_output=True)


@pytest.fixture
def branch(project: Project) -> Project:
    """One unsafe migration on main, one that the branch has committed, one that it hasn't."""
    write(project, migration("0002_old", INDEX.format("old"), before="0001_initial"))
    git(project, "init", "-b", "main")
    git(project, "add", ".")
    git(project, "commit", "-m", "main")
    git(project, "checkout", "-b", "branch")
    project.write_migration("shop", *migration("0003_new", INDEX.format("new"), before="0002_old"))
    git(project, "add", ".")
    git(project, "commit", "-m", "branch")
    project.write_migration("shop", *migration("0004_newer", INDEX.format("newer"), before="0003_new"))
    return project


def test_only_what_the_branch_adds(branch):
    result = branch.manage("safemigrations", "lint", "--since", "main")
    assert "0002_old.py" not in result.stdout
    assert "shop/migrations/0003_new.py\n" in result.stdout
    assert "shop/migrations/0004_newer.py\n" in result.stdout
    assert result.stderr == "CommandError: 2 unsafe operations.\n"


def test_a_ref_that_does_not_exist(branch):
    result = branch.manage("safemigrations", "lint", "--since", "nowhere")
    assert result.returncode == 1
    assert result.stderr.startswith("CommandError: git merge-base: fatal: Not a valid object name nowhere")


# A project below the top of its repository.


@pytest.fixture
def below(tmp_path: Path, dsn: str) -> Project:
    project = write(
        Project(tmp_path / "back end", dsn), migration("0002_index", INDEX.format("one"), before="0001_initial")
    )
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    return project


def test_machines_are_told_the_files_of_the_repository(below):
    file = "back end/shop/migrations/0002_index.py"

    def printed(form: str) -> str:
        result: str = below.manage("safemigrations", "lint", "--format", form).stdout
        return result

    assert printed("github").startswith(f"::error file={file},line=8,")
    assert json.loads(printed("gitlab"))[0]["location"]["path"] == file
    (place,) = json.loads(printed("sarif"))["runs"][0]["results"][0]["locations"]
    assert place["physicalLocation"]["artifactLocation"] == {"uri": file.replace(" ", "%20")}
    assert json.loads(printed("json"))[0]["file"] == "shop/migrations/0002_index.py"


# The hook and the action, by running what they run.


def run(project: Project, command: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "settings", "PYTHONPATH": str(ROOT), **variables}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    bash = shutil.which("bash")
    assert bash
    return subprocess.run([bash, "-c", command], cwd=project.folder, env=environment, capture_output=True, text=True)


def test_the_hook(branch):
    (hook,) = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
    assert hook["pass_filenames"] is False
    result = run(branch, hook["entry"])
    assert result.returncode == 1
    assert "CommandError: 3 unsafe operations." in result.stderr


def action(**inputs: str) -> tuple[str, dict[str, str]]:
    """The script of the action, and its environment with these inputs and the defaults of the others."""
    described = yaml.safe_load((ROOT / "action.yml").read_text())
    (step,) = described["runs"]["steps"]
    chosen = {name: inputs.get(name, value["default"]) for name, value in described["inputs"].items()}
    given = {name: text[len("${{ inputs.") : -len(" }}")] for name, text in step["env"].items()}
    return step["run"], {name: chosen[of] for name, of in given.items()}


def test_the_action_annotates(branch):
    script, variables = action(since="main")
    result = run(branch, script, **variables)
    assert result.returncode == 1
    assert result.stdout.startswith("::error file=shop/migrations/0003_new.py,line=8,title=safemigrations.E001 ")


def test_the_action_writes_a_file(branch):
    script, variables = action(format="sarif", output="found.sarif", strict="true")
    assert run(branch, script, **variables).returncode == 1
    jsonschema.Draft7Validator(SCHEMA).validate(json.loads((branch.folder / "found.sarif").read_text()))
