"""sqlmigrate: Django's, and above each statement the kind of work that it is, and what it locks."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

from django.core.management.commands import sqlmigrate
from django.db import connections

from safemigrations.inspecting.plan import as_comments
from safemigrations.management.interruptible import Interruptible
from safemigrations.running.preview import briefly, telling_facts
from safemigrations.running.telling.report import EACH_STEP


class Command(Interruptible, sqlmigrate.Command):
    def handle(self, *args: Any, **options: Any) -> str:
        with telling_facts(), briefly() if options["verbosity"] < EACH_STEP else nullcontext():
            printed = str(super().handle(*args, **options))
        if connections[options["database"]].vendor != "postgresql":
            return printed
        return as_comments.with_facts(printed, atomic=self.output_transaction)
