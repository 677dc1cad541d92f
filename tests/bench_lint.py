"""How long the checks take over many migrations that people wrote by hand, and how much memory.

    python -m tests.bench_lint [migrations ...]

makes a project of so many migrations (1,200 and 2,400 without any), a third each with SQL, with Python, and with
operations of Django, has `safemigrations lint` read all of them, and compares that with what Django takes to load them.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

COUNTS = (1_200, 2_400)
APART = 20  # migrations from one new model to the next
SETTINGS = """
SECRET_KEY = "bench"
INSTALLED_APPS = ["safemigrations", "shop"]
DATABASES = {"default": {"ENGINE": "django.db.backends.postgresql", "NAME": "bench"}}
SAFEMIGRATIONS = {"BASELINE": {}}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
"""
MODEL = """migrations.CreateModel("{model}", [
            ("id", models.BigAutoField(primary_key=True)),
            ("a", models.CharField(max_length=9, null=True)),
            ("b", models.IntegerField(null=True)),
        ])"""
SQL = '''migrations.RunSQL("""
            UPDATE shop_{table} SET a = 'x' WHERE a IS NULL;
            CREATE INDEX i{number} ON shop_{table} (a, b);
            ALTER TABLE shop_{table} ADD CONSTRAINT c{number} CHECK (b > 0) NOT VALID;
        """, "")'''
STOCK = 'migrations.AddIndex("{model}", models.Index(fields=["b"], name="b{number}"))'
FUNCTION = """
def fill(apps, schema_editor):
    Model = apps.get_model("shop", "{model}")
    for row in Model.objects.filter(a=None):
        row.a = "x"
        row.save()


def back(apps, schema_editor):
    pass
"""
FILE = """\
from django.db import migrations, models

{function}
class Migration(migrations.Migration):
    dependencies = {dependencies}
    operations = [
        {operation},
    ]
"""
# What a process of its own measures, in seconds of the processor and in MB: loading, and then the command.
MEASURED = """
import os, resource, sys, time
sys.path.insert(0, ".")
os.environ["DJANGO_SETTINGS_MODULE"] = "settings"
import django
from django.core.management import CommandError, call_command
from django.db.migrations.loader import MigrationLoader

django.setup()
began = time.process_time()
if sys.argv[1] == "load":
    MigrationLoader(None)
else:
    try:
        call_command("safemigrations", "lint", stdout=open(os.devnull, "w"))
    except CommandError:
        pass
print(time.process_time() - began, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


def files(number: int) -> Iterator[tuple[str, str]]:
    """The names and texts of so many migrations, one behind the other."""
    before = ""
    for at in range(number):
        name, model = f"{at + 1:04}_step", f"M{at // APART}"
        operation = MODEL if at % APART == 0 else (SQL, "migrations.RunPython(fill, back)", STOCK)[at % 3]
        yield (
            name,
            FILE.format(
                function=FUNCTION.format(model=model) if "RunPython" in operation else "",
                dependencies=[("shop", before)] if before else [],
                operation=operation.format(model=model, table=model.lower(), number=at),
            ),
        )
        before = name


def write(folder: Path, number: int) -> None:
    """A project of one app."""
    migrations = folder / "shop" / "migrations"
    migrations.mkdir(parents=True)
    for path in (folder / "shop" / "__init__.py", folder / "shop" / "models.py", migrations / "__init__.py"):
        path.touch()
    (folder / "settings.py").write_text(SETTINGS)
    for name, text in files(number):
        (migrations / f"{name}.py").write_text(text)


def measured(folder: Path, what: str) -> tuple[float, float]:
    """Seconds and MB; the files have been compiled before, as they are when a second command runs."""
    command = [sys.executable, "-c", MEASURED, what]
    for _ in range(2):
        done = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)
    seconds, size = done.stdout.split()
    return float(seconds), float(size)


def main(counts: list[int]) -> None:
    sys.stdout.write("migrations  loading, s  lint, s  times as long  lint, MB\n")
    for number in counts or COUNTS:
        with tempfile.TemporaryDirectory() as name:
            write(Path(name), number)
            loading, _ = measured(Path(name), "load")
            seconds, size = measured(Path(name), "lint")
        sys.stdout.write(f"{number:10}  {loading:10.2f}  {seconds:7.2f}  {seconds / loading:13.1f}  {size:8.0f}\n")


if __name__ == "__main__":
    main([int(each) for each in sys.argv[1:]])
