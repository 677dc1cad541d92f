"""A rehearsal finds faults in our own operations: each is put in on purpose.

In the default run some stand for all; where SAFEMIGRATIONS_TEST_ONE_IN is 1, as in the matrix, each is tried.
"""

from __future__ import annotations

import pytest

from . import mutations
from .mutations import MUTATIONS, Mutation
from .project import Project
from .rehearsed import commit, rehearse
from .representatives import ONE_IN

MODELS = """
class Customer(models.Model):
    name = models.CharField(max_length=50)


class Tag(models.Model):
    name = models.CharField(max_length=9)


class Order(models.Model):
    customer = models.ForeignKey(Customer, models.CASCADE)
    number = models.CharField(max_length=20)
    pages = models.IntegerField(default=1)
    note = models.TextField(null=True)
    remark = models.CharField(max_length=9)
    total = models.IntegerField(default=1)
"""
FEW = ["backfill before trigger"]


@pytest.fixture
def released(project: Project) -> Project:
    """A shop in git, whose release is its branch main."""
    project.set(INSTALLED_APPS=["safemigrations", "shop", "tests.mutations.Mutated"])
    project.write_models("shop", MODELS)
    project.manage("makemigrations", "shop").check()
    commit(project)
    return project


def change(project: Project, mutation: Mutation) -> None:
    source = MODELS
    for old, new in mutation.models.items():
        assert old in source
        source = source.replace(old, new)
    project.write_models("shop", source)
    project.manage("makemigrations", "shop", "--name", "change", input=mutation.answers).check()
    assert mutation.operation in project.read_migration("shop", "0002_change")


@pytest.mark.parametrize("name", MUTATIONS if ONE_IN == 1 else FEW)
def test_a_fault_is_found_where_it_was_put(released, name, monkeypatch):
    change(released, MUTATIONS[name])
    monkeypatch.setenv(mutations.VARIABLE, name)
    status, found = rehearse(released)
    assert status == 1
    causes = {finding["cause"]["description"].partition("(")[0] for finding in found["findings"] if finding["cause"]}
    assert MUTATIONS[name].operation in causes, found["findings"]


def changes() -> dict[str, str]:
    """One mutation for each change that any of them is about."""
    return {mutation.operation + str(mutation.models): name for name, mutation in MUTATIONS.items()}


@pytest.mark.parametrize("name", changes().values() if ONE_IN == 1 else FEW[:1])
def test_without_the_fault_nothing_is_found(released, name):
    change(released, MUTATIONS[name])
    status, found = rehearse(released)
    assert (status, found["findings"]) == (0, [])
