"""The recipes of the docs are what their tools take, and do what their page says."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import boto3
import kubernetes_validate
import psycopg
import pytest
import yaml
from botocore.session import get_session
from botocore.stub import Stubber
from botocore.validate import validate_parameters
from django.core.management.base import CommandParser
from honcho.environ import parse_procfile
from psycopg.conninfo import make_conninfo

from safemigrations.management.subcommands import rehearse
from tests import three_releases
from tests.conftest import on_server

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
RECIPES = DOCS / "recipes"
MIGRATE = ["python", "manage.py", "migrate", "--noinput"]
CONTRACT = ["python", "manage.py", "migrate", "--contract", "--noinput"]


def test_the_page_names_every_recipe():
    named = set(re.findall(r"\]\(recipes/([^)]+)\)", (DOCS / "recipes.md").read_text()))
    rest = {"helm/Chart.yaml", "helm/values.yaml"}
    assert named | rest == {
        str(path.relative_to(RECIPES)) for path in RECIPES.rglob("*.*") if path.suffix != ".pyc"
    } | {"heroku/Procfile"}


# Kubernetes and Helm.


def rendered(path: Path) -> str:
    """What helm makes of a template that has nothing but values in it."""
    values = yaml.safe_load((RECIPES / "helm" / "values.yaml").read_text())
    known = {f".Values.{name}": value for name, value in values.items()}
    known |= {".Release.Name": "shop", ".Release.Revision": 42}
    return re.sub(r"{{ (\S+) }}", lambda found: str(known[found[1]]), path.read_text())


MANIFESTS = [*(RECIPES / "kubernetes").glob("*.yaml"), *(RECIPES / "helm" / "templates").glob("*.yaml")]


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: f"{path.parts[-2]}-{path.name}")
def test_a_manifest_is_what_kubernetes_takes(path):
    text = rendered(path)
    assert "{{" not in text
    kubernetes_validate.validate(yaml.safe_load(text), kubernetes_validate.latest_version(), strict=True)


@pytest.mark.parametrize("path", [path for path in MANIFESTS if path.name == "contract.yaml"], ids=str)
def test_the_job_of_the_contract_is_tried_again_after_75_alone(path):
    spec = yaml.safe_load(rendered(path))["spec"]
    pod = spec["template"]["spec"]
    (failing,) = [rule for rule in spec["podFailurePolicy"]["rules"] if rule["action"] == "FailJob"]
    assert failing["onExitCodes"] == {"containerName": "contract", "operator": "NotIn", "values": [75]}
    assert (pod["restartPolicy"], pod["containers"][0]["command"]) == ("Never", CONTRACT)
    assert spec["backoffLimit"] >= 100


@pytest.mark.parametrize("path", [path for path in MANIFESTS if path.name == "migrate.yaml"], ids=str)
def test_the_job_before_the_rollout_expands(path):
    manifest = yaml.safe_load(rendered(path))
    assert manifest["spec"]["template"]["spec"]["containers"][0]["command"] == MIGRATE
    hook = manifest["metadata"].get("annotations", {}).get("helm.sh/hook")
    assert hook == ("pre-install,pre-upgrade" if "helm" in path.parts else None)


@pytest.mark.parametrize("path", [path for path in MANIFESTS if path.name == "web.yaml"], ids=str)
def test_the_probe_asks_the_view(path):
    (container,) = yaml.safe_load(rendered(path))["spec"]["template"]["spec"]["containers"]
    assert container["readinessProbe"]["httpGet"]["path"] == "/ready/"
    assert "livenessProbe" not in container


# Files that have a schema.


@pytest.mark.parametrize(
    ("schema", "names"),
    [
        ("vendor.github-workflows", ["github-actions.yml", "rehearsal.yml"]),
        ("vendor.gitlab-ci", ["gitlab-ci.yml"]),
        ("vendor.compose-spec", ["compose/compose.yaml"]),
    ],
)
def test_files_fit_their_schema(schema, names):
    files = [str(RECIPES / name) for name in names]
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema, *files]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.skipif(not shutil.which("docker-compose"), reason="docker-compose isn't installed; its schema is tried")
def test_compose_reads_its_file():
    given = {**os.environ, "IMAGE": "shop:1", "DATABASE_URL": "postgresql://web@db/shop", "DATABASE_URL_OWNER": "x"}
    command = ["docker-compose", "--file", str(RECIPES / "compose" / "compose.yaml"), "config"]
    done = subprocess.run(command, capture_output=True, text=True, env=given)
    assert done.returncode == 0, done.stderr
    assert set(yaml.safe_load(done.stdout)["services"]) == {"migrate", "web", "contract"}


def test_pipelines_queue_and_are_not_cancelled():
    github = yaml.safe_load((RECIPES / "github-actions.yml").read_text())
    assert github["concurrency"] == {"group": "deploy-production", "cancel-in-progress": False}
    gitlab = yaml.safe_load((RECIPES / "gitlab-ci.yml").read_text())
    assert (gitlab[".production"]["resource_group"], gitlab[".production"]["interruptible"]) == ("production", False)
    assert {gitlab[job]["extends"] for job in ("expand", "rollout", "contract")} == {".production"}
    assert gitlab["contract"]["allow_failure"]["exit_codes"] == [75]


def test_the_task_is_what_ecs_takes():
    task = json.loads((RECIPES / "ecs" / "task.json").read_text())
    shape = get_session().get_service_model("ecs").operation_model("RegisterTaskDefinition").input_shape
    validate_parameters(task, shape)
    assert task["containerDefinitions"][0]["command"] == MIGRATE


def test_the_procfile():
    processes = parse_procfile((RECIPES / "heroku" / "Procfile").read_text()).processes
    assert processes["release"] == " ".join(MIGRATE)
    assert processes["contract"] == " ".join(CONTRACT)


def unit(name: str) -> dict[str, str]:
    """The lines of a unit of systemd that have a value."""
    lines = (RECIPES / "systemd" / name).read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))


def test_units_are_what_systemd_takes(tmp_path):
    names = [path.name for path in (RECIPES / "systemd").iterdir()]
    for name in names:
        text = (RECIPES / "systemd" / name).read_text()
        (tmp_path / name).write_text(
            text.replace("/srv/shop/venv/bin/gunicorn", sys.executable).replace(
                "/srv/shop/venv/bin/python", sys.executable
            )
        )
    if analyze := shutil.which("systemd-analyze"):
        command = [analyze, "verify", "--man=no", *(str(tmp_path / name) for name in names)]
        done = subprocess.run(command, capture_output=True, text=True)
        assert [line for line in done.stderr.splitlines() if "shop" in line] == []
    assert unit("shop-contract.service")["RestartForceExitStatus"] == "75"
    assert unit("shop.service")["Requires"] == unit("shop.service")["After"] == "shop-migrate.service"


# Scripts, with commands that note how they are called.


@pytest.fixture
def commands(tmp_path: Path) -> Any:
    """A function that puts a command before all others: it notes its arguments, and does what a script says."""

    def make(name: str, script: str) -> None:
        path = tmp_path / name
        path.write_text(f'#!/bin/sh\necho "{name} $*" >> "{tmp_path}/called"\n{script}\n')
        path.chmod(0o755)

    return make


def run(script: Path, *args: str, folder: Path, **environment: str) -> tuple[int, list[str]]:
    """The exit status, and the calls of commands."""
    path = f"{folder}:{os.environ['PATH']}"
    env = {**os.environ, "PATH": path, "POLL": "0", **environment}
    done = subprocess.run(["sh", str(script), *args], cwd=folder, env=env, capture_output=True, text=True, timeout=60)
    called = folder / "called"
    return done.returncode, called.read_text().splitlines() if called.exists() else []


@pytest.mark.parametrize("path", sorted(RECIPES.rglob("*.sh")), ids=lambda path: path.name)
def test_a_script_can_be_read(path):
    subprocess.run(["sh", "-n", str(path)], check=True)
    assert os.access(path, os.X_OK)


@pytest.mark.parametrize(("status", "ends"), [("0", 0), ("75", 75), ("1", 1), ("None", 1)])
def test_a_task_of_ecs_ends_as_its_command_does(commands, tmp_path, status, ends):
    commands("aws", f"case $* in *run-task*) echo the-task;; *lastStatus*) echo STOPPED;; *) echo {status};; esac")
    where = {"CLUSTER": "shop", "SUBNETS": "a,b", "SECURITY_GROUPS": "c"}
    returned, called = run(RECIPES / "ecs" / "manage.sh", *CONTRACT[2:], folder=tmp_path, **where)
    assert returned == ends
    overrides = json.loads(called[0].split("--overrides ")[1].split(" --query")[0])
    shape = get_session().get_service_model("ecs").operation_model("RunTask").input_shape
    validate_parameters({"taskDefinition": "shop-migrate", "overrides": overrides}, shape)
    assert overrides["containerOverrides"] == [{"name": "manage", "command": CONTRACT}]


def switched(commands, folder, python: str, **environment: str) -> tuple[int, list[str]]:
    for name in ("start", "route", "stop"):
        commands(name, "")
    commands("python", python)
    return run(RECIPES / "blue_green" / "switch.sh", "green", folder=folder, **environment)


def test_the_other_colour_gets_the_traffic_when_it_is_ready(commands, tmp_path):
    first = f'[ "$2" != safemigrations ] || [ "$(grep -c ready {tmp_path}/called)" = 3 ]'
    returned, called = switched(commands, tmp_path, first)
    ready = "python manage.py safemigrations ready"
    assert called == [" ".join(MIGRATE), "start green", ready, ready, ready, "route green"]
    assert returned == 0


def test_a_colour_that_never_gets_ready_is_stopped(commands, tmp_path):
    returned, called = switched(commands, tmp_path, '[ "$2" != safemigrations ]', TRIES="2")
    assert called[-1] == "stop green"
    assert "route green" not in called
    assert returned == 1


def test_the_contract_is_tried_until_the_old_colour_has_gone(commands, tmp_path):
    later = f'[ "$3" != --contract ] || [ "$(grep -c contract {tmp_path}/called)" = 3 ] || exit 75'
    returned, called = switched(commands, tmp_path, later, CONTRACT="yes")
    assert called[-5:] == ["route green", "stop blue", *[" ".join(CONTRACT)] * 3]
    assert returned == 0


def test_the_contract_is_not_tried_again_after_an_error(commands, tmp_path):
    returned, called = switched(commands, tmp_path, '[ "$3" != --contract ]', CONTRACT="yes")
    assert called[-1] == " ".join(CONTRACT)
    assert called.count(" ".join(CONTRACT)) == returned == 1


def the_step_of_github() -> str:
    jobs = yaml.safe_load((RECIPES / "github-actions.yml").read_text())["jobs"]
    return str(jobs["contract"]["steps"][-1]["run"])


def test_github_tries_the_contract_again(commands, tmp_path):
    (tmp_path / "step.sh").write_text(the_step_of_github())
    commands("sleep", "")
    commands("python", f'[ "$(grep -c contract {tmp_path}/called)" = 2 ] || exit 75')
    assert run(tmp_path / "step.sh", folder=tmp_path) == (
        0,
        [" ".join(CONTRACT), "sleep 300", " ".join(CONTRACT)],
    )


@pytest.mark.parametrize("status", [0, 1])
def test_github_rehearses_and_keeps_what_was_said(commands, tmp_path, status):
    job = yaml.safe_load((RECIPES / "rehearsal.yml").read_text())["jobs"]["rehearse"]
    (step,) = [step["run"] for step in job["steps"] if step.get("name") == "Rehearse"]
    (tmp_path / "step.sh").write_text(step)
    commands("python", f"echo found; exit {status}")
    where = {"GITHUB_BASE_REF": "main", "GITHUB_STEP_SUMMARY": str(tmp_path / "summary")}
    ended, (called,) = run(tmp_path / "step.sh", folder=tmp_path, **where)
    assert ended == status
    assert (tmp_path / "summary").read_text() == "found\n"
    _, _, *arguments = called.split()
    parser = CommandParser()
    rehearse.add_arguments(parser)
    options = parser.parse_args(arguments[arguments.index("rehearse") + 1 :])
    assert (options.old, options.format, str(options.picture)) == ("origin/main", "markdown", "rehearsal.svg")


# The database.


@pytest.fixture
def roles(dsn: str) -> Iterator[tuple[str, str]]:
    """The two roles of roles.sql, under names of this test's own: its connection strings."""
    suffix = uuid4().hex[:8]
    owner, app = f"shop_owner_{suffix}", f"shop_app_{suffix}"
    text = (RECIPES / "database" / "roles.sql").read_text()
    text = re.sub(r"\bshop_(owner|app)\b", lambda found: f"{found[0]}_{suffix}", text)
    with psycopg.connect(dsn) as connection:
        connection.execute(text)
    yield make_conninfo(dsn, user=owner), make_conninfo(dsn, user=app)
    with psycopg.connect(dsn) as connection:
        for role in (app, owner):
            connection.execute(f"DROP OWNED BY {role} CASCADE")
    on_server("DROP ROLE {}, {}", owner, app)


