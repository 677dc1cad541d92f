"""`lint --fix` and `lint --diff`: files as makemigrations would have written them, and nothing else in them changed."""

from __future__ import annotations

import re
import subprocess
from typing import Any

import pytest

from safemigrations.checking.findings import report
from safemigrations.checking.history import History
from safemigrations.operations.base import Change
from safemigrations.operations.written import written
from safemigrations.rewriting import by_hand, changes, elements, fixes, imports
from safemigrations.rewriting.definitions import without_unused

from .cases import Case, base, ours, stock
from .project import Project
from .releases import installed, write
from .representatives import representatives
from .snapshot import snapshot

MODELS = """
class Book(models.Model):
    title = models.CharField(max_length=100)
    pages = models.IntegerField(null=True)
    isbn = models.CharField(max_length=20, default="")

    class Meta:
        indexes = [models.Index(fields=["title"], name="book_title")]
"""
FIRST = """
from django.db import migrations, models

class Migration(migrations.Migration):
    initial = True
    dependencies = []
    operations = [
        migrations.CreateModel(
            "Book",
            [
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("title", models.CharField(max_length=100)),
            ],
        ),
    ]
"""
SECOND = """\
# Nobody reads the titles yet.
import json

from django.db import migrations, models

LOUD = "!"


# Books of before the war have no title.
def shout(apps, schema_editor):
    Book = apps.get_model("shop", "Book")
    Book.objects.filter(pk=1).update(title=json.dumps(LOUD))


class Migration(migrations.Migration):
    \"\"\"Pages, and an index.\"\"\"

    # The first one is the oldest.
    dependencies = [("shop", "0001_initial")]

    operations = [
        # pages are counted later
        migrations.AddField("book", "pages", models.IntegerField(null=True)),  # null at first
        migrations.AddIndex(
            model_name="book",
            index=models.Index(fields=["title"], name="book_title"),  # for the search
        ),

        # 20 characters, with hyphens
        migrations.AddField("book", "isbn", models.CharField(max_length=20, default="")),
        migrations.RunPython(shout),
    ]
"""
THIRD = """
from django.db import migrations, models

class Migration(migrations.Migration):
    dependencies = [("shop", "0002_pages")]
    operations = [migrations.AlterModelOptions("book", {})]
"""


def project_with(project: Project, *files: tuple[str, str], baseline: str = "0001_initial") -> Project:
    project.set(SAFEMIGRATIONS={"BASELINE": {"shop": baseline}})
    project.write_models("shop", MODELS)
    for name, text in (("0001_initial", FIRST), *files):
        project.write_migration("shop", name, text)
    return project


def migration(*operations: str, options: str = "", above: str = "") -> str:
    listed = "".join(f"        {operation},\n" for operation in operations)
    return (
        f"from django.db import migrations, models\n\n{above}\nclass Migration(migrations.Migration):\n{options}"
        f"    dependencies = [('shop', '0001_initial')]\n    operations = [\n{listed}    ]\n"
    )


def lint(project: Project, *options: str) -> Any:
    return project.manage("safemigrations", "lint", *options)


def texts(project: Project) -> dict[str, str]:
    return {name: project.read_migration("shop", name) for name in project.migration_files("shop")}


# What becomes of a file.

FIRST_PART = """\
# Nobody reads the titles yet.

from django.db import migrations, models


class Migration(migrations.Migration):
    \"\"\"Pages, and an index.\"\"\"

    # The first one is the oldest.
    dependencies = [("shop", "0001_initial")]

    operations = [
        # pages are counted later
        migrations.AddField("book", "pages", models.IntegerField(null=True)),  # null at first
    ]
"""
SECOND_PART = """\
# Nobody reads the titles yet.

from django.db import migrations, models
from safemigrations.operations import AddFieldWithDefault, AddIndexConcurrently


class Migration(migrations.Migration):
    \"\"\"Pages, and an index.\"\"\"

    atomic = False  # builds an index concurrently

    # The first one is the oldest.
    dependencies = [("shop", "0002_pages_1")]

    operations = [
        AddIndexConcurrently(
            model_name="book",
            index=models.Index(fields=["title"], name="book_title"),  # for the search
        ),

        # 20 characters, with hyphens
        AddFieldWithDefault("book", "isbn", models.CharField(max_length=20, default="")),
    ]
"""
LAST_PART = """\
# Nobody reads the titles yet.
import json

from django.db import migrations

LOUD = "!"


# Books of before the war have no title.
def shout(apps, schema_editor):
    Book = apps.get_model("shop", "Book")
    Book.objects.filter(pk=1).update(title=json.dumps(LOUD))


class Migration(migrations.Migration):
    \"\"\"Pages, and an index.\"\"\"

    # The first one is the oldest.
    dependencies = [("shop", "0002_pages_2")]

    operations = [
        migrations.RunPython(shout, migrations.RunPython.noop),
    ]
"""


