"""The checks against the corpus: how many hazards they find, how often they cry wolf, which pairs they tell apart.

    DJANGO_SETTINGS_MODULE=tests.settings python -m tests.test_corpus

prints what they get wrong, and the line of docs/checks.md.
"""

from __future__ import annotations

import importlib.util
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import django
from django.db import migrations, models
from django.db.migrations.state import ProjectState

from safemigrations.checking import findings
from safemigrations.checking.finding import Report
from safemigrations.checking.same_release import created_by

from .corpus import Case, cases

PAGE = Path(__file__).resolve().parents[1] / "docs" / "checks.md"
KEY = ("id", models.BigAutoField(primary_key=True))
CUSTOMER: Any = models.ForeignKey("shop.Customer", models.CASCADE)
LOOSE: Any = models.ForeignKey("shop.Customer", models.CASCADE, null=True, related_name="+", db_constraint=False)
SHOP = [
    migrations.CreateModel("Customer", [KEY, ("name", models.CharField(max_length=50))]),
    migrations.CreateModel("Tag", [KEY, ("word", models.CharField(max_length=20))]),
    migrations.CreateModel(
        "Order",
        [
            KEY,
            ("customer", CUSTOMER),
            ("number", models.CharField(max_length=20, unique=True)),
            ("state", models.CharField(max_length=10, null=True)),
            ("note", models.TextField()),
            ("total", models.DecimalField(max_digits=8, decimal_places=2)),
            ("tax", models.DecimalField(max_digits=8, decimal_places=2)),
            ("pieces", models.IntegerField(null=True)),
            ("source", models.CharField(max_length=10, db_default="web")),
            ("placed", models.DateTimeField()),
            ("loose", LOOSE),
            ("tags", models.ManyToManyField("shop.Tag")),
        ],
        {
            "indexes": [models.Index(fields=["placed"], name="order_placed")],
            "constraints": [
                models.CheckConstraint(condition=models.Q(total__gte=0), name="order_total_positive"),
                models.CheckConstraint(condition=models.Q(pieces__isnull=False), name="order_pieces_known"),
                models.UniqueConstraint(fields=["customer", "state"], name="order_once"),
            ],
        },
    ),
]

OF_DJANGO = migrations.CreateModel(
    "ContentType",
    [KEY, ("app_label", models.CharField(max_length=100)), ("model", models.CharField(max_length=100))],
    {"db_table": "django_content_type"},
)


def report(case: Case, folder: Path, number: int) -> Report:
    """What lint says of a case."""
    name = f"corpus_{number}"
    path = folder / f"{name}.py"
    path.write_text(case.source)
    for beside, text in case.files.items():
        (folder / beside).write_text(text)
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
        state = ProjectState()
        OF_DJANGO.state_forwards("contenttypes", state)
        for operation in SHOP:
            operation.state_forwards("shop", state)
        found = Report()
        migration = module.Migration("0002_case", "shop")
        findings.read_migration(migration, state, created_by(migration), [], found)
    finally:
        del sys.modules[name]
    return found


@cache
def verdicts() -> list[tuple[Case, Report]]:
    with tempfile.TemporaryDirectory() as folder:
        return [(case, report(case, Path(folder), number)) for number, case in enumerate(cases())]


def is_alarm(found: Report) -> bool:
    """A note is none: it says that the harm is small, or that nobody has looked."""
    return any(finding.level != "note" for finding in found.findings)


def score() -> str:
    said = [(case, is_alarm(found)) for case, found in verdicts()]
    hazards = [alarm for case, alarm in said if case.hazard]
    twins = [alarm for case, alarm in said if not case.hazard]
    apart = sum(one and not other for one, other in zip(hazards, twins, strict=True))
    return (
        f"{len(said)} cases: {sum(hazards)} of {len(hazards)} hazards found, {sum(twins)} false alarms of "
        f"{len(twins)}, {apart} of {len(hazards)} pairs told apart."
    )


def test_the_score_is_the_one_in_the_docs():
    assert score() in " ".join(PAGE.read_text().split())


def test_the_corpus_is_large_enough_to_tell():
    assert len(verdicts()) >= 150
    assert sum(case.hazard for case, _ in verdicts()) * 2 == len(verdicts())


def test_what_is_missed_is_at_least_said_to_be_not_understood():
    assert [case.name for case, found in verdicts() if case.hazard and not is_alarm(found) and not found.unread] == []


def wrong() -> str:
    """What the checks get wrong, a line each."""
    lines = [
        f"{'missed' if case.hazard else 'false alarm'}: {case.name} {[one.id for one in found.everything]}"
        for case, found in verdicts()
        if case.hazard != is_alarm(found)
    ]
    return "\n".join([*lines, score()])


if __name__ == "__main__":
    django.setup()
    sys.stdout.write(f"{wrong()}\n")
