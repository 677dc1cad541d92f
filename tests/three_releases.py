"""Three releases of a shop, each a tree of its own on one database, as a team has them in three images.

The first has items with a name and a note. The second adds size and removes note. The third calls the name title.
"""

from __future__ import annotations

import os
import textwrap
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

from psycopg.conninfo import make_conninfo

from .conftest import create_database, drop_database
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


def squash(second: Project, *, replaces: bool) -> Project:
    """The release after the second, in which its two migrations are one; called "squashed", and later "pruned"."""
    label = "squashed" if replaces else "pruned"
    project = tree(second.folder.parent / label, second.dsn, 2, SAFEMIGRATIONS={"RELEASE": label})
    for name in NAMES[:2]:
        (project.folder / "shop" / "migrations" / f"{name}.py").unlink()
    operations = "".join(MIGRATIONS[name] for name in NAMES[:2])
    text = migration(operations, None, replaces=[("shop", name) for name in NAMES[:2] if replaces])
    project.write_migration("shop", "0001_squash", text)
    return project


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


# Databases.


def dsn_of(name: str) -> str:
    return make_conninfo(os.environ["SAFEMIGRATIONS_TEST_DSN"], dbname=name)


@contextmanager
def new_database(template: str = "template1") -> Iterator[str]:
    """The name of a database that is dropped in the end."""
    name = f"safemigrations_three_{uuid4().hex}"
    create_database(name, template)
    try:
        yield name
    finally:
        drop_database(name)


class Stages:
    """Databases that releases have come to: "v1", "v2" and "v3" expanded, "v2 contracted"; each made when asked for."""

    BEFORE = {"v2": "v1", "v3": "v2", "v2 contracted": "v2"}

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.folder, self.stack = folder, stack
        self.made = {"": "template1"}

    def template(self, stage: str) -> str:
        if stage not in self.made:
            name = self.stack.enter_context(new_database(self.template(self.BEFORE.get(stage, ""))))
            project = tree(self.folder / name, dsn_of(name), int(stage[1]))
            more = ["--contract", "--noinput"] if stage.endswith("contracted") else []
            project.manage("migrate", *more).check()
            self.made[stage] = name
        return self.made[stage]
