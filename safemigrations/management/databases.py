"""Which database a command is about and, with django-tenants, which of its schemas."""

from __future__ import annotations

from argparse import ArgumentParser

from django.apps import apps
from django.db import DEFAULT_DB_ALIAS, connections


def add_argument(parser: ArgumentParser) -> None:
    parser.add_argument("--database", default=DEFAULT_DB_ALIAS, choices=tuple(connections))
    add_schema(parser)


def add_schema(parser: ArgumentParser) -> None:
    if apps.is_installed("django_tenants"):
        parser.add_argument("--schema", help="Only this schema; without it, one after the other, the public one first.")
