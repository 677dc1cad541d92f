"""What migrate refuses because of the migrations alone is said by makemigrations and the checks, in the same words."""

from __future__ import annotations

import pytest
from django.db import models
from django.db.migrations import Migration
from django.db.migrations.operations.base import Operation

from safemigrations.checking.finding import Report
from safemigrations.checking.findings import read_migration
from safemigrations.checking.refused import Refusing
from safemigrations.errors import StepFailed
from safemigrations.operations import (
    AddFieldNullableThenBackfill,
    AlterFieldConcurrently,
    DropDefaultLater,
    ExpandAlterField,
    SetNotNullLater,
)
from safemigrations.typed import set_on

from .cases import base, ours, state_after
from .representatives import forms_of_plans, representatives
from .shop import Shop
from .test_rename_field import TOGETHER, with_extra

PAGE = """
class Customer(models.Model):
    {name} = models.CharField(max_length=50)
    code = models.CharField(max_length=10{more})
"""
BEFORE = PAGE.format(name="name", more="")
AFTER = PAGE.format(name="full_name", more=', db_column="name"')
NEEDED = (
    "needs the column name of shop_customer in its contract (drop the twin full_name of shop_customer; name is called "
    "full_name then), and another of its operations takes or changes that name. Nothing was changed. Put the two "
    "operations into two migrations, and run migrate --contract between them."
)
RENAMED = """from django.db import models
from django.db.migrations import Migration
from django.db.migrations.operations.base import Operation

from safemigrations.operations import AddFieldWithDefault, ExpandRename
from django.db import migrations


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("shop", "0001_initial")]
    operations = [
        ExpandRename("customer", "name", "full_name"),
        AddFieldWithDefault("customer", "name", models.TextField(default="")),
    ]
"""


def test_another_field_takes_the_old_name_of_one_that_is_renamed(project):
    project.write_models("shop", BEFORE)
    project.manage("makemigrations", "shop").check()
    project.manage("migrate").check()
    project.write_models("shop", AFTER)
    written = project.manage("makemigrations", "shop", input="y\n")
    assert written.returncode == 1
    assert NEEDED in written.stderr
    assert written.stderr.endswith(
        "makemigrations wrote nothing. Take the one of the two changes out of models.py, run makemigrations, roll that "
        "out and run migrate --contract; then make the other.\n"
    )
    assert project.migration_files("shop") == ["0001_initial"]
    project.write_migration("shop", "0002_names", RENAMED)
    for command in ("check",), ("safemigrations", "lint"), ("migrate",):
        said = project.manage(*command)
        assert said.returncode == 1
        assert f"shop.0002_names {NEEDED}" in said.stdout + said.stderr


def one_file(*operations: Operation) -> Migration:
    migration = Migration("0002", "shop")
    set_on(migration, operations=list(operations), atomic=False)
    return migration


@pytest.mark.parametrize("what", TOGETHER)
def test_the_checks_say_what_the_runner_says(database, what):
    first, second, _ = TOGETHER[what]
    shop = Shop(database, with_extra(models.IntegerField()))
    migration = one_file(first, second)
    found = Report()
    read_migration(migration, shop.state.clone(), set(), [], found)
    said = {finding.message for finding in found.findings if finding.id == "safemigrations.E092"}
    with pytest.raises(StepFailed) as caught:
        shop.migrate(first, second)
    assert said == {str(caught.value)}


EXTRA = models.IntegerField(null=True)
NO_PLAN = {
    "an expression over a field that isn't there": AddFieldNullableThenBackfill(
        "book", "more", models.IntegerField(), backfill=models.F("missing")
    ),
    "an index and another type": AlterFieldConcurrently("book", "extra", models.TextField(null=True, db_index=True)),
    "no type and an index": ExpandAlterField("book", "extra", models.IntegerField(null=True, db_index=True)),
    "not null and an index": SetNotNullLater("book", "extra", models.IntegerField(db_index=True), backfill=1),
    "a default that goes, and null": DropDefaultLater("book", "extra", models.IntegerField()),
}


@pytest.mark.parametrize("what", NO_PLAN)
def test_an_operation_that_does_not_make_its_change(database, what):
    shop = Shop(database, with_extra(EXTRA))
    found = Report()
    read_migration(one_file(NO_PLAN[what]), shop.state.clone(), set(), [], found)
    said = {finding.message for finding in found.findings if finding.id == "safemigrations.E092"}
    with pytest.raises((ValueError, StepFailed)) as caught:
        shop.migrate(NO_PLAN[what])
    assert said == {str(caught.value)}


def test_no_change_that_makemigrations_writes_is_refused():
    for case in representatives(forms_of_plans):
        found, asked = Report(), Refusing()
        state = state_after([base()])
        for migration in ours(case):
            assert list(asked.refused(migration, state)) == [], case
            read_migration(migration, state, set(), [], found)
        assert [finding for finding in found.findings if finding.id == "safemigrations.E092"] == [], case
