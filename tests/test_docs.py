"""The documentation says what is so: names have their pages, commands and code blocks work, links lead somewhere."""

from __future__ import annotations

import ast
import inspect
import re
import sys
import types
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.management import load_command_class
from django.db import migrations, models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.operations import AddField, AddIndex, CreateModel, RemoveField, RenameModel
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState

import safemigrations.operations
from safemigrations import conf
from safemigrations.checking import rules
from safemigrations.operations import (
    AddFieldConcurrently,
    AddFieldWithDefault,
    AlterFieldConcurrently,
    Backfill,
    ExpandRenameModel,
    MoveModelIn,
    RemoveConstraintLater,
    RemoveFieldLater,
    RemoveIndexLater,
)
from safemigrations.operations.base import Change
from safemigrations.running.preview import FACTS, telling_facts
from safemigrations.typed import server_version
from testproject.demo.sides import SIDES
from tests import checks_page
from tests.conftest import new_database
from tests.reference_pages import parser_of, subcommands
from tests.shop import KEY

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
TOP = [ROOT / f"{name}.md" for name in ("README", "CHANGELOG", "CONTRIBUTING", "SECURITY")]
EXAMPLES = sorted((ROOT / "testproject").glob("**/README.md"))
PAGES = [*TOP, *EXAMPLES, DOCS / "llms.txt", *sorted(DOCS.glob("*.md"))]
ALL = [getattr(safemigrations.operations, name) for name in safemigrations.operations.__all__]
# Backfill is written by people; no operation of Django's becomes one.
OPERATIONS = [operation for operation in ALL if operation is not Backfill]


def change_of(operation: type[Change]) -> str:
    """The name of a change: that of the module which its operation is written in."""
    return Path(inspect.getfile(operation.__init__)).stem


CHANGES = [change_of(operation) for operation in OPERATIONS]


def page(name: str) -> str:
    return (DOCS / f"{name}.md").read_text()


