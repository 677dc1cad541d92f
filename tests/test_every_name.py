"""Every change once more, on tables, columns, indexes and constraints whose names hold quotes, braces and spaces.

Django takes a double quote within a name where it is doubled. But what it looks up in the catalog it doesn't find again
under such a name. So what ours arrives at is compared with what stock operations make of the same names with another
mark in the place of the quote.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection, models
from django.db.migrations import (
    AlterModelTable,
    CreateModel,
    Migration,
    RemoveConstraint,
    RemoveIndex,
    RenameField,
    RenameModel,
    RunSQL,
    SeparateDatabaseAndState,
)
from django.db.migrations.operations.base import Operation
from django.db.models import Value

from safemigrations.operations import (
    AddFieldNullableThenBackfill,
    ExpandAlterField,
    ExpandAlterModelTable,
    MoveModelIn,
    SetNotNullLater,
)
from safemigrations.plans.column import bound

from . import cases
from .cases import CASES, LABEL, PARTITIONED, Case
from .conftest import create_database, forget, new_database, on_server
from .releases import fill, installed, migrate, write
from .representatives import classes_of_operations, representatives
from .shop import Shop, book
from .snapshot import Snapshot, difference, nameless, rows, snapshot
from .walk import Release, empty

# Here a stock AlterField drops a check, which it doesn't find under a name that holds a quote.
CHECKS = {
    "alter_field_bigger_without_check",
    "alter_field_db_column_without_check",
    "alter_field_not_positive",
    "check_of_field_becomes_constraint",
}
POSSIBLE = [case for case in CASES if case.name not in CHECKS]
SOME = representatives(classes_of_operations, POSSIBLE)
QUOTE, OTHER = '""', "##"  # as Django spells them
LONG = 40  # what is longer PostgreSQL cuts, and not at the same place where a quote counts twice


def with_other(value: Any) -> Any:
    """What the catalog or a row has, with the other mark in the place of the quote, and without digests of names."""
    if isinstance(value, dict):
        return {with_other(key): with_other(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [with_other(item) for item in value]
    if not isinstance(value, str):
        return value
    return re.sub('_[0-9a-f]{8}(?=_|$|")', "_digest", re.sub(r"""(?<=\w)""?(?=[\w'])""", OTHER, value))


@dataclass(frozen=True)
class Names:
    """Odd names, all with one mark.

    What a case renames keeps its plain name, as Django doesn't rename what was given a name: `plain` are pairs of a
    model and a field, which is empty for the model's table.
    """

    mark: str
    plain: frozenset[tuple[str, str]]

    def odd(self, name: str) -> str:
        """The mark stands where Django never cuts the names that it makes of others."""
        if len(name) > LONG:
            return name
        return f"{name[:1]}{self.mark}{name[1:]}'s {{}}"

    def of_operation(self, operation: Operation) -> Any:
        if isinstance(operation, SeparateDatabaseAndState) and operation.database_operations:
            return self.partitioned()
        named: Any = copy.deepcopy(operation)
        if isinstance(named, cases.InStore):
            self._name_table(named.operation, cases.STORE)
        elif isinstance(named, CreateModel):
            self._name_table(named)
        elif isinstance(named, AlterModelTable):
            named.table = self.odd(str(named.table))
        elif isinstance(named, RemoveIndex | RemoveConstraint):
            named.name = self.odd(named.name)
        elif getattr(named, "field", None) is not None:
            self._name_column(named.field, named.model_name.lower(), named.name)
        for part in ("index", "constraint"):
            if hasattr(named, part):
                getattr(named, part).name = self.odd(getattr(named, part).name)
        return named

    def _name_table(self, operation: Any, label: str = LABEL) -> None:
        model, options = operation.name_lower, operation.options
        if (model, "") not in self.plain:
            options["db_table"] = self.odd(f"{label}_{model}")
        for name, field in operation.fields:
            self._name_column(field, model, name)
        for part in (*options.get("indexes", ()), *options.get("constraints", ())):
            part.name = self.odd(part.name)

    def _name_column(self, field: Any, model: str, name: str) -> None:
        # A link to a parent that was removed before its model Django makes up, under the name that it gives to all.
        is_made_up = getattr(field.remote_field, "parent_link", False)
        if not (field.many_to_many or is_made_up or (model, name) in self.plain):
            field.db_column = self.odd(str(bound(field, name).column))

    def partitioned(self) -> Operation:
        """That of the cases, with the same names in its SQL as in its model."""
        visit = copy.deepcopy(cases.VISIT)
        self._name_table(visit)
        names = {name: field.db_column or name for name, field in visit.fields}
        names["shop_visit"] = visit.options.get("db_table", "shop_visit")
        names |= {name: self.odd(name) for name in ("shop_visit_0", "shop_visit_1", "visit_seconds")}
        words = "|".join(sorted(names, key=len, reverse=True))
        sql = re.sub(rf"\b({words})\b", lambda found: f'"{names[found[0]]}"', PARTITIONED)
        return SeparateDatabaseAndState([RunSQL(sql, f'DROP TABLE "{names["shop_visit"]}"')], [visit])

    def base(self) -> Migration:
        migration = cases.base()
        migration.operations = [self.of_operation(operation) for operation in cases.BASE]  # type: ignore[misc]
        return migration

    def of_case(self, case: Case) -> Case:
        named = copy.copy(case)
        named.operations = tuple(self.of_operation(operation) for operation in case.operations)
        return named


def plain_in(case: Case) -> frozenset[tuple[str, str]]:
    fields = [(one.model_name_lower, one.old_name_lower) for one in case.operations if isinstance(one, RenameField)]
    tables = [(one.old_name_lower, "") for one in case.operations if isinstance(one, RenameModel)]
    tables += [(one.name.lower(), "") for one in case.operations if isinstance(one, MoveModelIn)]
    return frozenset([*fields, *tables])


class Templates:
    """Databases that the release before has migrated and filled, made when they are asked for."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.made: dict[Names, str] = {}

    def of(self, names: Names) -> str:
        if names not in self.made:
            self.made[names] = self._make(names)
        return self.made[names]

    def _make(self, names: Names) -> str:
        name = f"safemigrations_names_{uuid4().hex}"
        with pytest.MonkeyPatch.context() as patch, new_database("default", patch) as made:
            with installed(self.directory, write(self.directory, [names.base()])):
                migrate(names.base().name)
                fill(cases.state_after([names.base()]))
            filled = made.settings_dict["NAME"]
            forget("default")
            create_database(name, filled)
        return name


@pytest.fixture(scope="module")
def templates(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Templates]:
    templates = Templates(tmp_path_factory.mktemp("names"))
    yield templates
    for name in templates.made.values():
        on_server("DROP DATABASE {}", name)


@pytest.mark.parametrize("case", SOME, ids=repr)
def test_a_change_under_odd_names_ends_like_stock(case, templates, monkeypatch, tmp_path):
    schema, data = end_of_stock(Names(OTHER, plain_in(case)), case, templates, monkeypatch, tmp_path)
    names = Names(QUOTE, plain_in(case))
    with new_database("default", monkeypatch, templates.of(names)):
        named = names.of_case(case)
        migrations = cases.ours(named, names.base())
        package = write(tmp_path, [names.base(), *migrations])
        with installed(tmp_path, package):
            ended, left = there_and_back(Release(named, tmp_path, package, migrations), names)
    ended = with_other(ended)
    assert difference(*map(nameless, (schema, ended)) if case.former_names else (schema, ended)) == {}
    if not case.rows_differ:
        assert left == data


def end_of_stock(names: Names, case: Case, templates: Templates, patch: Any, directory: Path) -> tuple[Snapshot, Any]:
    with new_database("default", patch, templates.of(names)) as database:
        if case.rows_differ:
            empty()
        migrations = [names.base(), *cases.stock(names.of_case(case))]
        with installed(directory, write(directory, migrations)):
            migrate(migrations[-1].name)
        return with_other(snapshot(database)), rows_of(database, names)


def there_and_back(release: Release, names: Names) -> tuple[Snapshot, Any]:
    """There, back, there, through the contract, and back; what there was before the last step."""
    start = snapshot(connection)
    release.expand()
    release.back()
    release.assert_is(start)
    release.expand()
    release.contract()
    ended = snapshot(connection), rows_of(connection, names)
    release.back_after_contract()
    release.assert_is(start)
    return ended


def rows_of(database: Any, names: Names) -> Any:
    """By table; the order of jsonb is that of the names."""
    found = rows(database, leaving_out=names.odd("placed").replace('""', '"'))
    return {
        with_other(table): sorted(
            (with_other(json.loads(row)) for row in left), key=lambda row: json.dumps(row, sort_keys=True)
        )
        for table, left in found.items()
    }


# What stands between dollars. Django reads no table, and no column, whose name holds one; it makes and alters them.

TAG = "$safemig$ {}"


def tagged(field: type[models.Field[Any, Any]], **options: Any) -> models.Field[Any, Any]:
    return field(db_column=options.pop("db_column", TAG), **options)


def text(**options: Any) -> models.Field[Any, Any]:
    return tagged(models.CharField, **{"max_length": 50, "db_comment": TAG, "unique": True, **options})


TAGGED: dict[str, tuple[models.Field[Any, Any], Operation]] = {
    "another column": (
        text(db_default=TAG),
        ExpandAlterField("book", "extra", text(db_default=TAG, db_column="other")),
    ),
    "another type": (
        tagged(models.IntegerField, unique=True),
        ExpandAlterField("book", "extra", tagged(models.BigIntegerField, unique=True)),
    ),
    "another column and type": (
        text(),
        ExpandAlterField(
            "book", "extra", tagged(models.IntegerField, unique=True, db_comment=TAG, db_column=f"{TAG} new")
        ),
    ),
    "another table": (text(), ExpandAlterModelTable("book", f"{TAG} new")),
    "not null": (
        text(null=True, unique=False),
        SetNotNullLater("book", "extra", text(unique=False), backfill=Value(TAG)),
    ),
    "a new column": (
        text(null=True),
        AddFieldNullableThenBackfill("book", "more", tagged(models.TextField, db_column="more"), backfill=Value(TAG)),
    ),
}


@pytest.mark.parametrize("what", TAGGED)
def test_names_and_values_that_hold_what_ends_our_blocks(database, what):
    field, operation = TAGGED[what]
    shop = Shop(database, book(("extra", field), db_table=TAG))
    shop.execute(f"""INSERT INTO "{TAG}" (title, "{TAG}") VALUES ('a', '1')""")
    start = snapshot(connection)
    shop.migrate(operation)
    shop.contract()
    assert "safemig_" not in str(snapshot(connection))
    shop.back()
    assert difference(nameless(start), nameless(snapshot(connection))) == {}