@pytest.fixture
def mixed(project: Project) -> Project:
    return project_with(project, ("0002_pages", SECOND), ("0003_options", THIRD))


def test_a_file_becomes_as_many_as_its_atomicity_takes(mixed):
    result = lint(mixed, "--fix").check()
    assert result.stdout == (
        "Fixed shop/migrations/0002_pages.py, shop/migrations/0002_pages_1.py, shop/migrations/0002_pages_2.py\n"
        "  Create index book_title on field(s) title of model book -> AddIndexConcurrently\n"
        "  Add field isbn to book -> AddFieldWithDefault\n"
        "  Raw Python operation -> with a way back that does nothing\n"
        "No unsafe operation.\n"
    )
    after = texts(mixed)
    assert after.pop("0003_options") == THIRD
    assert after.pop("0001_initial") == FIRST
    assert after == {"0002_pages_1": FIRST_PART, "0002_pages_2": SECOND_PART, "0002_pages": LAST_PART}
    mixed.manage("makemigrations", "--check", "--dry-run").check()
    assert lint(mixed, "--fix").check().stdout == "No unsafe operation.\n"
    assert texts(mixed) == {"0001_initial": FIRST, "0003_options": THIRD, **after}


def test_it_ends_where_the_file_ended_before(mixed, database):
    mixed.manage("migrate", "--noinput").check()
    before = snapshot(database)
    mixed.sql("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    lint(mixed, "--fix").check()
    mixed.manage("migrate", "shop", "0001").check()
    mixed.migrate_and_contract()
    mixed.manage("safemigrations", "verify").check()
    after = snapshot(database)
    for kind in ("tables", "columns", "indexes", "constraints"):
        assert {name: is_ for name, is_ in after[kind].items() if "safemig" not in str(name)} == before[kind]


def test_a_diff_changes_nothing_and_can_be_applied(mixed):
    before = texts(mixed)
    result = lint(mixed, "--diff")
    assert (result.returncode, result.stderr) == (1, "CommandError: 2 unsafe operations.\n")
    assert texts(mixed) == before
    assert "--- /dev/null\n+++ b/shop/migrations/0002_pages_1.py\n" in result.stdout
    subprocess.run(["git", "apply", "-"], input=result.stdout, text=True, check=True, cwd=mixed.folder)
    assert texts(mixed)["0002_pages"] == LAST_PART
    assert lint(mixed, "--diff").check().stdout == ""


def test_other_formats_stay_what_a_machine_reads(mixed):
    assert lint(mixed, "--fix", "--format", "json").check().stdout == "[]\n"


def test_the_ends_of_lines_stay(project):
    file = project_with(project).folder / "shop" / "migrations" / "0002_pages.py"
    file.write_bytes(SECOND.replace("\n", "\r\n").encode())
    lint(project, "--fix").check()
    assert file.read_bytes() == LAST_PART.replace("\n", "\r\n").encode()


def is_told_by_nobody(case: Case) -> bool:
    """Does Django's own file make a change of which only a person knows how?"""
    return any(getattr(operation, "using", "") for operation in case.operations)


FIXED = [
    case
    for case in representatives(lambda case: {type(each) for each in case.operations})
    if not is_told_by_nobody(case)
]


@pytest.mark.parametrize("case", FIXED, ids=str)
def test_a_stock_file_becomes_what_makemigrations_writes(case: Case, database, tmp_path):
    """Of what is told by our operations alone, such as backfill=, Django's own file knows nothing."""
    with installed(tmp_path, package := write(tmp_path, [base(), *stock(case)])):
        made = fixes.fixes(report())
        for fix in made.made:
            changes.write(fix.files)
        if not any(isinstance(operation, Change) for operation in case.operations):
            assert _operations(_on_disk()) == _operations(ours(case))
        assert [finding for finding in report().findings if finding.level != "note"] == []
        before = {path: path.read_text() for path in (tmp_path / package).glob("*.py")}
        assert fixes.fixes(report()).made == []
        assert {path: path.read_text() for path in before} == before


def _on_disk() -> list[Any]:
    history = History()
    return [history.migration(key) for key in history.order if key[0] == "shop" and key[1] != base().name]


def _operations(migrations: list[Any]) -> list[tuple[list[str], bool]]:
    return [([written(each) for each in one.operations], one.atomic) for one in migrations]


# By hand.

SQL = "CREATE INDEX book_title ON shop_book (title)"
STATE = "migrations.AddIndex('book', models.Index(fields=['title'], name='book_title'))"
OURS = """AddIndexConcurrently(
            model_name='book',
            index=models.Index(fields=['title'], name='book_title'),
        )"""
IN_DATABASE = """migrations.SeparateDatabaseAndState(
            database_operations=[
                AddIndexConcurrently(
                    model_name='book',
                    index=models.Index(fields=['title'], name='book_title'),
                ),
            ],
        )"""


@pytest.mark.parametrize(
    ("operation", "becomes"),
    [
        (f"migrations.RunSQL('{SQL}', 'DROP INDEX book_title')", IN_DATABASE),
        (
            f"migrations.RunSQL('{SQL}', '', state_operations=[{STATE}])",
            OURS,
        ),
        (
            f"migrations.SeparateDatabaseAndState([migrations.RunSQL('{SQL}', '')], [{STATE}])",
            OURS,
        ),
        (
            f"migrations.RunSQL('{SQL} WHERE id > 7', 'DROP INDEX book_title')",
            f"migrations.RunSQL('{SQL.replace('INDEX', 'INDEX CONCURRENTLY')} WHERE id > 7', 'DROP INDEX book_title')",
        ),
        (
            "migrations.RunSQL('CREATE INDEX CONCURRENTLY book_title ON shop_book (title)', '')",
            "migrations.RunSQL('CREATE INDEX CONCURRENTLY book_title ON shop_book (title)', '')",
        ),
    ],
    ids=["alone", "with its state", "split", "with a condition", "in a transaction"],
)
def test_sql_that_builds_an_index(project, database, operation, becomes):
    """The state knows as much of it as before."""
    project_with(project, ("0002_index", migration(operation)))
    lint(project, "--fix").check()
    text = project.read_migration("shop", "0002_index")
    assert f"    operations = [\n        {becomes},\n    ]\n" in text
    assert re.search(
        "    atomic = False  # (builds an index concurrently|PostgreSQL refuses CONCURRENTLY inside a )", text
    )
    project.manage("migrate").check()
    assert "book_title" in str(snapshot(database)["indexes"])
    project.manage("migrate", "shop", "0001").check()


@pytest.mark.parametrize(
    "sql",
    [
        f"{SQL}; SELECT 1",
        "CREATE INDEX IF NOT EXISTS book_title ON shop_book (title) WHERE id > 7",
    ],
)
def test_sql_that_no_operation_replaces_stays(project, sql):
    text = migration(f"migrations.RunSQL('{sql}', '')")
    project_with(project, ("0002_index", text))
    assert lint(project, "--fix").returncode == 1
    assert project.read_migration("shop", "0002_index") == text


@pytest.mark.parametrize(
    ("code", "becomes"),
    [
        ("migrations.RunPython(fill)", "migrations.RunPython(fill, migrations.RunPython.noop)"),
        ("RunPython(code=fill)", "RunPython(code=fill, reverse_code=RunPython.noop)"),
        (
            "migrations.RunPython(\n    fill,  # é\n    elidable=True,\n)",
            "migrations.RunPython(\n    fill, reverse_code=migrations.RunPython.noop,  # é\n    elidable=True,\n)",
        ),
        ("migrations.RunPython(**arguments)", ""),
        ("migrations.RunPython(fill, None)", ""),
        ("migrations.RunPython(fill, reverse_code=None)", ""),
        ("made()", ""),
        ("one if two else three", ""),
    ],
)
def test_a_way_back_that_does_nothing(code, becomes):
    assert by_hand.with_noop(code) == becomes


@pytest.mark.parametrize(
    ("fill", "notice"),
    [
        (
            "UPDATE shop_book SET pages = 1 WHERE pages IS NULL",
            "book.pages: a Backfill fills the rows that are null now.",
        ),
        ("SELECT 1", "book.pages: nothing fills the rows that are null."),
    ],
)
def test_a_field_that_becomes_required_behind_what_fills_it(project, fill, notice):
    add = "migrations.AddField('book', 'pages', models.IntegerField(null=True))"
    required = "migrations.AlterField('book', 'pages', models.IntegerField())"
    text = migration(f"migrations.RunSQL('{fill}', '')", required).replace("0001_initial", "0002_pages")
    project_with(project, ("0002_pages", migration(add)), ("0003_required", text))
    assert notice in " ".join(lint(project, "--fix").check().stdout.split())


def test_what_holds_a_lock_and_what_works_on_rows_part(project):
    add = "migrations.AddField('book', 'pages', models.IntegerField(null=True))"
    fill = "migrations.RunSQL('INSERT INTO shop_page SELECT * FROM shop_book', '')"
    project_with(project, ("0002_pages", migration(add, fill)))
    lint(project, "--fix").check()
    assert project.migration_files("shop") == ["0001_initial", "0002_pages", "0002_pages_1"]


def test_a_table_of_an_earlier_part_is_still_new(project):
    pages = "migrations.AddField('book', 'pages', models.IntegerField(null=True))"
    box = "migrations.CreateModel('Box', [('id', models.BigAutoField(primary_key=True))])"
    fill = "migrations.RunSQL('INSERT INTO shop_page SELECT * FROM shop_book', '')"
    index = "migrations.AddIndex('box', models.Index(fields=['id'], name='box_id'))"
    project_with(project, ("0002_box", migration(pages, box, fill, index)))
    lint(project, "--fix").check()
    new = "    same_release = [('shop', '0002_box_1')]  # no other release uses their tables\n\n    operations = [\n"
    assert new in project.read_migration("shop", "0002_box")
    assert lint(project).check().stdout == "No unsafe operation.\n"


def test_rows_of_a_table_of_an_earlier_part_are_nobodys(project):
    """Nobody knows which tables a function changes."""
    box = "migrations.CreateModel('Box', [('id', models.BigAutoField(primary_key=True)), ('n', models.IntegerField())])"
    fill = "migrations.RunPython(fill, migrations.RunPython.noop)"
    function = "def fill(apps, schema_editor):\n    apps.get_model('shop', 'Box').objects.update(n=1)\n\n"
    project_with(project, ("0002_box", migration(box, STATE, fill, above=function)))
    assert lint(project, "--fix").check().stdout.endswith("No unsafe operation.\n")
    assert project.migration_files("shop") == ["0001_initial", "0002_box", "0002_box_1", "0002_box_2"]
    assert "    same_release = [('shop', '0002_box_1')]" in project.read_migration("shop", "0002_box")


# What is not touched.


def git(project: Project, *arguments: str) -> None:
    who = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "init.defaultBranch=main"]
    subprocess.run(["git", *who, *arguments], cwd=project.folder, check=True, capture_output=True)


