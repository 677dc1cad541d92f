"""A project with django-tenants: clients in the public schema, a shop in that of each tenant, pages in both."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from .project import Project, Result

CLIENTS = """
from django_tenants.models import DomainMixin, TenantMixin


class Client(TenantMixin):
    auto_drop_schema = True


class Domain(DomainMixin):
    pass
"""
BOOK = """
class Book(models.Model):
    title = models.CharField(max_length=100)
    pages = models.IntegerField()
    old = models.IntegerField(null=True)
    client = models.ForeignKey("clients.Client", models.CASCADE, null=True)
"""
CHANGED_BOOK = """
class Book(models.Model):
    title = models.CharField(max_length=100)
    pages = models.IntegerField()
    stock = models.IntegerField(default=0)
    client = models.ForeignKey("clients.Client", models.CASCADE, null=True)
"""
PAGE = """
class Page(models.Model):
    name = models.CharField(max_length=100)
    number = models.IntegerField(null=True)


class Note(models.Model):
    text = models.TextField()
"""
CHANGED_PAGE = """
class Page(models.Model):
    name = models.CharField(max_length=100, unique=True)
    number = models.BigIntegerField(null=True)
    others = models.ManyToManyField("self")
"""
LONG = 1800  # seconds
PAIRS = {"shop": (BOOK, CHANGED_BOOK), "pages": (PAGE, CHANGED_PAGE)}


class TenantProject(Project):
    def __init__(self, folder: Path, dsn: str, *, first: str = "django_tenants", **settings: Any) -> None:
        super().__init__(folder, dsn, apps=("clients", "shop", "pages"))
        database = {**self.settings["DATABASES"]["default"], "ENGINE": "django_tenants.postgresql_backend"}
        both = ["django_tenants", "safemigrations"]
        shared = [*sorted(both, key=lambda app: app != first), "django.contrib.contenttypes", "clients", "pages"]
        of_tenants = ["django.contrib.contenttypes", "shop", "pages"]
        self.set(
            DATABASES={"default": database},
            DATABASE_ROUTERS=["django_tenants.routers.TenantSyncRouter"],
            SHARED_APPS=shared,
            TENANT_APPS=of_tenants,
            INSTALLED_APPS=[*shared, *(app for app in of_tenants if app not in shared)],
            TENANT_MODEL="clients.Client",
            TENANT_DOMAIN_MODEL="clients.Domain",
            ROOT_URLCONF="urls",
            **settings,
        )
        self.write("urls.py", "urlpatterns = []\n")
        self.write_models("clients", CLIENTS)
        for app, (before, _) in PAIRS.items():
            self.write_models(app, before)

    def start_with(self, *tenants: str) -> None:
        """The first release, in the public schema and in those of these tenants."""
        self.manage("makemigrations").check()
        self.manage("migrate_schemas", "-v", "0").check()
        self.make(tenants).check()

    def make(self, tenants: Iterable[str], around: str = "nullcontext()") -> Result:
        """As the project's own code makes tenants."""
        return self.python(self.makes(tenants, around))

    @staticmethod
    def makes(tenants: Iterable[str], around: str = "nullcontext()") -> str:
        return (
            "from contextlib import nullcontext\nfrom django.db import transaction\nfrom clients.models import Client\n"
            f"for name in {[*tenants]!r}:\n    with {around}:\n        Client(schema_name=name).save(verbosity=0)\n"
        )

    def python(self, code: str) -> Result:
        return self.manage("shell", "-v", "0", "-c", code)

    def manage_long(self, *args: str) -> None:
        """A command that takes minutes; it must end well."""
        command = [sys.executable, "manage.py", *args, "-v", "0"]
        subprocess.run(command, cwd=self.folder, env=self._environment(), check=True, timeout=LONG)

    def change(self) -> None:
        """The models of the second release, and its migrations."""
        for app, (_, after) in PAIRS.items():
            self.write_models(app, after)
        self.manage("makemigrations", "--name", "changed").check()

    def columns(self, schema: str, table: str) -> set[str]:
        rows = self.sql(
            "SELECT column_name || ' ' || data_type FROM information_schema.columns"
            f" WHERE table_schema = '{schema}' AND table_name = '{table}'"
        )
        return {name for (name,) in rows}

    def left(self, schema: str) -> int:
        """How many rows of the contract are open."""
        if self.sql(f"SELECT to_regclass('{schema}.safemigrations_contract')") == [(None,)]:
            return 0
        ((count,),) = self.sql(f"SELECT count(*) FROM {schema}.safemigrations_contract WHERE status <> 'done'")
        return int(count)

    def shape(self, schema: str) -> list[Any]:
        """Columns, indexes, constraints, triggers and functions of a schema, without its name; none of Django's own."""
        found = self.sql(SHAPE.format(schema=schema))
        return sorted(text.replace(f"{schema}.", "").replace(f"'{schema}'", "") for (text,) in found)


SHAPE = """
    SELECT table_name || '.' || column_name || ' ' || data_type || ' ' || is_nullable || coalesce(column_default, '')
    FROM information_schema.columns WHERE table_schema = '{schema}' AND table_name !~ '^(django|safemig|clients)'
    UNION ALL SELECT indexdef FROM pg_indexes WHERE schemaname = '{schema}' AND tablename !~ '^(django|safemig|clients)'
    UNION ALL SELECT relname || ' ' || conname || pg_get_constraintdef(k.oid) FROM pg_constraint k
    JOIN pg_class c ON c.oid = conrelid
    WHERE connamespace = '{schema}'::regnamespace AND relname !~ '^(django|safemig|clients)'
    UNION ALL SELECT relname || ' ' || tgname FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid
    WHERE relnamespace = '{schema}'::regnamespace AND NOT tgisinternal
    UNION ALL SELECT proname FROM pg_proc WHERE pronamespace = '{schema}'::regnamespace
"""
