"""Decides whether the contract runs together with the expand, because nobody else uses the database."""

from __future__ import annotations

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from .. import conf
from ..typed import is_testing

_names = dict[str, str]()  # alias -> the database that the settings name


def remember_names() -> None:
    """Remember the databases that the settings name; called when the app is ready.

    Test runners change the settings afterwards.
    """
    _names.update({alias: str(connections.settings[alias].get("NAME") or "") for alias in connections.settings})


def contracts_at_once(connection: BaseDatabaseWrapper) -> bool:
    """Does CONTRACT say so? If it says nothing: is this a test database, whoever created, kept or cloned it?"""
    if conf.is_set("CONTRACT"):
        return conf.contract() == "immediately"
    return is_of_tests(connection)


def is_of_tests(connection: BaseDatabaseWrapper) -> bool:
    """Does this process run tests, on a database other than the one that the settings named?"""
    if not is_testing():
        return False
    entry = connection.settings_dict
    wanted = (entry.get("TEST") or {}).get("NAME")
    return str(entry["NAME"]) != _names.get(connection.alias) or entry["NAME"] == wanted
