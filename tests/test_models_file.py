"""What makemigrations writes into models.py, after it has asked."""

from __future__ import annotations

import pytest

from safemigrations.hooks.models_file import edited
from safemigrations.operations.rule import Option

OPTION = Option("order", "key", "db_column", "id", (), "")
PAGE = "class Order(models.Model):\n    {}\n\n\nclass Other(models.Model):\n    key = models.TextField()\n"


@pytest.mark.parametrize(
    ("field", "wanted"),
    [
        ("key = models.TextField()", 'key = models.TextField(db_column="id")'),
        ("key = models.CharField(max_length=9)", 'key = models.CharField(max_length=9, db_column="id")'),
        (
            'key: str = CharField("schön", max_length=9,)',
            'key: str = CharField("schön", max_length=9, db_column="id",)',
        ),
        (
            "key = models.CharField(\n        max_length=9,  # why\n    )",
            'key = models.CharField(\n        max_length=9, db_column="id",  # why\n    )',
        ),
        ("key = Field(\n    )", 'key = Field(\n    db_column="id")'),
    ],
)
def test_the_option_becomes_the_last_argument(field, wanted):
    assert edited(PAGE.format(field), OPTION) == PAGE.format(wanted)


@pytest.mark.parametrize(
    "field",
    [
        "pass",
        "key = make()[0]",
        'key = models.TextField(db_column="other")',
        "key = models.CharField((9))",
        "key = models.CharField(**options)\n    key = models.CharField()",
        "key = (",
    ],
)
def test_what_has_no_such_place_is_left_alone(field):
    assert edited(PAGE.format(field), OPTION) == ""


BEFORE = """
class Order(models.Model):
    code = models.CharField(max_length=9, primary_key=True)
    number = models.IntegerField()
"""
AFTER = """
class Order(models.Model):
    key = models.CharField(max_length=9, primary_key=True)
    number = models.CharField(max_length=9)
"""
KEY = (
    'The column of order.key can\'t be renamed while two releases run. Keep it, and write db_column="code" into '
    "models.py, so that only Python's name changes? [y/N]"
)
TYPE = (
    "No column can be of both types of order.number while two releases run. Give the new type a column of its own, and "
    'write db_column="number_varchar" into models.py? [y/N]'
)


@pytest.fixture
def grown(project):
    project.write_models("shop", BEFORE)
    project.manage("makemigrations", "shop").check()
    project.manage("migrate").check()
    project.sql("INSERT INTO shop_order VALUES ('a', 7)")
    project.write_models("shop", AFTER)
    return project


def models_of(project) -> str:
    text: str = (project.folder / "shop/models.py").read_text()
    return text


def test_a_key_keeps_its_column_and_a_new_type_gets_one(grown):
    written = grown.manage("makemigrations", "shop", input="y\ny\ny\n").check().stdout
    assert KEY in written
    assert TYPE in written
    assert '    key = models.CharField(max_length=9, primary_key=True, db_column="code")\n' in models_of(grown)
    assert '    number = models.CharField(max_length=9, db_column="number_varchar")\n' in models_of(grown)
    grown.manage("makemigrations", "--check", "--dry-run").check()
    assert grown.manage("check").check().stdout == "System check identified no issues (0 silenced).\n"
    grown.migrate_and_contract()
    assert grown.sql("SELECT code, number_varchar FROM shop_order") == [("a", "7")]


@pytest.mark.parametrize("answers", ["y\nn\nn\n", "y\n"], ids=["a person says no", "nothing is written anyway"])
def test_models_py_stays_as_it_is(grown, answers):
    grown.manage("makemigrations", "shop", *(["--dry-run"] if answers == "y\n" else []), input=answers).check()
    assert models_of(grown).endswith(AFTER)
