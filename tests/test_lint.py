"""`manage.py safemigrations lint` and `baseline`."""

from __future__ import annotations

import json
from textwrap import indent

from .project import MANAGE, Project
from .test_checks import HINT, INDEX, MESSAGE, migration, with_index, write


def test_nothing_unsafe(project):
    result = write(project).manage("safemigrations", "lint").check()
    assert result.stdout == "No unsafe operation.\n"
    assert write(project).manage("safemigrations", "lint", "--format", "json").check().stdout == "[]\n"


def test_as_text(project):
    result = with_index(project).manage("safemigrations", "lint")
    assert result.returncode == 1
    hint = indent(HINT.removeprefix("\tHINT: "), " " * 6)
    assert result.stdout == (
        "shop/migrations/0002_index.py\n"
        f"  8: error safemigrations.E001: {MESSAGE.format('one')}\n"
        f"      > {INDEX.format('one')},\n{hint}\n\n1 error.\n"
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
        "help": "docs/add_index.md",
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


# What people wrote.


def by_hand(project: Project, *operations: str, options: str = "") -> Project:
    return write(project, migration("0002_by_hand", *operations, before="0001_initial", options=options))


def test_sql_is_read(project):
    result = by_hand(project, "migrations.RunSQL('CREATE INDEX book_title ON shop_book (title)', '')").manage(
        "safemigrations", "lint"
    )
    assert result.stdout == (
        "shop/migrations/0002_by_hand.py\n"
        "  8: error safemigrations.E200: CREATE INDEX book_title ON shop_book (title) builds the index while nobody "
        "can write to shop_book.\n"
        "      > migrations.RunSQL('CREATE INDEX book_title ON shop_book (title)', ''),\n"
        "      Write, with atomic = False on the migration,\n"
        "          AddIndexConcurrently('book', models.Index(fields=['title'], name='book_title'))\n\n"
        "1 error.\n"
    )


def test_sql_inside_of_a_split_operation_is_read(project):
    sql = "migrations.RunSQL('DROP INDEX book_title', '')"
    by_hand(project, f"migrations.SeparateDatabaseAndState(database_operations=[{sql}])")
    assert "safemigrations.E207" in project.manage("safemigrations", "lint").stdout


def test_a_table_of_the_same_migration(project):
    created = "migrations.CreateModel('Page', [('id', models.BigAutoField(primary_key=True))])"
    by_hand(project, created, "migrations.RunSQL('CREATE INDEX page_id ON shop_page (id)', '')")
    assert project.manage("safemigrations", "lint").check().stdout == "No unsafe operation.\n"


def test_a_lock_of_a_stock_operation_is_held_while_rows_are_filled(project):
    add = "migrations.AddField('book', 'pages', models.IntegerField(null=True))"
    by_hand(project, add, "migrations.RunSQL('INSERT INTO shop_page SELECT * FROM shop_book', '')")
    said = project.manage("safemigrations", "lint").stdout
    assert "safemigrations.E210" in said
    assert "until it ends Add field pages to book keeps its ACCESS EXCLUSIVE lock on shop_book" in said


NOT_READ = "migrations.RunSQL('SELECT fill_books()', '')"


def test_what_is_not_understood_is_said(project):
    by_hand(project, NOT_READ)
    result = project.manage("safemigrations", "lint").check()
    assert result.stdout == (
        "shop/migrations/0002_by_hand.py\n"
        "  8: note safemigrations.I290: statement not understood: SELECT fill_books() is not understood\n"
        f"      > {NOT_READ},\n"
        "      Judge it yourself.\n\n"
        "Nothing unsafe in what was understood. 1 statement not understood.\n"
    )
    assert "safemigrations.I290" in project.manage("safemigrations", "lint", "--format", "json").stdout
    strict = project.manage("safemigrations", "lint", "--strict")
    assert (strict.returncode, strict.stderr) == (1, "CommandError: 1 statement not understood.\n")
    check = project.manage("check").check()
    assert "?: (safemigrations.I290) 1 statement not understood." in check.stderr


def test_a_person_may_have_judged_it(project):
    by_hand(project, NOT_READ, options="    allow_unsafe = {'safemigrations.I290': 'fills 20 rows'}\n")
    assert project.manage("safemigrations", "lint", "--strict").check().stdout == "No unsafe operation.\n"


def test_without_the_grammar_it_says_so(project):
    project.fresh = True
    by_hand(project, "migrations.RunSQL('DROP INDEX book_title', '')")
    project.write("pglast/__init__.py", "raise ImportError")
    hidden = "import importlib.util\nfind = importlib.util.find_spec\n"
    hidden += "importlib.util.find_spec = lambda name, *rest: None if name == 'pglast' else find(name, *rest)\n"
    project.write("manage.py", hidden + MANAGE)
    for command in ("safemigrations lint", "check"):
        result = project.manage(*command.split()).check()
        assert "SQL is read only where pglast is installed: pip install 'safemigrations[lint]'" in (
            result.stdout + result.stderr
        )
