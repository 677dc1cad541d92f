"""What a developer changes by hand in the migration that makemigrations wrote."""

from __future__ import annotations

import difflib
import re
import shutil
from collections.abc import Mapping
from pathlib import Path

CAREFUL = Path(__file__).parent / "careful"

FILL = """\
from django.contrib.postgres.functions import RandomUUID
from django.db import migrations
from django.db.models import F


def fill(apps, schema_editor):
    orders = apps.get_model("shop", "Order").objects.using(schema_editor.connection.alias)
    orders.update(total=F("subtotal") + F("shipping"), public_id=RandomUUID())


class Migration(migrations.Migration):
    dependencies = [("shop", "{previous}")]
    operations = [migrations.RunPython(fill, migrations.RunPython.noop)]
"""
UNIQUE = """\
import uuid

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("shop", "0003_fill")]
    operations = [
        migrations.AlterField("order", "public_id", models.UUIDField(default=uuid.uuid4, unique=True)),
    ]
"""


def edit_stock(migration: Path) -> None:
    """Follow "Migrations that add unique fields" in Django's documentation: every row needs another value."""
    _replace(migration, r"default=uuid.uuid4, unique=True", "default=uuid.uuid4, null=True")
    migration.with_name("0003_fill.py").write_text(FILL.format(previous=migration.stem))
    migration.with_name("0004_unique.py").write_text(UNIQUE)


def edit_carefully(migration: Path) -> None:
    """What a good team does: defaults in the database, indexes beside the writers, batches, a second release."""
    migration.unlink()
    shutil.copytree(CAREFUL, migration.parent, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))


def edit_safe(migration: Path) -> None:
    name = "AddFieldNullableThenBackfill"
    _replace(migration, r"import (\(\s+)?AddFieldWithDefault", rf"import \1{name}, AddFieldWithDefault")
    _replace(
        migration,
        r"AddFieldWithDefault(\(\s+model_name=.order.,\s+name=.total.,\s+field=.*\n)",
        rf"{name}\1            backfill=models.F('subtotal') + models.F('shipping'),\n",
    )


def written_by_hand(before: Mapping[str, str], after: Mapping[str, str]) -> int:
    """Lines of the files after that aren't in those of the same name before."""
    return sum(
        line.startswith("+") and line != "+"
        for name, text in after.items()
        for line in list(difflib.unified_diff(before.get(name, "").splitlines(), text.splitlines(), lineterm=""))[2:]
    )


def _replace(migration: Path, pattern: str, by: str) -> None:
    source, count = re.subn(pattern, by, migration.read_text())
    if count != 1:
        raise ValueError(f"The demo can't edit {migration.name}: {pattern} is there {count} times.")
    migration.write_text(source)
