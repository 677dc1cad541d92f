"""What Django loads of this app when it knows every app, and none is ready yet.

With Django's admin: the models that it shows. No migration knows them: their tables are our own. With django-tenants:
what takes the place of its commands, which can't be imported earlier.
"""

from __future__ import annotations

from django.apps import apps

__all__: list[str] = []

if apps.is_installed("django.contrib.admin"):
    from .console.models import Backfill, ContractRow, Decision, KnownRelease, PastRun

    __all__ += ["Backfill", "ContractRow", "Decision", "KnownRelease", "PastRun"]

if apps.is_installed("django_tenants"):
    from .management.tenants import install as tenants

    __all__ += ["tenants"]
