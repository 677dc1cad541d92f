"""The names that users write: those of this version are in names.json, and later versions have them too.

    DJANGO_SETTINGS_MODULE=tests.settings python -m tests.stored.names

records them for a release. What operations are called, and their arguments, stays for ever; docs/versions.md says when
another name may go.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping
from typing import Any

import django
from django.core.management import load_command_class
from django.core.management.commands.migrate import Command as DjangoMigrate
from django.dispatch import Signal

from safemigrations import conf, operations, signals
from safemigrations.checking.catalogue import BY_ID
from tests.reference_pages import parser_of, subcommands

from . import FOLDER

FILE = FOLDER / "names.json"


def names() -> dict[str, dict[str, list[str]]]:
    """By kind and name, what belongs to it: arguments of an operation, options of a command."""
    found = {name: getattr(operations, name) for name in operations.__all__}
    return {
        "operations": {name: list(inspect.signature(found[name].__init__).parameters)[1:] for name in sorted(found)},
        "commands": dict(sorted(_commands().items())),
        "settings": {name: [] for name in sorted(conf.KEYS)},
        "signals": {name: [] for name, value in sorted(vars(signals).items()) if isinstance(value, Signal)},
        "checks": {name: [] for name in sorted(BY_ID)},
    }


def _commands() -> dict[str, list[str]]:
    """Options that Django's own commands don't have."""
    ours = parser_of(load_command_class("safemigrations", "safemigrations"), "safemigrations")
    parsers = {name: parser for name, _, parser in subcommands("safemigrations", ours)}
    parsers["migrate"] = parser_of(load_command_class("safemigrations", "migrate"), "migrate")
    django_s = set(parser_of(DjangoMigrate(), "migrate")._option_string_actions)
    return {name: sorted(set(parser._option_string_actions) - django_s) for name, parser in parsers.items()}


def missing(now: Mapping[str, Any], then: Mapping[str, Any]) -> list[str]:
    """What was there then, and isn't now."""
    gone = []
    for kind, known in then.items():
        for name, parts in known.items():
            has = now.get(kind, {}).get(name)
            lost = [name] if has is None else [f"{name} {part}" for part in parts if part not in has]
            gone += [f"{kind}: {each}" for each in lost]
    return gone


if __name__ == "__main__":
    django.setup()
    FILE.write_text(json.dumps(names(), indent=1) + "\n")
