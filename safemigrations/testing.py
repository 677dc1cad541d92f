"""Tests of migrations: before, expanded, contracted and taken back, with the models of both releases.

    with before_migration("shop", "0002_order_status") as rollout:
        rollout.old.get_model("shop", "Order").objects.create(number="A1")
        rollout.expand()
        assert rollout.new.get_model("shop", "Order").objects.get().status == "new"

The test gets a database of its own, beside the test database, which nobody touches. What was migrated up to there is
kept as a template until the tests end, so the next test of the same migration only copies it.
"""

from __future__ import annotations

import atexit
import contextlib
import hashlib
import unittest
from collections.abc import Iterator, Sequence
from typing import Any

import psycopg
from django.apps import apps
from django.apps.registry import Apps
from django.conf import settings
from django.contrib.auth.management import create_permissions
from django.contrib.contenttypes.management import create_contenttypes
from django.contrib.postgres.signals import get_citext_oids, get_hstore_oids
from django.db import DEFAULT_DB_ALIAS, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.exceptions import AmbiguityError
from django.db.migrations.loader import MigrationLoader
from django.test import override_settings

from .contracts import loaded
from .contracts.on_disk import Key
from .hooks.executor import MigrationExecutor
from .postgres.names import Name
from .running.another import another_connection
from .running.run import Report

NUMBERS_OF_TYPES: tuple[Any, ...] = (get_hstore_oids, get_citext_oids)
LONGEST = 40  # bytes of the test database's name that are in the names of ours, of which PostgreSQL keeps 63


class Rollout:
    """The migrations of a release on a database that the release before it has left.

    `old` and `new` are the models before and after them; both can be used at any moment, as both releases are. While
    it lasts, the alias means this database, in every thread that hasn't connected yet.
    """

    def __init__(self, connection: BaseDatabaseWrapper, before: Sequence[Key], migrations: Sequence[Key]) -> None:
        self.connection, self._migrations, self._phase = connection, migrations, "before"
        loader = MigrationLoader(connection)
        self.old = _apps(loader, before)
        self.new = _apps(loader, [*before, *migrations])

    def expand(self) -> None:
        """What `migrate` does before the rollout; the contract waits, whatever the settings say."""
        self._refuse_unless("before")
        with override_settings(SAFEMIGRATIONS={**getattr(settings, "SAFEMIGRATIONS", {}), "CONTRACT": "explicitly"}):
            _migrate(self.connection, self._migrations)
        self._phase = "expanded"

    def contract(self) -> None:
        """What `migrate --contract` does when the old release has gone."""
        self._refuse_unless("expanded")
        loaded().carrying_out.contract(self.connection, Report())
        self._phase = "contracted"

    def reverse(self) -> None:
        """Take the migrations back, the last one first; then they may be expanded again."""
        self._refuse_unless("expanded", "contracted")
        _migrate(self.connection, self._migrations[::-1], backwards=True)
        self._phase = "before"

    def _refuse_unless(self, *phases: str) -> None:
        if self._phase not in phases:
            raise RuntimeError(f"The database is {self._phase}, and that needs one that is {' or '.join(phases)}.")


@contextlib.contextmanager
def before_migration(
    app_label: str, name: str, *, until: str = "", database: str = DEFAULT_DB_ALIAS
) -> Iterator[Rollout]:
    """A database in which everything is applied that doesn't need this migration, with the rows that this brings.

    A release of several migrations begins with `name` and ends with `until`. The beginning of a name is enough, as for
    `migrate`. No signal of `migrate` is sent; content types and permissions are there.
    """
    outside = connections[database]
    if outside.vendor != "postgresql":
        raise RuntimeError(f"before_migration needs PostgreSQL, and {database} is {outside.display_name}.")
    before, migrations = _halves(MigrationLoader(None), app_label, name, until)
    template = _template(outside, before)
    name_of_own = f"{template}_own"
    _create(outside, name_of_own, template)
    try:
        with _taken_over(outside, name_of_own) as own:
            yield Rollout(own, before, migrations)
    finally:
        _drop(outside, name_of_own)


# Which migrations.


def _halves(loader: MigrationLoader, app_label: str, name: str, until: str) -> tuple[list[Key], list[Key]]:
    """The migrations before the rollout, and those that are rolled out, each in migrate's order."""
    first, last = _key(loader, app_label, name), _key(loader, app_label, until or name)
    later, wanted = set(loader.graph.backwards_plan(first)), loader.graph.forwards_plan(last)
    if first not in wanted:
        raise LookupError(f"{'.'.join(last)} doesn't need {'.'.join(first)}, so no release goes from one to the other.")
    every = [key for leaf in loader.graph.leaf_nodes() for key in loader.graph.forwards_plan(leaf)]
    return [key for key in dict.fromkeys(every) if key not in later], [key for key in wanted if key in later]


