"""What Django loads of this app when it knows every app, and none is ready yet.

With Django's admin: the models that it shows. No migration knows them: their tables are our own. With django-tenants:
what takes the place of its commands, which can't be imported earlier. With a gateway for metrics: what pushes them.
"""

from __future__ import annotations

from types import ModuleType

from django.apps import apps

from . import conf

__all__ = ["AT_READY"]
AT_READY: list[ModuleType] = []  # whose install() the app calls

if apps.is_installed("django.contrib.admin"):
    from .console.models import Backfill, ContractRow, Decision, KnownRelease, PastRun

    __all__ += ["Backfill", "ContractRow", "Decision", "KnownRelease", "PastRun"]

if apps.is_installed("django_tenants"):
    from .management.tenants import install

    AT_READY.append(install)

if conf.is_set("METRICS_GATEWAY"):
    from .console import pushing

    AT_READY.append(pushing)
