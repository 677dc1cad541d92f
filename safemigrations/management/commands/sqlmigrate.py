"""sqlmigrate: Django's, and above each statement the kind of work that it is, and what it locks."""

from __future__ import annotations

from typing import Any

from django.core.management.commands import sqlmigrate
from django.db import connections

from safemigrations.inspecting.plan import as_comments
from safemigrations.running.preview import telling_facts


class Command(sqlmigrate.Command):
    def handle(self, *args: Any, **options: Any) -> str:
        with telling_facts():
            printed = str(super().handle(*args, **options))
        if connections[options["database"]].vendor != "postgresql":
            return printed
        return as_comments.with_facts(printed, atomic=self.output_transaction)
