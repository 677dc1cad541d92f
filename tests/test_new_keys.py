"""A new model whose rows point at a table that is there: its foreign keys let go until the contract."""

from __future__ import annotations

import psycopg
import pytest

from .project import Project

OLD = "class Customer(models.Model):\n    name = models.CharField(max_length=9)\n\n\n"
NEW = (
    OLD
    + """
class Parcel(models.Model):
    customer = models.ForeignKey(Customer, models.PROTECT)
    payer = models.ForeignKey(Customer, models.SET_NULL, null=True, related_name="+")
    watchers = models.ManyToManyField(Customer, related_name="+")
    former = models.ForeignKey("self", models.CASCADE, null=True)


class Label(models.Model):
    parcel = models.ForeignKey(Parcel, models.CASCADE)
    owner = models.OneToOneField(Customer, models.CASCADE, primary_key=True)

    class Meta:
        indexes = [models.Index(fields=["parcel"], name="label_parcel")]


class Member(Customer):
    level = models.IntegerField()
"""
)
KEYS = """
    SELECT conrelid::regclass::text, confdeltype, convalidated FROM pg_constraint
    WHERE contype = 'f' AND confrelid = 'shop_customer'::regclass ORDER BY conname
"""
DJANGOS = [
    ("shop_label", "a", True),
    ("shop_member", "a", True),
    ("shop_parcel", "a", True),
    ("shop_parcel", "a", True),
    ("shop_parcel_watchers", "a", True),
]
ROWS = """
    INSERT INTO shop_parcel (customer_id, payer_id) VALUES (1, 2), (2, 3);
    INSERT INTO shop_parcel_watchers (parcel_id, customer_id) VALUES (2, 4), (2, 5);
    INSERT INTO shop_label (owner_id, parcel_id) VALUES (2, 2), (3, 2);
    INSERT INTO shop_member (customer_ptr_id, level) VALUES (4, 1), (5, 2);
"""


@pytest.fixture
def grown(project: Project) -> Project:
    project.write_models("shop", OLD)
    project.manage("makemigrations", "shop").check()
    return project


def add_models(project: Project) -> list[str]:
    """The texts of the files that are written; `check` finds nothing in them."""
    project.write_models("shop", NEW)
    project.manage("makemigrations", "shop", "--noinput").check()
    assert project.manage("check").check().stdout == "System check identified no issues (0 silenced).\n"
    project.manage("makemigrations", "--check", "--dry-run").check()
    return [project.read_migration("shop", name) for name in project.migration_files("shop")[1:]]


def test_the_old_release_may_delete_parents_until_the_contract(grown):
    grown.manage("migrate").check()
    grown.sql("INSERT INTO shop_customer (name) SELECT 'c' || n FROM generate_series(1, 5) n")
    tables, keys = add_models(grown)
    assert "atomic = False" not in tables
    assert keys.count("lets_go=True") == 4
    assert keys.count("AddFieldConcurrently(") == 1
    grown.manage("migrate").check()
    grown.sql(ROWS)
    grown.sql("DELETE FROM shop_customer WHERE id IN (1, 3, 4)")
    assert grown.sql("SELECT customer_id, payer_id FROM shop_parcel") == [(2, None)]
    assert grown.sql("SELECT customer_id FROM shop_parcel_watchers") == [(5,)]
    assert grown.sql("SELECT owner_id FROM shop_label") == [(2,)]
    assert grown.sql("SELECT customer_ptr_id FROM shop_member") == [(5,)]
    with pytest.raises(psycopg.errors.ForeignKeyViolation):
        grown.sql("INSERT INTO shop_parcel (customer_id) VALUES (99)")
    grown.manage("migrate", "--contract", "--noinput").check()
    assert grown.sql(KEYS) == DJANGOS
    with pytest.raises(psycopg.errors.ForeignKeyViolation):
        grown.sql("DELETE FROM shop_customer WHERE id = 2")
    grown.manage("safemigrations", "verify").check()
    grown.manage("migrate", "shop", "0001").check()
    assert grown.sql("SELECT to_regclass('shop_parcel'), to_regclass('shop_parcel_watchers')") == [(None, None)]
    grown.manage("safemigrations", "verify").check()


def test_going_back_before_the_contract_leaves_nothing(grown):
    grown.manage("migrate").check()
    add_models(grown)
    grown.manage("migrate").check()
    grown.manage("migrate", "shop", "0001").check()
    assert grown.sql("SELECT count(*) FROM safemigrations_contract") == [(0,)]
    grown.manage("safemigrations", "verify").check()


def test_on_a_new_database_the_keys_are_djangos_own_at_once(grown):
    add_models(grown)
    grown.manage("migrate").check()
    assert grown.sql(KEYS) == DJANGOS
    grown.manage("safemigrations", "verify").check()


def test_where_nothing_runs_yet_the_model_is_djangos_own(project):
    project.write_models("shop", NEW)
    project.manage("makemigrations", "shop", "--noinput").check()
    (name,) = project.migration_files("shop")
    assert "lets_go" not in project.read_migration("shop", name)
