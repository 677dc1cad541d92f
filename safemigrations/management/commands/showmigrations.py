"""showmigrations: Django's, which ends with a sentence where the database can't be asked."""

from __future__ import annotations

from typing import Any

from django.core.management.commands import showmigrations
from django.db import connections

from safemigrations.management.interruptible import Interruptible
from safemigrations.running.server import refuse_schemaless


class Command(Interruptible, showmigrations.Command):
    def handle(self, *args: Any, **options: Any) -> None:
        refuse_schemaless(connections[options["database"]])
        super().handle(*args, **options)