UNSAFE = migration(STATE)


def untouched(project: Project, why: str, text: str = UNSAFE) -> None:
    result = lint(project, "--fix")
    assert result.returncode == 1
    assert f"shop/migrations/0002_index.py: not touched, as {why}.\n" in result.stdout
    assert project.read_migration("shop", "0002_index") == text
    assert project.migration_files("shop") == ["0001_initial", "0002_index"]


def test_what_a_database_has_applied(project):
    project_with(project, ("0002_index", UNSAFE)).manage("migrate").check()
    untouched(project, 'it is applied in the database "default"')


def test_what_is_on_the_default_branch(project):
    project_with(project, ("0002_index", UNSAFE))
    git(project, "init")
    git(project, "add", ".")
    git(project, "commit", "-m", "both")
    git(project, "checkout", "-b", "mine")
    untouched(project, "it is on main already, so somebody may have applied it")
    text = UNSAFE.replace("book_title", "book_two").replace("0001_initial", "0002_index")
    project.write_migration("shop", "0003_title", text)
    git(project, "add", ".")
    git(project, "commit", "-m", "one more")
    lint(project, "--fix")
    assert "AddIndexConcurrently" in project.read_migration("shop", "0003_title")
    assert project.read_migration("shop", "0002_index") == UNSAFE