def blocks(path: Path, language: str) -> Iterator[tuple[int, str]]:
    """The fenced blocks of a language, each with the line on which it begins."""
    text = path.read_text()
    for found in re.finditer(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        yield text.count("\n", 0, found.start()) + 1, found[1]


PYTHON = [
    pytest.param(code, id=f"{path.name}:{line}")
    for path in (ROOT / "README.md", *sorted(DOCS.glob("*.md")))
    for line, code in blocks(path, "python")
]


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_has_one_name_everywhere(name):
    assert (ROOT / "safemigrations" / "operations" / f"{name}.py").exists()
    assert (ROOT / "tests" / f"test_{name}.py").exists()
    assert (DOCS / f"{name}.md").exists()


@pytest.mark.parametrize("operation", OPERATIONS, ids=CHANGES)
def test_a_page_names_its_operation_and_its_check(operation):
    name = change_of(operation)
    module = sys.modules[operation.__init__.__module__]
    assert page(name).startswith(f"# {name}: ")
    assert f"→ `{operation.__name__}`\n" in page(name)
    assert f"`{module.rule.id}`" in page(name)


@pytest.mark.parametrize("name", CHANGES)
def test_a_page_tells_the_whole_story(name):
    headings = re.findall(r"^## (.*)$", page(name), re.MULTILINE)
    does = ["The migration", "Expand", "Contract", "Who may do what", "The way back"]
    wanted = [*does, "Limits", "The check", "By hand"]
    assert [heading for heading in headings if heading in wanted] == wanted


@pytest.mark.parametrize("operation", ALL, ids=[operation.__name__ for operation in ALL])
def test_a_page_names_every_argument(operation):
    arguments = set(inspect.signature(operation.__init__).parameters) - {"self"}
    by_hand = page(change_of(operation)).partition("## By hand")[2]
    assert {name for name in arguments if not re.search(rf"\b{name}\b", by_hand)} == set()


def test_every_operation_is_listed():
    for text in (page("index"), page("covered")):
        assert [operation.__name__ for operation in ALL if f"`{operation.__name__}`" not in text] == []


def test_every_setting_is_described():
    headings = set(re.findall(r"^## `(\w+)`$", page("settings"), re.MULTILINE))
    in_table = set(re.findall(r"^\| `([A-Z_]+)` \|", page("settings"), re.MULTILINE))
    assert headings == conf.KEYS
    assert in_table == conf.KEYS


def test_the_defaults_are_the_real_ones():
    (_, shown), *_ = blocks(DOCS / "settings.md", "python")
    names: dict[str, dict[str, object]] = {}
    exec(shown, names)
    assert names["SAFEMIGRATIONS"] == {read.__name__.upper(): read() for read in conf.READERS}


def test_every_id_is_listed():
    listed = set(re.findall(r"^\| `(safemigrations\.[EWI]\d+)` \|", page("checks"), re.MULTILINE))
    code = "".join(path.read_text() for path in (ROOT / "safemigrations").rglob("*.py"))
    assert listed == set(re.findall(r"safemigrations\.[EWI]\d+", code))
    assert page("checks") == checks_page.written(), "Write its table anew: python -m tests.checks_page"


@pytest.mark.parametrize("rule", rules.RULES, ids=lambda rule: rule.id)
def test_the_table_of_checks_names_the_operations_that_a_rule_handles(rule):
    (row,) = (line for line in page("checks").splitlines() if line.startswith(f"| `{rule.id}` |"))
    fires_on = row.split("|")[3]
    assert [name for name in rule.stock if f"`{name}`" not in fires_on] == []


@pytest.mark.parametrize("name", CHANGES)
def test_the_table_of_checks_leads_to_the_page(name):
    operation = OPERATIONS[CHANGES.index(name)]
    id = sys.modules[operation.__init__.__module__].rule.id
    assert f"| `{id}` | [{name}]({name}.md) |" in page("checks")


@pytest.fixture
def codes(monkeypatch):
    """The module of functions that the pages call shop.codes."""
    shop, module = types.ModuleType("shop"), types.ModuleType("shop.codes")
    exec("def code_of(order): return order.number", vars(module))
    shop.codes = module  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "shop", shop)
    monkeypatch.setitem(sys.modules, "shop.codes", module)


@pytest.mark.usefixtures("codes")
@pytest.mark.parametrize("code", PYTHON)
def test_a_code_block_runs(code):
    """A block is complete: it imports what it names, and its operations accept their arguments."""
    names = {"__name__": "documented"}
    exec(compile(code, "documented", "exec"), names)
    migration = names.get("Migration")
    if migration is not None:
        ours = [operation for operation in migration.operations if isinstance(operation, Change)]  # type: ignore[attr-defined]
        assert issubclass(migration, migrations.Migration)  # type: ignore[arg-type]
        assert migration.atomic is not bool(ours)  # type: ignore[attr-defined]
        assert set(getattr(migration, "allow_unsafe", ())) <= {rule.id for rule in rules.RULES}


# The SQL on the pages is what sqlmigrate prints for the operations of the page and for these, on this shop.

