"""What went wrong in which schema: one that fails doesn't keep the others from their turn."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from django.core.management.base import CommandError

from safemigrations.data import Data
from safemigrations.errors import NotNow, said_of


class Failure(Data):
    schema: str
    text: str
    status: int

    @classmethod
    def of(cls, schema: str, error: BaseException) -> Failure:
        if isinstance(error, SystemExit):  # of a process, which has said why
            return cls(schema=schema, text=f"exit status {error.code}", status=int(error.code or 0))
        return cls(schema=schema, text=said_of(error), status=getattr(error, "returncode", 1))

    def __str__(self) -> str:
        first, *more = self.text.splitlines() or [""]
        return f"  {self.schema}: {first}{' …' if more else ''}"


class Failures:
    """Kept in a file: the executors of django-tenants work in processes of their own, too."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def keep(self, schema: str, error: BaseException) -> None:
        with self.path.open("a") as file:
            file.write(json.dumps(vars(Failure.of(schema, error))) + "\n")

    def all(self) -> list[Failure]:
        return [Failure(**json.loads(line)) for line in self.path.read_text().splitlines()]


def refuse(failed: Sequence[Failure]) -> None:
    """Raise CommandError where a schema has failed; NotNow where all that did may be done later."""
    if not failed:
        return
    where = "1 schema" if len(failed) == 1 else f"{len(failed)} schemas"
    named = "\n".join(map(str, sorted(failed, key=lambda one: one.schema)))
    if all(one.status == NotNow.STATUS for one in failed):
        raise NotNow(f"not in {where}; the others are done:\n{named}\nWhen that is over, run the same command again.")
    raise CommandError(f"{where} failed; the others are done:\n{named}\nFix that, and run the same command again.")


@contextmanager
def collected() -> Iterator[Failures]:
    """Raises, at the end, what refuse() raises."""
    with tempfile.TemporaryDirectory(prefix="safemigrations_") as folder:
        path = Path(folder, "failures")
        path.touch()
        failures = Failures(path)
        yield failures
        refuse(failures.all())