def test_a_database_that_does_not_answer_is_named(project):
    project_with(project, ("0002_index", UNSAFE))
    nowhere = {**project.settings["DATABASES"]["default"], "NAME": "nowhere"}
    project.set(DATABASES={"default": nowhere})
    result = lint(project, "--fix").check()
    assert 'The database "default" could not be asked: connection' in result.stdout
    assert "AddIndexConcurrently" in project.read_migration("shop", "0002_index")


def test_operations_that_are_not_written_out(project):
    text = UNSAFE.replace("operations = [", "operations = list([").replace("    ]\n", "    ])\n")
    untouched(project_with(project, ("0002_index", text)), "its operations aren't written as a plain list", text)


def test_decisions_that_count(project):
    text = migration(STATE, STATE.replace("book_title", "two"), options="    allow_unsafe = {DECIDED}\n")
    text = text.replace("{DECIDED}", "{'safemigrations.E001': {1: 'small'}}")
    why = "its allow_unsafe counts operations, and their number changes: give their names"
    untouched(project_with(project, ("0002_index", text)), why, text)


def test_decisions_go_with_their_operations(project):
    decided = "    allow_unsafe = {'safemigrations.E001': {'two': 'small'}, 'safemigrations.E020': 'unused'}\n"
    remove = "migrations.RemoveField('book', 'title')"
    text = migration(STATE.replace("book_title", "two"), STATE, remove, options=decided)
    project_with(project, ("0002_index", text))
    lint(project, "--fix")
    assert "allow_unsafe = {'safemigrations.E001': {'two': 'small'}}\n" in project.read_migration(
        "shop", "0002_index_1"
    )
    assert "allow_unsafe = {'safemigrations.E020'" in project.read_migration("shop", "0002_index")


