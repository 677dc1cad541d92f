"""The mark of a release, which every session of it carries in its application_name.

It travels in the startup packet: that costs no round trip, and poolers pass it on. Every role may read it in
pg_stat_activity, also without pg_read_all_stats.
"""

from __future__ import annotations

import hashlib
import os
import re
import shlex
from collections.abc import Iterable, Mapping
from contextlib import suppress
from functools import cache
from itertools import dropwhile, islice, takewhile
from pathlib import Path
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.db import connections
from django.db.utils import load_backend

from .. import conf
from .on_disk import Key, on_disk

PREFIX = "safemig:"
MARK = re.compile(rf"\b{PREFIX}([0-9a-f]{{8}})\b")
LONGEST = 63  # bytes of an application_name; PostgreSQL cuts off the rest
NOT_ASCII = 4  # bytes that PostgreSQL makes of each that isn't ASCII: \xc3

POSTGRESQL = ("django.db.backends.postgresql", "django.contrib.gis.db.backends.postgis")
SAYS = "application_name="  # a line of a service file; libpq takes no spaces around the sign
OTHERS = ("dummy", "mysql", "oracle", "sqlite3")


def mark_of(names: Iterable[Key]) -> str:
    text = "\n".join(f"{label}.{name}" for label, name in sorted(names))
    return hashlib.sha256(text.encode()).hexdigest()[:8]


@cache
def own_mark() -> str:
    """The mark of the code that runs here."""
    return mark_of(on_disk().names)


def mark_in(application_name: str | None) -> str | None:
    """The mark in an application_name; a pooler may have appended something to it."""
    found = MARK.search(application_name or "")
    return found[1] if found else None


def without_mark(application_name: str) -> str:
    return MARK.sub("", application_name).strip()


def marked(name: str, mark: str) -> str:
    """The application_name with the mark, cut so that PostgreSQL leaves the mark whole."""
    name = without_mark(name)
    room = LONGEST - len(PREFIX) - len(mark) - 1
    while sum(1 if byte < 128 else NOT_ASCII for byte in name.encode()) > room:
        name = name[:-1]
    return f"{name} {PREFIX}{mark}".strip()


def install() -> None:
    """Let every connection that is opened from now on carry the mark."""
    with suppress(ImproperlyConfigured):  # a check says so, and this runs before it
        if conf.marks():
            _mark_databases()


def _mark_databases() -> None:
    for alias in connections:
        entry = connections.settings[alias]
        if _is_postgresql(entry["ENGINE"]):
            options = entry["OPTIONS"]  # perhaps the same dictionary as another alias has
            entry["OPTIONS"] = {**options, "application_name": marked(name_without(options), own_mark())}


def _is_postgresql(engine: str) -> bool:
    """Is it a PostgreSQL backend? Django's own are known by name, as importing a backend takes 30 ms or more."""
    if engine in POSTGRESQL or engine.removeprefix("django.db.backends.") in OTHERS:
        return engine in POSTGRESQL
    try:
        return bool(load_backend(engine).DatabaseWrapper.vendor == "postgresql")
    except ImproperlyConfigured:
        return False  # Django says so as soon as somebody connects


# What libpq would take if nothing were written into OPTIONS.


def name_without(options: Mapping[str, Any]) -> str:
    """The application_name that a session would have without the mark, found in the order that libpq uses."""
    return str(
        options.get("application_name")
        or _of_service(options.get("service") or os.environ.get("PGSERVICE"))
        or os.environ.get("PGAPPNAME")
        or options.get("fallback_application_name")
        or _of_server_options(options.get("options") or os.environ.get("PGOPTIONS") or "")
        or ""
    )


def _of_service(service: str | None) -> str | None:
    """https://www.postgresql.org/docs/current/libpq-pgservice.html"""
    folder = os.environ.get("PGSYSCONFDIR", "/etc/postgresql-common")
    if not service:
        return None
    own = Path(os.environ.get("PGSERVICEFILE", "~/.pg_service.conf"))
    with suppress(RuntimeError):  # somebody without a home
        own = own.expanduser()
    names = (_in_file(file, service) for file in (own, Path(folder, "pg_service.conf")))
    return next((name for name in names if name), None)


def _in_file(file: Path, service: str) -> str | None:
    """What the first section of this name says, or None; the first line that says it counts."""
    try:
        lines = [line.strip() for line in file.read_text().splitlines()]
    except (OSError, UnicodeDecodeError):
        return None  # libpq says so as soon as somebody connects
    after = dropwhile(lambda line: line != f"[{service}]", lines)
    section = takewhile(lambda line: not line.startswith("["), islice(after, 1, None))
    return next((line.removeprefix(SAYS) for line in section if line.startswith(SAYS)), None)


def _of_server_options(options: str) -> str | None:
    """`-c application_name=…`, which the name in the startup packet would override."""
    try:
        words = shlex.split(options)
    except ValueError:
        return None
    values = (word.removeprefix("-c").removeprefix("--").replace("-", "_", 1) for word in words)
    named = [value.partition("=")[2] for value in values if value.startswith("application_name=")]
    return named[-1] if named else None
