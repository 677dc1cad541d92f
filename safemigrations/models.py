"""What Django's admin shows, where it is installed. No migration knows these models: their tables are our own."""

from __future__ import annotations

from django.apps import apps

if apps.is_installed("django.contrib.admin"):
    from .console.models import Backfill, ContractRow, Decision, KnownRelease, PastRun

    __all__ = ["Backfill", "ContractRow", "Decision", "KnownRelease", "PastRun"]