SHOP = [
    CreateModel("Customer", [KEY, ("name", models.CharField(max_length=50))]),
    CreateModel(
        "Order",
        [
            KEY,
            ("customer", models.ForeignKey("shop.Customer", models.CASCADE, related_name="orders")),
            ("buyer", models.ForeignKey("shop.Customer", models.CASCADE, related_name="bought")),
            ("number", models.CharField(max_length=20)),
            ("total", models.DecimalField(max_digits=10, decimal_places=2)),
            ("note", models.TextField(default="")),
            ("remark", models.CharField(max_length=40, null=True)),
            ("state", models.CharField(max_length=10, db_default="open")),
            ("placed", models.DateTimeField(auto_now_add=True)),
        ],
        {
            "indexes": [models.Index(fields=["placed"], name="order_placed_idx")],
            "unique_together": {("customer", "number")},
            "constraints": [
                models.UniqueConstraint(fields=["number"], name="order_number_uniq"),
                models.CheckConstraint(condition=models.Q(total__gte=0), name="order_total_positive"),
            ],
        },
    ),
]
ALSO: dict[str, list[Operation]] = {
    "remove_index": [
        AddIndex("order", models.Index(fields=["total"], name="order_total_idx")),
        RemoveIndexLater("order", "order_total_idx", set_aside=True),
    ],
    "add_field_with_default": [
        AddFieldWithDefault("order", "token", models.UUIDField(default=uuid.uuid4, unique=True)),
        RemoveField("order", "buyer"),
        AddFieldWithDefault("order", "buyer", models.ForeignKey("shop.Customer", models.CASCADE, default=1)),
    ],
    "add_field": [
        AddFieldConcurrently("order", "watchers", models.ManyToManyField("shop.Customer", related_name="watched")),
    ],
    "alter_field": [
        AddField("order", "weight", models.IntegerField(default=0)),
        AlterFieldConcurrently("order", "weight", models.PositiveIntegerField(default=0)),
    ],
    "remove_field": [RemoveFieldLater("order", "customer")],
    "rename_model": [
        RenameModel("Purchase", "Order"),
        AddField("customer", "favourites", models.ManyToManyField("shop.Order")),
        ExpandRenameModel("Order", "Purchase"),
    ],
    "remove_constraint": [RemoveConstraintLater("order", "order_total_positive")],
}


def printed(connection: BaseDatabaseWrapper, operations: list[Operation]) -> list[str]:
    """What sqlmigrate prints for each operation, with the contract's statements as plain as the others."""
    state = ProjectState()
    texts = []
    for operation in [*SHOP, *operations]:
        before, label = state.clone(), "archive" if isinstance(operation, MoveModelIn) else "shop"
        operation.state_forwards(label, state)
        if isinstance(operation, Change):
            with telling_facts(), connection.schema_editor(collect_sql=True, atomic=False) as editor:
                operation.database_forwards(label, editor, before, state)
            texts.append("".join(f"{uncommented(line)}\n" for line in editor.collected_sql))
    return texts


def uncommented(line: str) -> str:
    """A line of the contract as it would stand in expand: sentences begin with the table, facts are indented."""
    if re.match(rf"{FACTS}\S", line):
        return line
    text = line.removeprefix("--   ")
    return f"-- {text}" if text != line and re.match(r"\w+: |    \S", text) else text


@pytest.fixture(scope="module")
def empty() -> Iterator[BaseDatabaseWrapper]:
    """A database to which nothing is written."""
    with pytest.MonkeyPatch.context() as patch, new_database("default", patch) as connection:
        yield connection


@pytest.mark.usefixtures("codes")
@pytest.mark.parametrize("name", [*CHANGES, "backfill"])
def test_the_sql_is_what_sqlmigrate_prints(name, empty):
    documented: list[Operation] = []
    for _, code in blocks(DOCS / f"{name}.md", "python"):
        names: dict[str, Any] = {}
        exec(code, names)
        documented += getattr(names.get("Migration"), "operations", [])
    ours = [operation for operation in documented if isinstance(operation, Change)]
    texts = printed(empty, ours + ALSO.get(name, []))
    for line, sql in blocks(DOCS / f"{name}.md", "sql"):
        if is_of_another_server(empty, sql):
            continue
        assert any(sql in text for text in texts), f"{name}.md:{line}\n{sql}\n" + "\n".join(texts)


def is_of_another_server(connection: BaseDatabaseWrapper, sql: str) -> bool:
    """The pages show how NOT NULL is added to PostgreSQL 18, and in one place how to those before."""
    if server_version(connection) >= 180000:
        return "IS NOT NULL) NOT VALID" in sql
    return re.search(r'NOT NULL "\w+" NOT VALID', sql) is not None


