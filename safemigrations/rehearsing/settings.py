"""The settings of a release in a rehearsal: its own, with scratch databases in the place of its databases.

Any command takes them: `DJANGO_SETTINGS_MODULE` names this module, and two variables of the environment say the rest.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from importlib import import_module
from typing import Any

OWN, SCRATCH = "SAFEMIGRATIONS_REHEARSAL_SETTINGS", "SAFEMIGRATIONS_REHEARSAL_DATABASES"
NOWHERE = {"ENGINE": "django.db.backends.dummy", "NAME": ""}
# Nobody is waited for, and what a team asks of a contract in production isn't asked here.
HERE = {
    "CONTRACT": "explicitly",
    "CONTRACT_AFTER": 0,
    "CONTRACT_REQUIRES": None,
    "GATE": "marked",
    "GATE_QUIET": 0,
    "GATE_WATCH": 0,
    "MARKS": True,
}


def moved(databases: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """Each alias on its scratch database; one that has none can't be reached at all."""
    return {alias: _moved(entry, names[alias]) if alias in names else NOWHERE for alias, entry in databases.items()}


def _moved(entry: Mapping[str, Any], name: str) -> dict[str, Any]:
    options = {key: value for key, value in entry.get("OPTIONS", {}).items() if key != "pool"}  # processes are forked
    test = {key: value for key, value in entry.get("TEST", {}).items() if key != "MIRROR"}
    return {**entry, "NAME": name, "OPTIONS": options, "TEST": {**test, "NAME": name}}


if OWN in os.environ:
    _own = import_module(os.environ[OWN])
    globals().update({name: getattr(_own, name) for name in dir(_own) if name.isupper()})
    DATABASES = moved(_own.DATABASES, json.loads(os.environ[SCRATCH]))
    SAFEMIGRATIONS = {**getattr(_own, "SAFEMIGRATIONS", {}), **HERE}
