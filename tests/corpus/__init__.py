"""Migrations written by hand from what PostgreSQL and Django do, each beside a twin that differs only in the hazard.

A case in a file of this folder:

    == what the pair is about: why the first one hurts
    atomic: no
    sql: a statement, one RunSQL a line
    op: an operation
    py: a line of the function that RunPython runs; Order and Customer are there
    attribute: a line of the class Migration
    top: a line at the top of the module
    file: the name of a file beside it, and its text
    twin
    sql: ...

`both` begins lines that stand in either. The labels come from the documentation of
PostgreSQL and from measurements, not from what the checks say.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

FOLDER = Path(__file__).parent


@dataclass
class Case:
    """One migration, as lines of its kinds."""

    name: str
    hazard: bool
    atomic: bool = True
    operations: list[str] = field(default_factory=list)
    body: list[str] = field(default_factory=list)
    attributes: list[str] = field(default_factory=list)
    top: list[str] = field(default_factory=list)
    files: dict[str, str] = field(default_factory=dict)

    def add(self, kind: str, text: str) -> None:
        if kind == "atomic":
            self.atomic = text != "no"
        elif kind == "sql":
            self.operations.append(f"migrations.RunSQL({text!r}, migrations.RunSQL.noop)")
        elif kind == "attribute":
            self.attributes.append(text)
        elif kind == "top":
            self.top.append(text)
        elif kind == "file":
            name, _, self.files[name] = text.partition(" ")
        elif kind == "op":
            self.operations.append(text)
        else:
            if not self.body:
                self.operations.append("migrations.RunPython(fill, migrations.RunPython.noop)")
            self.body.append(text)

    @property
    def source(self) -> str:
        function = "\n    ".join(self.body or ["pass"])
        attributes = "".join(f"    {line}\n" for line in (f"atomic = {self.atomic}", *self.attributes))
        listed = "".join(f"        {operation},\n" for operation in self.operations)
        top = "".join(f"{line}\n" for line in self.top)
        return (
            f"{HEAD}\n\n{top}def fill(apps, schema_editor):\n    {MODELS}\n    {function}\n\n\n"
            f"class Migration(migrations.Migration):\n{attributes}    operations = [\n{listed}    ]\n"
        )


HEAD = """\
import os
import time
import urllib.request
import uuid
from pathlib import Path
from django.apps import apps as global_apps
from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.postgres import operations as contrib
from django.contrib.postgres.constraints import ExclusionConstraint
from django.core import serializers
from django.core.management import call_command
from django.core.paginator import Paginator
from django.db import migrations, models, transaction
from django.db.models import F, Q
from safemigrations.operations import *


def elided_creates(apps, schema_editor):
    apps.get_model("shop", "Tag").objects.get_or_create(word="new")
"""
MODELS = 'Order = apps.get_model("shop", "Order"); Customer = apps.get_model("shop", "Customer")'


def cases() -> Iterator[Case]:
    for path in sorted(FOLDER.glob("*.txt")):
        for text in path.read_text().split("\n== ")[1:]:
            yield from _pair(path.stem, text)


def _pair(group: str, text: str) -> Iterator[Case]:
    title, *lines = text.strip().splitlines()
    name = f"{group}: {title.partition(':')[0]}"
    pair = Case(name, hazard=True), Case(f"{name}, twin", hazard=False)
    now: tuple[Case, ...] = pair[:1]
    for line in lines:
        if line in ("twin", "both"):
            now = pair[1:] if line == "twin" else pair
            continue
        kind, _, rest = line.partition(": ")
        for case in now:
            case.add(kind, rest)
    yield from pair
