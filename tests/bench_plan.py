"""Does the real time of a step lie within the range that the plan says before?

    python -m tests.bench_plan [rows ...]

makes a table for each number of rows (a million, three and ten without any), lets a first release have them, and brings
two more: the first is planned by samples, the second by what the first took. Each step whose time depends on the table
is compared with its range.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from statistics import quantiles
from typing import Any, NamedTuple

from safemigrations.inspecting import amounts
from testproject.postgres import server

from .project import Project

ROWS = (1_000_000, 3_000_000, 10_000_000)
MODEL = """class {name}(models.Model):
    first = models.IntegerField({first})
    second = models.IntegerField({second})
    note = models.TextField({note})
    remark = models.TextField({remark})
    code = models.TextField({code})

    class Meta:
        constraints = ({checks})


"""
CHECK = 'models.CheckConstraint(condition=models.Q({column}__gte=0), name="{name}_{column}"), '
NULL, FILLED, INDEXED = "null=True", "default=''", "db_index=True"
BOTH = ("first", "second")
RELEASES = (
    {"first": "", "second": "", "note": NULL, "remark": NULL, "code": "", "checks": ()},
    {"first": INDEXED, "second": "", "note": FILLED, "remark": NULL, "code": INDEXED, "checks": ("first",)},
    {
        "first": INDEXED,
        "second": INDEXED,
        "note": FILLED,
        "remark": FILLED,
        "code": INDEXED,
        "checks": ("first", "second"),
    },
)
FILL = (
    "INSERT INTO shop_{table} (first, second, note, remark, code) SELECT i, i::bigint * 7919 % 1000003,"
    " CASE WHEN i % 2 = 0 THEN 'note' END, CASE WHEN i % 2 = 0 THEN 'remark' END, md5(i::text)"
    " FROM generate_series(1, {rows}) i"
)


def models(tables: dict[str, int], release: dict[str, Any]) -> str:
    parts = []
    for name in tables:
        checks = "".join(CHECK.format(column=column, name=name) for column in release["checks"])
        parts.append(MODEL.format(**{**release, "name": name.title(), "checks": checks}))
    return "".join(parts)


def ranges(project: Project) -> dict[str, Any]:
    """The steps whose time is expected, by their sentence."""
    plan = json.loads(project.manage("safemigrations", "plan", "--format", "json").check().stdout)
    steps = (step for one in plan["migrations"] for operation in one["operations"] for step in operation["steps"])
    return {step["why"]: step for step in steps if step["seconds"]}


def took(project: Project, known: set[str]) -> Iterator[tuple[str, float]]:
    """The steps that were done since, and their seconds without waits for locks."""
    runs = json.loads(project.manage("safemigrations", "history", "--last", "0", "--format", "json").check().stdout)
    for run in runs["runs"]:
        for step in run["steps"]:
            if step["ended_at"] not in known:
                known.add(step["ended_at"])
                yield step["label"], step["seconds"] - step["waited"]


class Compared(NamedTuple):
    is_within: bool
    ratio: float  # of the end of the range to its beginning
    has_history: bool


def act(project: Project, known: set[str], *command: str) -> Iterator[Compared]:
    """Plan, do it, compare each step."""
    expected = ranges(project)
    project.manage(*command).check()
    for label, seconds in took(project, known):
        if label in expected:
            step = expected[label]
            low, high = step["seconds"]
            one = Compared(
                low <= seconds <= high,
                high / low if low else float("inf"),
                step["seconds_from"].startswith("from earlier steps"),
            )
            time = (
                f"{amounts.span(low, high)}, took {amounts.seconds(seconds)}{'' if one.is_within else ', NOT WITHIN'}"
            )
            print(f"  {step['rows']:>12,}  {step['work']:<20} {time:<40} {step['seconds_from']}  {label}", flush=True)
            yield one


def summary(compared: list[Compared]) -> Iterator[str]:
    yield f"{sum(one.is_within for one in compared)} of {len(compared)} steps took what was said before."
    for what, has_history in (("with history", True), ("without", False)):
        ratios = sorted(one.ratio for one in compared if one.has_history is has_history)
        if len(ratios) > 1:
            quarters = ", ".join(f"{ratio:.1f}" for ratio in quantiles(ratios, n=4))
            yield f"{what}: a range ends at so many times where it begins (quartiles of {len(ratios)}): {quarters}"


def main(rows: list[int]) -> None:
    tables = {f"item{number}": number for number in rows}
    with server() as dsn, tempfile.TemporaryDirectory() as folder:
        project, known, compared = Project(Path(folder), dsn), set[str](), list[Compared]()
        for number, release in enumerate(RELEASES):
            project.write_models("shop", models(tables, release))
            project.manage("makemigrations", "--name", f"release{number}").check()
            if number == 0:
                project.manage("migrate").check()
                for table, count in tables.items():
                    project.sql(FILL.format(table=table, rows=count))
                project.sql("VACUUM ANALYZE")
                continue
            print(f"Release {number}", flush=True)
            compared += act(project, known, "migrate")
            compared += act(project, known, "migrate", "--contract")
        print("\n".join(summary(compared)))


if __name__ == "__main__":
    main([int(each) for each in sys.argv[1:]] or list(ROWS))
