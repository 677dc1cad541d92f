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


CHILD = Option("order", "key", "db_column", "id", (), "", 'key = models.OneToOneField(Deal, db_column="id")')
CLASS = "from django.db import models\n\n\nclass Order(Deal):\n    {}size = 1\n"


@pytest.mark.parametrize(
    ("said", "wanted"),
    [
        ("", f"{CHILD.field}\n    "),
        ('"""Of goods."""\n\n    ', f'"""Of goods."""\n    {CHILD.field}\n\n    '),
        ('"""Of\n    goods."""\n    ', f'"""Of\n    goods."""\n    {CHILD.field}\n    '),
    ],
)
def test_a_field_that_django_makes_becomes_the_first_of_its_class(said, wanted):
    assert edited(CLASS.format(said), CHILD) == CLASS.format(wanted)


@pytest.mark.parametrize(
    "source",
    ["class Order(Deal):\n    size = 1\n", "from django.db import models\n\n\nclass Order(Deal): size = 1\n"],
    ids=["not imported", "one line"],
)
def test_a_field_is_not_written_where_it_could_not_be_read(source):
    assert edited(source, CHILD) == ""


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


PARENT = """
class Order(models.Model):
    code = models.CharField(max_length=9)


class Gift(Order):
    note = models.TextField()
"""


def test_a_child_keeps_the_column_of_its_key_when_its_parent_is_renamed(project):
    project.write_models("shop", PARENT)
    project.manage("makemigrations", "shop").check()
    project.manage("migrate").check()
    project.sql("INSERT INTO shop_order (code) VALUES ('a')")
    project.sql("INSERT INTO shop_gift SELECT id, 'n' FROM shop_order")
    project.write_models("shop", PARENT.replace("Order", "Deal"))
    project.manage("makemigrations", "shop", input="y\ny\ny\n").check()
    assert (
        'class Gift(Deal):\n    deal_ptr = models.OneToOneField("shop.Deal", models.CASCADE, parent_link=True, '
        'primary_key=True, db_column="order_ptr_id")\n    note = '
    ) in models_of(project)
    project.manage("makemigrations", "--check", "--dry-run").check()
    assert project.manage("check").check().stdout == "System check identified no issues (0 silenced).\n"
    project.migrate_and_contract()
    assert project.sql("SELECT code, note FROM shop_deal JOIN shop_gift ON id = order_ptr_id") == [("a", "n")]


NUMBERED = """
class Order(models.Model):
    {}
"""


def test_a_key_that_django_made_keeps_its_column_under_another_name(project):
    """What the refusal says."""
    project.write_models("shop", NUMBERED.format("pass"))
    project.manage("makemigrations", "shop").check()
    project.write_models("shop", NUMBERED.format("number = models.BigAutoField(primary_key=True)"))
    assert 'another name, db_column="id" keeps its column' in project.manage("makemigrations", "--dry-run").stderr
    project.write_models("shop", NUMBERED.format('number = models.BigAutoField(primary_key=True, db_column="id")'))
    project.manage("makemigrations", "shop", input="y\n").check()
    assert "RenameField" in project.read_migration("shop", project.migration_files("shop")[-1])
    project.manage("makemigrations", "--check", "--dry-run").check()
    project.manage("check").check()
    project.migrate_and_contract()