REQUESTS = {
    1: ("INSERT INTO shop_item (name, note) VALUES ('a', 'b')", "UPDATE shop_item SET note = 'c'"),
    2: ("INSERT INTO shop_item (name, size) VALUES ('a', 1)", "UPDATE shop_item SET name = 'd', size = 2"),
    3: ("INSERT INTO shop_item (title, size) VALUES ('a', 1)", "UPDATE shop_item SET title = 'e'"),
}


def test_the_role_of_the_application_needs_no_right_to_migrate(roles, tmp_path):
    owner, app = roles
    releases = three_releases.trees(tmp_path, owner)

    def asked(*numbers: int) -> None:
        with psycopg.connect(app, autocommit=True) as connection:
            for number in numbers:
                for statement in REQUESTS[number]:
                    connection.execute(statement)
                connection.execute("SELECT * FROM shop_item")
                connection.execute("DELETE FROM shop_item")

    for number, (before, after) in enumerate([((1,), ()), ((1, 2), (2,)), ((2, 3), (3,))]):
        releases[number].manage("migrate").check()
        asked(*before)
        if after:
            releases[number].manage("migrate", "--contract", "--noinput").check()
            asked(*after)
    as_app = three_releases.tree(tmp_path / "app", app, 3)
    as_app.manage("safemigrations", "ready").check()
    as_app.manage("safemigrations", "status").check()


