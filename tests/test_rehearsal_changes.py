"""What a rehearsal takes for the change: the new migrations, and the models that they have to do with."""

from __future__ import annotations

from typing import Any

import pytest
from django.conf import settings
from django.db.migrations import Migration, RenameField, RunSQL, SeparateDatabaseAndState
from django.db.migrations.loader import MigrationLoader
from django.test import override_settings

from safemigrations.rehearsing.changes import changes_since

from .cases import CASES, LABEL, base, ours, state_after
from .releases import installed, write


def pointing_at(name: str) -> set[str]:
    models: list[Any] = list(state_after([base()]).apps.get_models())
    fields = [(model, field) for model in models for field in model._meta.fields if field.remote_field]
    return {model._meta.db_table for model, field in fields if field.related_model._meta.model_name == name}


def test_what_both_releases_have_is_not_new(tmp_path):
    """Whatever comes first in the graph: django.contrib.sites comes after the shop."""
    (case,) = (case for case in CASES if case.name == "rename_field")
    package = write(tmp_path, [base(), *ours(case)])
    with (
        override_settings(INSTALLED_APPS=[*settings.INSTALLED_APPS, "django.contrib.sites"]),
        installed(tmp_path, package),
    ):
        known = {".".join(key) for key in MigrationLoader(None).disk_migrations}
        new = {f"{LABEL}.{migration.name}" for migration in ours(case)}
        changes = changes_since(known - new)
    assert {".".join(key) for key in changes.migrations} == new
    assert (changes.models, changes.made) == ([f"{LABEL}.{name}" for name in case.models], frozenset())
    assert {table for one in changes.touched for table in one.tables} == {"shop_customer"}
    assert changes.reached == {"shop_customer", *pointing_at("customer")}


SQL = "ALTER TABLE shop_customer RENAME name TO title"
RENAMED = RenameField("customer", "name", "title")


@pytest.mark.parametrize(
    "by_hand", [SeparateDatabaseAndState([RunSQL(SQL)], [RENAMED]), RunSQL(SQL, state_operations=[RENAMED])]
)
def test_what_a_person_puts_together_is_as_many_operations(tmp_path, by_hand):
    class ByHand(Migration):
        dependencies = ((LABEL, base().name),)
        operations = (by_hand,)

    package = write(tmp_path, [base(), ByHand("0002_by_hand", LABEL)])
    with installed(tmp_path, package):
        known = {".".join(key) for key in MigrationLoader(None).disk_migrations}
        changes = changes_since(known - {f"{LABEL}.0002_by_hand"})
    assert [one.description for one in changes.touched] == ["RunSQL(…)", "RenameField(customer.name to title)"]
    assert {one.operation for one in changes.touched} == {0}
    assert changes.touched[0].text == SQL
    assert changes.touched[1].tables == {"shop_customer"}
    assert changes.column_names == {"shop.customer.title": "name"}
