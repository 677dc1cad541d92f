"""Records a whole project as this version leaves it: files, and the database with open contracts and a backfill.

SAFEMIGRATIONS_TEST_PG=15 python -m pytest -n 0 tests/stored/record_project.py
"""

from __future__ import annotations

import re
from importlib.metadata import version

from tests.project import Project

from . import dumped, write_project

# What each release has in models.py, and what is answered to makemigrations.
FIRST = """class Customer(models.Model):
    name = models.CharField(max_length=50)


class Voucher(models.Model):
    code = models.CharField(max_length=20)


class Order(models.Model):
    number = models.IntegerField()
    note = models.CharField(max_length=50, default="")
    weight = models.IntegerField(default=0)
    amount = models.IntegerField(default=0)
    customer = models.ForeignKey(Customer, models.CASCADE, null=True)
"""
CONTRACTED = f"""{FIRST}    status = models.CharField(max_length=10, default="new", db_index=True)
"""
EXPANDED = """class Customer(models.Model):
    name = models.CharField(max_length=50)


class Order(models.Model):
    number = models.IntegerField(unique=True)
    remark = models.CharField(max_length=50, default="")
    amount = models.BigIntegerField(default=0)
    customer = models.ForeignKey(Customer, models.CASCADE)
    status = models.CharField(max_length=10, default="new", db_index=True)
    is_large = models.BooleanField(null=True)

    class Meta:
        constraints = [models.CheckConstraint(condition=models.Q(number__gt=0), name="order_number_positive")]
"""
LAST = EXPANDED.replace(", db_index=True)", ")\n    paid = models.BooleanField(default=False)")
FILL = """from django.db import migrations
from django.db.models import Q
from safemigrations.operations import Backfill


class Migration(migrations.Migration):

    atomic = False

    dependencies = [('shop', '{after}')]

    operations = [
        Backfill('order', set={{'is_large': False}}, where=Q(is_large=None), can_wait=True),
    ]
"""
ROWS = """
    INSERT INTO shop_customer (name) VALUES ('Ada'), ('Grace');
    INSERT INTO shop_voucher (code) VALUES ('V1');
    INSERT INTO shop_order (number, note, weight, amount, customer_id)
        SELECT n, 'note ' || n, n, n * 10, 1 + n % 2 FROM generate_series(1, 20) n;
"""
BY_OLD = "INSERT INTO shop_order (number, note, weight, amount, customer_id, status) VALUES (21, 'old', 7, 5, 1, 'new')"
BY_NEW = "INSERT INTO shop_order (number, remark, amount, customer_id, status) VALUES (22, 'new', 5, 2, 'new')"


def release(project: Project, models: str, name: str, answers: str = "") -> None:
    project.write_models("shop", models)
    project.manage("makemigrations", "shop", "--name", name, input=answers).check()


def loadable(dump: str) -> str:
    """PostgreSQL prints the comparison of 0.1.0's triggers in a way that it reads as another one."""
    condition = r"WHEN \(\(ROW\((.*?)\) \*<> ROW\((.*?)\)\)\) EXECUTE"
    return re.sub(condition, r"WHEN ((ROW(\1)::record *<> ROW(\2)::record)) EXECUTE", dump, flags=re.DOTALL)


def test_record(project: Project) -> None:
    project.set(SAFEMIGRATIONS={"BACKFILL_BATCH_SIZE": 5, "BACKFILL_INLINE_ROWS": 5})
    release(project, FIRST, "first")
    project.manage("migrate").check()
    project.sql(ROWS)
    project.sql("ANALYZE")
    release(project, CONTRACTED, "contracted")
    project.manage("migrate").check()
    project.manage("migrate", "--contract").check()
    before = dumped(project.dsn)

    release(project, EXPANDED, "expanded", "y\n2\n")
    names = project.migration_files("shop")
    project.write_migration("shop", f"{len(names) + 1:04}_fill", FILL.format(after=names[-1]))
    project.manage("migrate").check()
    project.sql(BY_OLD)
    project.sql(BY_NEW)
    expanded = loadable(dumped(project.dsn))
    release(project, LAST, "last")
    files = {name: project.read_migration("shop", name) for name in project.migration_files("shop")}
    write_project(version("safemigrations"), {"models": LAST, "files": files, "before": before, "expanded": expanded})
