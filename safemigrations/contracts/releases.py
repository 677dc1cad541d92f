"""The releases that have migrated this database, with the migrations that each of them knows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import ClassVar

from django.apps import apps
from django.apps.registry import Apps
from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations import Migration
from django.db.migrations.loader import MigrationLoader
from django.utils.timezone import now

from .. import conf
from ..running.clock import server_time
from ..running.ledger import is_migrated
from ..running.readable import Readable
from ..running.storage import Own, ensure_table, has_table
from .marks import own_mark
from .on_disk import Key


class AbstractRelease(models.Model):
    """What `migrate` noted about the code that ran it."""

    mark = models.CharField(max_length=8, unique=True)
    label = models.TextField(blank=True)  # SAFEMIGRATIONS["RELEASE"]
    migrations = models.JSONField()  # app label -> names, also those that a squash replaces
    tables = models.JSONField()  # of its models: a release harms itself on no other
    squashes = models.JSONField(null=True)  # "app.name" of each squash -> what it replaces
    first_seen = models.DateTimeField(default=now)
    last_seen = models.DateTimeField(default=now)

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return f"release {self.label} ({self.mark})" if self.label else f"release {self.mark}"

    def knows(self, app_label: str, migration: str) -> bool:
        return migration in self.migrations.get(app_label, ())


class Release(Readable, AbstractRelease):
    forms: ClassVar[Mapping[str, type]] = {"migrations": dict, "tables": list, "squashes": dict}

    class Meta(Own):
        apps = Apps()
        db_table = "safemigrations_release"


def names_known() -> frozenset[Key]:
    """The migrations that this code has, and those that its squashes replace."""
    return _names(_on_disk())


def _on_disk() -> dict[Key, Migration]:
    """Imports all migrations, as every `migrate` does."""
    loader = MigrationLoader(None, load=False)
    loader.load_disk()
    return loader.disk_migrations


def _names(migrations: dict[Key, Migration]) -> frozenset[Key]:
    return frozenset((*migrations, *(key for migration in migrations.values() for key in migration.replaces)))


def record(connection: BaseDatabaseWrapper) -> bool:
    """Note that the running code has migrated this database, unless the project has no table in it."""
    if connection.vendor != "postgresql" or not is_migrated(connection):
        return False
    used, migrations = apps.get_models(include_auto_created=True), _on_disk()
    ensure_table(connection, Release)
    values = {
        "label": conf.release(),
        "migrations": _by_app(_known_to(connection, migrations)),
        "squashes": _squashes(migrations),
        "tables": sorted(model._meta.db_table for model in used),
        "last_seen": server_time(connection),
    }
    manager, own = Release._base_manager.using(connection.alias), own_mark()
    if not manager.filter(mark=own).update(**values):
        begun = {**values, "first_seen": values["last_seen"]}
        manager.update_or_create(mark=own, defaults=values, create_defaults=begun)
    return True


def recorded(connection: BaseDatabaseWrapper) -> dict[str, Release]:
    """Each release that has migrated this database, by its mark."""
    if connection.vendor != "postgresql" or not has_table(connection, Release):
        return {}
    return {release.mark: release for release in Release._base_manager.using(connection.alias).order_by("id")}


def _squashes(migrations: dict[Key, Migration]) -> dict[str, list[str]]:
    """ "app.name" of each squash among them -> what it replaces."""
    return {
        ".".join(key): [".".join(old) for old in migration.replaces]
        for key, migration in sorted(migrations.items())
        if migration.replaces
    }


def names_known_to(connection: BaseDatabaseWrapper) -> set[Key]:
    """The migrations that this code knows in this database, including what its squashes have ever replaced."""
    return _known_to(connection, _on_disk())


def _known_to(connection: BaseDatabaseWrapper, migrations: dict[Key, Migration]) -> set[Key]:
    return _known_for_ever(_names(migrations), _squashes(migrations), recorded(connection).values())


def _known_for_ever(names: frozenset[Key], own: dict[str, list[str]], before: Iterable[Release]) -> set[Key]:
    """The names, and what their squashes have replaced: earlier releases say so when a squash doesn't any more."""
    squashes = [pair for noted in (own, *(one.squashes or {} for one in before)) for pair in noted.items()]
    known, size = set(names), 0
    while len(known) > size:  # a squash may replace a squash
        size = len(known)
        for squash, replaced in squashes:
            if _key(squash) in known:
                known.update(map(_key, replaced))
    return known


def _key(text: str) -> Key:
    label, _, name = text.partition(".")
    return label, name


def newer_that_knows(connection: BaseDatabaseWrapper, app_label: str, migration: str) -> Release | None:
    """A release with this migration that is newer: it has all migrations of this code, or migrated here later."""
    releases, names = recorded(connection), names_known()
    own = releases.get(own_mark())

    def is_newer(one: Release) -> bool:
        return all(one.knows(*key) for key in names) or not (own and own.first_seen > one.first_seen)

    knowing = (one for one in reversed(releases.values()) if one is not own and one.knows(app_label, migration))
    return next(filter(is_newer, knowing), None)


def _by_app(names: Iterable[Key]) -> dict[str, list[str]]:
    found = defaultdict[str, list[str]](list)
    for label, name in sorted(names):
        found[label].append(name)
    return found
