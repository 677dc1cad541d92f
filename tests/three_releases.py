"""Three releases of a shop, each a tree of its own on one database, as a team has them in three images.

The first has items with a name and a note. The second adds size and removes note. The third calls the name title.
"""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

from .project import Project

MIGRATIONS = {
    "0001_initial": """
        migrations.CreateModel("Item", [
            ("id", models.BigAutoField(primary_key=True, auto_created=True, serialize=False, verbose_name="ID")),
            ("name", models.CharField(max_length=10)),
            ("note", models.TextField()),
        ]),
    """,
    "0002_size": """
        AddFieldWithDefault("item", "size", models.IntegerField(default=0)),
        RemoveFieldLater("item", "note"),
    """,
    "0003_title": """
        ExpandRename("item", "name", "title"),
    """,
}
MODELS = {
    1: "name = models.CharField(max_length=10)\n    note = models.TextField()",
    2: "name = models.CharField(max_length=10)\n    size = models.IntegerField(default=0)",
    3: "title = models.CharField(max_length=10)\n    size = models.IntegerField(default=0)",
}
NAMES = list(MIGRATIONS)


def tree(folder: Path, dsn: str, number: int, **settings: Any) -> Project:
    """The code of a release; `settings` as for Project, with SAFEMIGRATIONS["RELEASE"] set to v1, v2 or v3."""
    ours = {"RELEASE": f"v{number}", **settings.pop("SAFEMIGRATIONS", {})}
    project = Project(folder / f"v{number}", dsn, SAFEMIGRATIONS=ours, **settings)
    project.write_models("shop", f"class Item(models.Model):\n    {MODELS[number]}\n")
    for before, name in zip([None, *NAMES], NAMES[:number], strict=False):
        project.write_migration("shop", name, migration(MIGRATIONS[name], before))
    return project


def trees(folder: Path, dsn: str, **settings: Any) -> list[Project]:
    return [tree(folder, dsn, number, **dict(settings)) for number in MODELS]


def migration(operations: str, after: str | None, *, replaces: list[tuple[str, str]] | None = None) -> str:
    """The text of a migration file of the shop."""
    body = textwrap.indent(textwrap.dedent(operations).strip(), " " * 8)
    dependencies = [("shop", after)] if after else []
    return (
        "from django.db import migrations, models\n"
        "from safemigrations.operations import AddFieldWithDefault, ExpandRename, RemoveFieldLater\n\n\n"
        "class Migration(migrations.Migration):\n"
        f"    atomic = {after is None}\n    initial = {after is None}\n"
        f"    replaces = {replaces or []}\n    dependencies = {dependencies}\n    operations = [\n{body}\n    ]\n"
    )
