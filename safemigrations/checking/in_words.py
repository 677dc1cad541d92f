"""Django's tracebacks about migrations and models that don't fit together, in a sentence with what to do."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from django.core.management.base import CommandError
from django.db.migrations.exceptions import (
    BadMigrationError,
    CircularDependencyError,
    InvalidBasesError,
    NodeNotFoundError,
)
from django.db.migrations.loader import MigrationLoader

from . import baseline, disk

NO_PARENT = "nonexistent parent node"


class DoesNotFit(CommandError):
    """Migrations or models of the project that Django can't work with."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(f"{message}\n{hint}")
        self.message, self.hint = message, hint


@contextmanager
def in_words() -> Iterator[None]:
    """Raise DoesNotFit for what Django raises about them."""
    try:
        yield
    except (
        BadMigrationError,
        CircularDependencyError,
        CommandError,
        InvalidBasesError,
        KeyError,
        NodeNotFoundError,
        TypeError,
        ValueError,
    ) as error:
        if said := _said(error):
            raise said from error
        raise


def _said(error: Exception) -> DoesNotFit | None:
    match error:
        case CircularDependencyError():
            return _circle(str(error))
        case NodeNotFoundError():
            return _missing(error)
        case BadMigrationError():
            return DoesNotFit(str(error), "Write it, or delete the file.")
        case InvalidBasesError():
            names = ", ".join(sorted(re.findall(r"ModelState: '([^']+)'", str(error))))
            return DoesNotFit(
                f"The models that {names} inherit from aren't there under that name.",
                "Django's RenameModel and DeleteModel leave the old name in their bases. Write ExpandRenameModel of "
                "safemigrations.operations, or delete what inherits first.",
            )
        case TypeError() if str(error).startswith("Couldn't reconstruct "):
            return DoesNotFit(
                f"{error}.",
                "What deconstruct() gives, __init__() must take: a subclass that sets an argument itself deletes it in "
                "its deconstruct(). See docs.djangoproject.com, Writing custom model fields, Field deconstruction.",
            )
        case ValueError() if "lazy reference" in str(error):
            return DoesNotFit(
                f"{str(error).splitlines()[0]}",
                "A migration that makes a relation depends on the one that makes its model, under the name that it has "
                "then. A model that a setting names can't be renamed: see docs/rename_model.md, A swappable model.",
            )
        case ValueError() | TypeError():
            return None
        case KeyError() if not (error.args and isinstance(error.args[0], tuple)):
            return None
        case CommandError() if not str(error).startswith("Cyclical squash replacement"):  # Django 6.0
            return None
        case KeyError() | CommandError():
            return own_replacement(_on_disk())
    return None


def _circle(message: str) -> DoesNotFit:
    names = sorted(message.split(", "))  # Django begins anywhere
    disk_migrations = _on_disk()
    found = [key for key in disk_migrations if disk_migrations[key].replaces and ".".join(key) in names]
    hint = "Take one of their dependencies out."
    if found:
        name = ".".join(found[0])
        replaced = ", ".join(".".join(key) for key in disk_migrations[found[0]].replaces)
        hint = f"{name} stands for {replaced}: it can't depend on what depends on one of these. {hint}"
    return DoesNotFit(f"These migrations wait for each other in a circle: {', '.join(names)}.", hint)


def _missing(error: NodeNotFoundError) -> DoesNotFit:
    label, name = error.node
    if NO_PARENT not in str(error):
        return DoesNotFit(str(error), baseline.near(name or "", disk.names_on_disk(label)))
    known = disk.known_labels()
    hint = baseline.near(name, disk.names_on_disk(label)) if label in known else baseline.near(label, known)
    return DoesNotFit(f"{error.origin} depends on {label}.{name}, which doesn't exist.", hint)


def own_replacement(migrations: Mapping[tuple[str, str], Any]) -> DoesNotFit | None:
    """A squash that is among what it replaces, by itself or by way of others."""
    for key in sorted(migrations):
        seen, left = set[tuple[str, str]](), list(migrations[key].replaces)
        while left:
            each = left.pop()
            if each not in seen and each in migrations:
                seen.add(each)
                left += migrations[each].replaces
        if key in seen:
            name = ".".join(key)
            return DoesNotFit(f"{name} replaces itself.", f"Take {name} out of `replaces`.")
    return None


def _on_disk() -> dict[tuple[str, str], Any]:
    loader: Any = MigrationLoader(None, load=False)
    loader.load_disk()
    return dict(loader.disk_migrations)
