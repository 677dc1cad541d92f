"""migrate says of each unsafe operation that nobody has decided about it, and goes on."""

from __future__ import annotations

import json

import pytest

BOOK = "class Book(models.Model):\n    title = models.CharField(max_length=100)\n    pages = models.IntegerField()\n"
NEXT = """from django.db import migrations, models

class Migration(migrations.Migration):
    dependencies = [("shop", "0001_initial")]
{decided}    operations = [
        migrations.RemoveField("book", "pages"),
        migrations.RunSQL("CREATE INDEX a_title ON shop_book (title)", "DROP INDEX a_title"),
    ]
"""
REMOVES = "drops the column at once: the old release names it in every SELECT and INSERT. (safemigrations.E020)"
SAID = f"Unsafe, and nobody has decided about it: shop/migrations/0002_next.py:6: RemoveField pages of book {REMOVES}"
ASK = "What to write instead: python manage.py safemigrations lint"


@pytest.fixture
def grown(project):
    project.write_models("shop", BOOK)
    project.manage("makemigrations").check()
    project.manage("migrate").check()
    project.write_migration("shop", "0002_next", NEXT.format(decided=""))
    return project


@pytest.mark.parametrize("command", ["migrate --plan", "migrate"])
def test_a_line_for_each(grown, command):
    lines = grown.manage(*command.split()).check().lines
    unsafe = [line for line in lines if line.startswith("Unsafe")]
    assert unsafe[0] == SAID
    assert [line.rpartition(" ")[2] for line in unsafe[1:]] == ["(safemigrations.E210)", "(safemigrations.E200)"]
    assert lines.count(ASK) == 1
    if command == "migrate":
        assert lines.index(SAID) < lines.index("  Applying shop.0002_next... OK")
        assert "Unsafe" not in grown.manage("migrate").check().stdout


def test_nothing_of_what_is_decided_taken_back_or_new(grown):
    reasons = {f"safemigrations.{number}": "a small table" for number in ("E020", "E200", "E210")}
    decided = f"    allow_unsafe = {reasons!r}\n"
    grown.write_migration("shop", "0002_next", NEXT.format(decided=decided))
    assert "Unsafe" not in grown.manage("migrate").check().stdout
    grown.write_migration("shop", "0002_next", NEXT.format(decided=""))
    assert "Unsafe" not in grown.manage("migrate", "shop", "0001").check().stdout
    grown.manage("migrate", "shop", "zero").check()
    grown.sql("DELETE FROM django_migrations")
    assert "Unsafe" not in grown.manage("migrate").check().stdout


def words(text: str) -> str:
    """On one line, whatever each command puts before its lines."""
    return " ".join(text.replace("HINT:", "").split())


def test_the_checks_lint_and_makemigrations_say_the_same(project):
    """A change that is written all the same, as nobody can make it safe."""
    project.write_models("shop", BOOK)
    project.manage("makemigrations").check()
    project.manage("migrate").check()
    project.write_models(
        "shop", BOOK.replace("title", "isbn = models.CharField(max_length=9, primary_key=True)\n    title")
    )
    written = project.manage("makemigrations", input="1\n'x'\n").check()
    assert "safemigrations.E020" in written.stderr
    linted = json.loads(project.manage("safemigrations", "lint", "--format", "json").stdout)
    assert linted
    checked, migrated = project.manage("check").stderr, project.manage("migrate", "--plan").stdout
    for finding in linted:
        assert words(finding["message"]) in words(written.stderr)
        assert words(finding["hint"]) in words(written.stderr)
        assert words(f"({finding['id']}) {finding['file']}:{finding['line']}: {finding['message']}") in words(checked)
        assert words(finding["hint"]) in words(checked)
        assert words(finding["message"]) in words(migrated)