def messages() -> Iterator[tuple[str, ast.expr]]:
    """The text of every error with which a step, a lock or a migration can fail, and where it stands."""
    for path in sorted((ROOT / "safemigrations").rglob("*.py")):
        source = path.read_text()
        if not any(name in source for name in (*FAILURES, "failure=")):
            continue
        tree = ast.parse(source)
        texts = {f.name: f.body[-1] for f in ast.walk(tree) if isinstance(f, ast.FunctionDef)}
        for node in ast.walk(tree):
            raised = node.exc if isinstance(node, ast.Raise) else None
            if (
                isinstance(node, ast.Raise)
                and isinstance(raised, ast.Call)
                and ast.unparse(raised.func).rpartition(".")[2] in FAILURES
            ):
                text = raised.args[0]
                end = texts.get(ast.unparse(text.func)) if isinstance(text, ast.Call) else None
                yield f"{path.name}:{node.lineno}", end.value if isinstance(end, ast.Return) and end.value else text
            elif isinstance(node, ast.keyword) and node.arg == "failure":
                yield f"{path.name}:{node.lineno}", node.value


FAILURES = ("StepFailed", "LockNotAcquired", "NotSupportedError", "NotNow")


def telling(text: ast.expr) -> str:
    """What to look a message up by: its first words that are always the same."""
    parts = [str(part.value) for part in ast.walk(text) if isinstance(part, ast.Constant) and len(str(part.value)) > 11]
    return " ".join(parts[0].split(". ")[0].split()) if parts else ""


def test_the_operators_pages_have_every_message():
    told = " ".join(f"{page('deploying')} {page('when_it_fails')}".split())
    assert {where: telling(text) for where, text in messages() if telling(text) not in told} == {}


def anchors(path: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    text = re.sub(r"^```.*?^```$", "", path.read_text(), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_links_lead_somewhere(path):
    text = re.sub(r"^```.*?^```$", "", path.read_text(), flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"`[^`\n]*`", "", text)):
        if target.startswith("https://"):
            continue
        name, _, anchor = target.partition("#")
        other = (path.parent / name).resolve() if name else path
        assert other.exists(), target
        assert not anchor or anchor in anchors(other), target


@pytest.mark.parametrize("path", sorted(DOCS.glob("*.md")), ids=lambda path: path.name)
def test_the_index_has_every_page(path):
    assert path.name == "index.md" or f"({path.name})" in page("index")


def commands() -> list[str]:
    return [
        line.removeprefix("$ ")
        for _, block in blocks(ROOT / "README.md", "console")
        for line in block.splitlines()
        if line.startswith("$ python3 -m venv")
    ]


def test_the_two_commands_are_those_that_continuous_integration_runs():
    demo, tests = commands()
    assert (ROOT / ".ci" / "run").read_text().splitlines()[-1] == tests
    assert demo == f"{tests} -e demo"


def test_tox_runs_the_tests_and_the_demo():
    tox = (ROOT / "tox.ini").read_text()
    assert re.search(r"^env_list = .*\bpy\b", tox, re.MULTILINE)
    assert re.search(r"^\[testenv\]$.*?^commands = python -m pytest\b", tox, re.MULTILINE | re.DOTALL)
    demo = re.search(r"^\[testenv:demo\]$.*?^commands = python (\S+) (\w+)", tox, re.MULTILINE | re.DOTALL)
    assert demo
    assert (ROOT / demo[1]).exists()
    assert list((ROOT / "testproject").glob(f"**/management/commands/{demo[2]}.py"))


def test_the_shop_says_a_side_that_there_is():
    shop = ROOT / "testproject"
    for path in (shop / "README.md", shop / ".github" / "workflows" / "ci.yml", DOCS / "demo.md"):
        assert set(re.findall(r"--side (\w+)", path.read_text())) <= {side.name for side in SIDES}


def test_the_subcommands_are_those_that_exist():
    ours = parser_of(load_command_class("safemigrations", "safemigrations"), "safemigrations")
    exist = {name.split()[1] for name, *_ in subcommands("safemigrations", ours)}
    told = set(re.findall(r"^\| `safemigrations (\w+)", page("commands"), re.MULTILINE))
    assert told == exist != set()
