"""How long the commands take in a project with a long history.

Each round runs all sides one after the other. The quickest of many rounds is the one that nothing else on the machine
disturbed; medians tell how much did.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import psycopg

from .bench_project import MODEL, Project, Side, Took

ROUNDS = 21  # of a command that takes half a second; a machine that does other things, too, needs many
COMMANDS = {
    "migrate, fresh database": ("migrate", "-v0"),
    "migrate, nothing to do": ("migrate", "-v0"),
    "makemigrations --check": ("makemigrations", "--check", "-v0"),
    "check": ("check",),
}


def generated(count: int) -> Iterator[str]:
    """Models of one release after the other: tables, fields, indexes; each release is a migration."""
    models: dict[int, int] = {}
    for release in range(count):
        number = release // 5
        models[number] = release % 5
        yield "\n".join(
            MODEL.format(
                number=number,
                extra="".join(
                    f"    extra_{i} = models.CharField(max_length=20, default='x{i}')\n" for i in range(extras)
                ),
            )
            for number, extras in models.items()
        )


def history(project: Project, count: int) -> None:
    """Write `count` migrations by makemigrations, in one process."""
    sources = project.folder / "releases"
    sources.mkdir()
    for number, source in enumerate(generated(count)):
        (sources / f"{number:04}.py").write_text(source)
    project.folder.joinpath("write_history.py").write_text(
        "import django, pathlib, shutil, subprocess, sys\n"
        "for source in sorted(pathlib.Path('releases').glob('*.py')):\n"
        "    shutil.copy(source, 'shop/models.py')\n"
        "    if not __import__('os').fork():\n"
        "        django.setup()\n"
        "        from django.core.management import call_command\n"
        "        call_command('makemigrations', 'shop', verbosity=0, interactive=False)\n"
        "        __import__('os')._exit(0)\n"
        "    __import__('os').wait()\n"
    )
    environment = {**project.environment, "PYTHONDONTWRITEBYTECODE": "1"}
    subprocess.run(
        [sys.executable, "-W", "ignore", "write_history.py"], cwd=project.folder, env=environment, check=True
    )


def compare(folder: Path, dsn: str, sides: Sequence[Side], count: int) -> None:
    projects = [Project(folder, dsn, side, "history") for side in sides]
    for project in projects:
        project.manage("check")
        history(project, count)
        written = len(list((project.folder / "shop" / "migrations").glob("0*.py")))
        print(f"  {project.side.name}: {written} migrations")
    for what, arguments in COMMANDS.items():
        fresh = what == "migrate, fresh database"
        rounds = []
        for _ in range(5 if fresh else ROUNDS):
            if fresh:
                for project in projects:
                    recreate(project)
            rounds.append([project.manage(*arguments) for project in projects])
        report(what, sides, rounds)
    changes = [makemigrations_with_changes(projects) for _ in range(ROUNDS)]
    report("makemigrations, 40 changes", sides, changes)


def recreate(project: Project) -> None:
    with psycopg.connect(project.dsn, autocommit=True) as connection:
        connection.execute(f'DROP DATABASE "{project.name}" WITH (FORCE)')
        connection.execute(f'CREATE DATABASE "{project.name}"')


def makemigrations_with_changes(projects: Sequence[Project]) -> list[Took]:
    took = []
    for project in projects:
        models = project.folder / "shop" / "models.py"
        before = models.read_text()
        models.write_text(before.replace("max_length=50, db_index=True", "max_length=50"))
        took.append(project.manage("makemigrations", "--dry-run", "-v0"))
        models.write_text(before)
    return took


def report(what: str, sides: Sequence[Side], rounds: Sequence[Sequence[Took]]) -> None:
    """Seconds of the first side, and how many times as long each of the others took."""
    for kind in Took._fields:
        times = [[getattr(took, kind) for took in of_side] for of_side in zip(*rounds, strict=True)]
        least, medians = ([how(each) for each in times] for how in (min, statistics.median))
        ratios = "".join(
            f"   {side.name} {quick / least[0]:.2f}, of medians {median / medians[0]:.2f}"
            for side, quick, median in list(zip(sides, least, medians, strict=True))[1:]
        )
        print(f"  {what:<27} {kind:<5} {sides[0].name} {least[0]:6.3f} s{ratios}", flush=True)
