"""Refuses names on the command line, and in the settings, that don't exist, with the nearest name."""

from __future__ import annotations

from collections.abc import Collection

from django.core.management.base import CommandError
from django.db.migrations.exceptions import AmbiguityError
from django.db.migrations.loader import MigrationLoader

from safemigrations.checking import baseline, disk


def refuse_unknown(loader: MigrationLoader, label: str | None, name: str | None) -> None:
    """Raises CommandError for an app, or one of its migrations, that isn't there."""
    known = loader.migrated_apps
    if label and label not in known:
        kind = "has no migrations" if label in disk.known_labels() else "isn't the label of an installed app"
        raise CommandError(f"{label} {kind}. {baseline.near(label, known)}")
    if not label or not name or name == "zero":
        return
    try:
        loader.get_migration_by_prefix(label, name)
    except AmbiguityError as error:
        raise CommandError(f"{error}.") from error
    except KeyError as error:
        names = [other for app, other in loader.disk_migrations if app == label]
        raise CommandError(f"{label} has no migration {name}. {baseline.near(name, names)}") from error


def refuse_several_leaves(loader: MigrationLoader, labels: Collection[str] | None = None) -> None:
    """Raises CommandError where nobody knows which of an app's migrations is the last one."""
    for label, names in loader.detect_conflicts().items():
        if labels is None or label in labels:
            listed = ", ".join(sorted(names))
            raise CommandError(f"{label} has more than one leaf: {listed}. Run makemigrations --merge.")


def refuse_unknown_apps() -> None:
    """Raises CommandError for CHECK_APPS."""
    for misfit in baseline.misfits():
        if misfit.key == "CHECK_APPS":
            raise CommandError(f"{misfit.message} {misfit.hint}")