def _key(loader: MigrationLoader, app_label: str, prefix: str) -> Key:
    if app_label not in loader.migrated_apps:
        raise LookupError(f"{app_label} has no migrations here; they may be switched off (--no-migrations).")
    try:
        key = app_label, loader.get_migration_by_prefix(app_label, prefix).name
    except AmbiguityError:
        raise LookupError(f"Several migrations of {app_label} begin with {prefix!r}.") from None
    except KeyError:
        raise LookupError(f"No migration of {app_label} begins with {prefix!r}.") from None
    if key not in loader.graph.nodes:
        raise LookupError(f"{'.'.join(key)} is part of a squashed migration; test that one, or remove `replaces`.")
    return key


def _apps(loader: MigrationLoader, keys: Sequence[Key]) -> Apps:
    return loader.project_state(list(keys)).apps


def _migrate(connection: BaseDatabaseWrapper, keys: Sequence[Key], *, backwards: bool = False) -> None:
    executor = MigrationExecutor(connection)
    executor.migrate(None, plan=[(executor.loader.graph.nodes[key], backwards) for key in keys])


# Which database.

_templates: dict[str, BaseDatabaseWrapper] = {}  # by their names: a connection to the test database beside each


def _template(outside: BaseDatabaseWrapper, before: Sequence[Key]) -> str:
    """The name of the database in which these migrations are applied, made when it is first wanted."""
    name = _name_of_template(outside.settings_dict["NAME"], before)
    if name not in _templates:
        _create(outside, name, outside.settings_dict["TEST"].get("TEMPLATE") or "template1")
        _templates[name] = outside
        unittest.addModuleCleanup(drop_templates)  # Django's `test --parallel` kills its processes before any atexit
        try:
            with _taken_over(outside, name) as own:
                _migrate(own, before)
                _create_what_migrate_creates(own, before)
        except BaseException:
            _drop(_templates.pop(name), name)
            raise
    return name


def _name_of_template(test_database: str, before: Sequence[Key]) -> str:
    digest = hashlib.sha256(repr((test_database, before)).encode()).hexdigest()[:8]
    return f"{test_database.encode()[:LONGEST].decode(errors='ignore')}_{digest}"


def _create_what_migrate_creates(own: BaseDatabaseWrapper, before: Sequence[Key]) -> None:
    """Content types and permissions, which data migrations look for."""
    then: Any = _apps(MigrationLoader(own), before)
    for app in apps.get_app_configs():
        create_contenttypes(app, verbosity=0, using=own.alias, apps=then)
        create_permissions(app, verbosity=0, using=own.alias, apps=then)


@contextlib.contextmanager
def _taken_over(outside: BaseDatabaseWrapper, name: str) -> Iterator[BaseDatabaseWrapper]:
    """Let the alias mean the database of this name, in this thread and in threads that connect from now on."""
    alias, own = outside.alias, another_connection(outside)
    own.settings_dict["NAME"] = name
    before, connections.settings[alias] = connections.settings[alias], own.settings_dict
    connections[alias] = own
    _forget()
    try:
        yield own
    finally:
        _forget()
        own.close()
        connections[alias], connections.settings[alias] = outside, before


def _forget() -> None:
    """Clear what Django remembers about another database: keys of content types, type numbers of extensions."""
    for remembered in NUMBERS_OF_TYPES:
        remembered.cache_clear()
    if apps.is_installed("django.contrib.contenttypes"):
        manager: Any = apps.get_model("contenttypes", "ContentType")._default_manager
        manager.clear_cache()


def _create(outside: BaseDatabaseWrapper, name: str, template: str) -> None:
    _drop(outside, name)  # of a run that was killed
    _on_server(outside, f"CREATE DATABASE {Name.of(name)} TEMPLATE {Name.of(template)}")


def _drop(outside: BaseDatabaseWrapper, name: str) -> None:
    _on_server(outside, f"DROP DATABASE IF EXISTS {Name.of(name)} WITH (FORCE)")


def _on_server(outside: BaseDatabaseWrapper, statement: str) -> None:
    """Send it on a connection that isn't Django's: when the tests are over, pytest-django lets nobody connect."""
    where = {**outside.get_connection_params(), "dbname": "postgres"}
    with psycopg.connect(**where, autocommit=True) as connection:
        connection.execute(statement)


@atexit.register
def drop_templates() -> None:
    """Forget, and drop, what was kept for the next test."""
    while _templates:
        name, outside = _templates.popitem()
        _drop(outside, name)
