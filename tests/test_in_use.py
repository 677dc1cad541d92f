"""A contract drops nothing that a model of the running code uses, and everything that none does."""

from __future__ import annotations

import pytest
from django.db import models

from safemigrations.contracts.held import freed_by
from safemigrations.contracts.in_use import users
from safemigrations.plans import claims

from .cases import CASES, base, ours, state_after
from .project import Project
from .representatives import planned

AUTHOR = "class Author(models.Model):\n    name = models.CharField(max_length=40)\n"
NOTE = "    note = models.CharField(max_length=9, null=True)\n"


@pytest.mark.parametrize("case", CASES, ids=repr)
def test_no_model_of_the_new_release_uses_what_its_contract_drops(case):
    after = state_after([base(), *ours(case)]).apps
    for one in planned(case):
        assert {claim: found for claim in freed_by(one.contract) if (found := users(claim, after, "default"))} == {}


def test_a_model_uses_its_table_its_columns_and_no_other():
    apps = state_after([base()]).apps
    order: type[models.Model] = apps.get_model("shop", "order")
    table = f'"{order._meta.db_table}"'
    assert users(claims.table(table), apps, "default") == [order._meta.label]
    assert users(claims.column(table, "id"), apps, "default") == [order._meta.label]
    assert users(claims.column(table, "nothing"), apps, "default") == []
    assert users(claims.index(table, "id"), apps, "default") == []


def test_a_field_that_comes_back_later_does_not_keep_the_contract_from_running(tmp_path, dsn):
    """The code is ahead: its migration can only be applied when the contract is done."""
    project = Project(tmp_path, dsn)
    for models_ in (AUTHOR + NOTE, AUTHOR):
        project.write_models("shop", models_)
        project.manage("makemigrations").check()
        project.manage("migrate").check()
    project.write_models("shop", AUTHOR + NOTE)
    project.manage("makemigrations").check()
    project.manage("migrate", "shop", "0002", "--contract", "--noinput").check()
    project.manage("migrate").check()
