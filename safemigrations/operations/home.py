"""The database in which a model lives, according to the routers: its types, and whether it is PostgreSQL."""

from __future__ import annotations

from django.apps import apps
from django.conf import settings
from django.db import DEFAULT_DB_ALIAS, connections, router
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.state import ModelState

from ..typed import is_configured


def home_of(state: ModelState) -> BaseDatabaseWrapper | None:
    """A PostgreSQL database in which migrations make the model's table; None if only others, or none, take it.

    Where no database is PostgreSQL, as on a laptop with SQLite, the migrations are written for the one that is.
    """
    there = [connections[alias] for alias in connections if is_configured(connections[alias])]
    postgres = [one for one in there if one.vendor == "postgresql"]
    return next((one for one in postgres or there if _takes(one.alias, state)), None)


def is_made_by_migrations(state: ModelState) -> bool:
    options = state.options
    return not options.get("proxy") and options.get("managed", True) and not _is_swapped(state)


def _takes(alias: str, state: ModelState) -> bool:
    """Whatever the moment: the router of django-tenants knows only the schema that the connection is in now."""
    if alias == getattr(settings, "TENANT_DB_ALIAS", DEFAULT_DB_ALIAS) and _is_of_schemas(state.app_label):
        return True
    return bool(router.allow_migrate(alias, state.app_label, model_name=state.name_lower, **_hints(state)))


def _is_of_schemas(app_label: str) -> bool:
    """Is it one of the apps that django-tenants migrates, in the public schema or in those of tenants?"""
    kinds = getattr(settings, "TENANT_TYPES", {}).values()
    listed = [*getattr(settings, "SHARED_APPS", ()), *getattr(settings, "TENANT_APPS", ())]
    listed += [name for kind in kinds for name in kind.get("APPS", ())]
    names = [config.name for config in apps.get_app_configs() if config.label == app_label]
    return any(entry == name or entry.startswith(f"{name}.") for entry in listed for name in names)


def _hints(state: ModelState) -> dict[str, object]:
    try:
        return {"model": apps.get_model(state.app_label, state.name)}
    except LookupError:  # a model that the code no longer has
        return {}


def is_named_by_its_setting(state: ModelState, name: str) -> bool:
    """Is this name the value of the setting that can swap the model?"""
    setting = getattr(settings, str(state.options.get("swappable") or ""), "")
    return str(setting).lower() == f"{state.app_label}.{name}".lower()


def _is_swapped(state: ModelState) -> bool:
    setting = str(state.options.get("swappable") or "")
    label = f"{state.app_label}.{state.name}".lower()
    return bool(setting) and str(getattr(settings, setting, "") or label).lower() != label