# Pieces of it.


@pytest.mark.parametrize(
    ("text", "becomes"),
    [
        ("[A(1), B([2, 3])]", "[\n        A(1),\n        B([2, 3]),\n    ]"),
        ("[\n        A(1)  # one\n        ,\n    ]", "[\n        A(1),  # one\n    ]"),
        (
            "[A(1), # x\n        B(2) # y\n        # z\n]",
            "[\n        A(1),  # x\n        B(2),  # y\n        # z\n    ]",
        ),
        ("[]", "[\n    ]"),
    ],
)
def test_the_elements_of_a_list(text, becomes):
    assert elements.as_list(*elements.read(text)) == becomes


@pytest.mark.parametrize(
    ("text", "wanted", "becomes"),
    [
        ("import b\n", "import a\n", "import a\nimport b\n"),
        ("from a import c\n", "from a import b\n", "from a import b, c\n"),
        ("from a import c  # why\n", "from a import b\n", "from a import b, c  # why\n"),
        (
            "from a import (\n    c,  # why\n)\n",
            "from a import b\n",
            "from a import (\n    c,  # why\n)\nfrom a import b\n",
        ),
        ("from a import *\n", "from a import b\n", "from a import *\nfrom a import b\n"),
        ("from __future__ import x\n", "import a\n", "from __future__ import x\nimport a\n"),
        ('"""Why."""\nx = 1\n', "import a\n", '"""Why."""\nimport a\nx = 1\n'),
        ("import a as b\n", "import a\n", "import a as b\nimport a\n"),
    ],
)
def test_imports_that_come(text, wanted, becomes):
    assert imports.with_imports(text, [wanted.strip()]) == becomes
    assert imports.with_imports(becomes, [wanted.strip()]) == becomes


def test_what_nothing_uses_any_more():
    before = (
        "import a.b\nimport a.c\nfrom d import e, f\n\nONE = e\n\n\ndef g():\n    a.b.x(ONE)\n\n\nclass Migration:\n"
    )
    text = before + "    operations = [a.c.y, f]\n"
    was = before + "    operations = [g, a.c.y, f]\n"
    assert without_unused(text, was) == (
        "import a.c\nfrom d import f\n\n\nclass Migration:\n    operations = [a.c.y, f]\n"
    )


def test_a_new_file_does_not_take_the_place_of_another(mixed):
    mixed.write_migration("shop", "0002_pages_1", THIRD.replace("0002_pages", "0003_options"))
    assert "as it would become several, and there is a 0002_pages_1.py already" in lint(mixed, "--fix").stdout
    assert mixed.read_migration("shop", "0002_pages") == SECOND
