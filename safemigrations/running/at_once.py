"""Where the contract runs together with the expand, because nobody else uses the database."""

from __future__ import annotations

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from .. import conf
from ..typed import is_testing

_names = dict[str, str]()  # alias -> the database that the settings name


def remember_names() -> None:
    """Called when the app is ready: whoever makes test databases puts their names into the settings."""
    _names.update({alias: str(connections.settings[alias].get("NAME") or "") for alias in connections.settings})


def contracts_at_once(connection: BaseDatabaseWrapper) -> bool:
    """As CONTRACT says; where it says nothing, on a test database, whichever runner made it, kept or cloned it."""
    if conf.is_set("CONTRACT"):
        return conf.contract() == "immediately"
    return is_of_tests(connection)


def is_of_tests(connection: BaseDatabaseWrapper) -> bool:
    """Does this process run tests, and has the connection another database than the one that the settings name?"""
    if not is_testing():
        return False
    entry = connection.settings_dict
    wanted = (entry.get("TEST") or {}).get("NAME")
    return str(entry["NAME"]) != _names.get(connection.alias) or entry["NAME"] == wanted