def test_the_role_of_the_application_may_not_migrate(roles, tmp_path):
    owner, app = roles
    three_releases.tree(tmp_path, owner, 1).manage("migrate").check()
    with psycopg.connect(app, autocommit=True) as connection:
        for statement in ("CREATE TABLE t (id int)", "ALTER TABLE shop_item ADD COLUMN x int", "DROP TABLE shop_item"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(statement)


def snapshot_recipe(monkeypatch: pytest.MonkeyPatch, client: Any) -> Any:
    spec = importlib.util.spec_from_file_location("snapshot", RECIPES / "database" / "snapshot.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module.boto3, "client", lambda name: client)
    return module


@pytest.mark.parametrize(
    ("age", "status", "is_recent"),
    [
        (timedelta(minutes=5), "available", True),
        (timedelta(hours=2), "available", False),
        (timedelta(minutes=5), "creating", False),
    ],
)
def test_a_snapshot_of_rds(monkeypatch, age, status, is_recent):
    client = boto3.client("rds", region_name="eu-central-1", aws_access_key_id="x", aws_secret_access_key="x")
    answer = {"DBSnapshots": [{"Status": status, "SnapshotCreateTime": datetime.now(UTC) - age}]}
    with Stubber(client) as stubber:
        stubber.add_response("describe_db_snapshots", answer, {"DBInstanceIdentifier": "shop-production"})
        assert snapshot_recipe(monkeypatch, client).is_recent("default") is is_recent


@pytest.mark.parametrize(("age", "status"), [(60, 0), (7200, 1)])
def test_a_backup_of_pgbackrest(commands, tmp_path, age, status):
    stop = int(datetime.now(UTC).timestamp()) - age
    info = json.dumps([{"backup": [{"timestamp": {"stop": 1}}, {"timestamp": {"stop": stop}}]}])
    commands("pgbackrest", f"echo '{info}'")
    returned, called = run(RECIPES / "database" / "pgbackrest.sh", "shop", folder=tmp_path)
    assert (returned, called) == (status, ["pgbackrest --stanza=shop --output=json info"])


def test_no_contract_without_a_backup(commands, tmp_path, at, monkeypatch):
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    script = RECIPES / "database" / "pgbackrest.sh"
    project = three_releases.tree(tmp_path, at("v2"), 2, SAFEMIGRATIONS={"CONTRACT_REQUIRES": f"{script} shop"})
    commands("pgbackrest", """echo '[{"backup": [{"timestamp": {"stop": 1}}]}]'""")
    refused = project.manage(*CONTRACT[2:])
    assert refused.returncode == 75
    assert re.search(r"CONTRACT_REQUIRES says no: .* ended with 1: the last backup is \d+ s old\n", refused.stderr)
    commands("pgbackrest", """echo "[{\\"backup\\": [{\\"timestamp\\": {\\"stop\\": $(date +%s)}}]}]" """)
    project.manage(*CONTRACT[2:]).check()
