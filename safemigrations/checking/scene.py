"""The context of a statement.

That is: the models before the migration, the tables that it creates, the locks that its transaction holds, and the
checks that earlier migrations validated.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from django.conf import settings
from django.db.migrations.state import ModelState, ProjectState
from django.db.models import CheckConstraint, Q

from ..operations.unique_sets import unique_sets
from ..plans.tables import db_table_of, db_tables_through

ACCESS_EXCLUSIVE = "ACCESS EXCLUSIVE"
# Tables of Django's own: they have a row for each migration or model, and no request locks one.
FEW = {"django_migrations", "django_content_type", "auth_permission", "django_site"}


def number_of_databases() -> int:
    """The number of databases that are migrated.

    A mirror for tests doesn't count; Django sets MIRROR in every entry that is used.
    """
    return sum(not (each.get("TEST") or {}).get("MIRROR") for each in settings.DATABASES.values())


def column_of(name: str, field: Any) -> str:
    return str(field.db_column or (f"{name}_id" if field.remote_field and not field.many_to_many else name))


class Table:
    """The model of a table, as it was before the migration."""

    def __init__(self, model: ModelState) -> None:
        self.model = model
        self.fields = {
            column_of(name, field): (name, field) for name, field in model.fields.items() if not field.many_to_many
        }

    def name_of(self, column: str) -> str:
        return self.fields[column][0] if column in self.fields else column

    def field(self, column: str) -> Any:
        return self.fields[column][1] if column in self.fields else None

    def is_unique(self, columns: Iterable[str]) -> bool:
        """Does one value in each of these columns select one row at most?"""
        chosen = set(columns)
        names = {self.name_of(column) for column in chosen} | ({"id"} & chosen)
        return any(each <= names for each in unique_sets(self.model))

    def checks_not_null(self, column: str) -> set[str]:
        """The checks of Meta.constraints that prove that the column has no null."""
        name = self.name_of(column)
        wanted = Q(**{f"{name}__isnull": False})
        checks = [c for c in self.model.options.get("constraints", []) if isinstance(c, CheckConstraint)]
        return {check.name for check in checks if check.condition == wanted}


class Scene:
    """One for each migration. Transactions are numbered: what is held in one is held until the next begins."""

    def __init__(self, state: ProjectState, *, atomic: bool, earlier: Iterable[str] = ()) -> None:
        self.state, self.atomic, self._earlier = state, atomic, earlier
        self._tables: dict[str, ModelState] | None = None
        self._relations: set[str] | None = None
        self.renamed: dict[tuple[str, str], str] = {}  # the label and the new name of a model -> its old one
        self.made: set[str] = set()
        self.app_label = ""  # of the migration
        self.databases = 1
        self.texts: list[str] = []  # the SQL of its RunSQL
        self.elidable = False  # is what is read now left out by squashmigrations?
        self.required: set[tuple[str, str]] = set()  # NOT NULL columns that it adds, which only their default fills
        self.values: dict[str, str] = {}  # of enums, not yet committed -> the statement that adds each
        self.types: set[str] = set()  # that this transaction makes
        self.held: dict[str, tuple[str, str]] = {}  # table -> lock, by which statement or operation
        self.functions: dict[str, Any] = {}  # that it makes, and hasn't called yet
        self.remade: set[str] = set()  # views that the text which is read now makes
        self.dropping: set[str] = set()  # names of constraints that go with the statement that is read now
        self._checks: dict[tuple[str, str], tuple[str, bool]] = {}  # (table, name) -> column without null, is it valid?

    def rename(self, app_label: str, old: str, new: str) -> None:
        self.renamed[app_label, new.lower()] = self.renamed.get((app_label, old.lower()), old.lower())

    def model(self, app_label: str, name: str) -> ModelState | None:
        """The model as it was before the migration, which may have given it another name meanwhile."""
        now = name.lower()
        found: ModelState | None = self.state.models.get((app_label, self.renamed.get((app_label, now), now)))
        return found

    def table(self, name: str) -> Table | None:
        """The model whose table this is; None of a table that no model has."""
        if self._tables is None:
            self._tables = {db_table_of(model): model for model in self.state.models.values()}
        model = self._tables.get(name)
        return Table(model) if model else None

    def is_new(self, table: str) -> bool:
        return table in self.made

    def is_used(self, table: str, column: str = "") -> bool:
        """Does the release before this migration use the table, or the column, in its queries?"""
        found = self.table(table)
        if self.is_new(table):
            return False
        if found is None:
            return table in self._tables_of_relations()
        return not column or column in found.fields or (column == "id" and not found.fields.get("id"))

    def _tables_of_relations(self) -> set[str]:
        """Those of many-to-many fields, which have no model of their own."""
        if self._relations is None:
            models = self.state.models.values()
            self._relations = {
                name for each in models for name in db_tables_through(db_table_of(each), each.fields.items())
            }
        return self._relations

    def unless_own(self, app_label: str) -> str:
        return app_label if app_label != self.app_label and self.app_label else ""

    def hold(self, table: str, lock: str, by: str) -> None:
        if self.is_new(table):
            return
        if lock == ACCESS_EXCLUSIVE or table not in self.held:
            self.held[table] = (lock, by)

    def begin(self) -> None:
        """Begin another transaction."""
        self.held.clear()
        self.values.clear()
        self.types.clear()

    # Checks that prove that a column has no null.

    def check_not_null(self, table: str, column: str, name: str, *, valid: bool) -> None:
        self._checks[table, name] = (column, valid)

    def validated(self, table: str, name: str) -> None:
        if (table, name) in self._checks:
            self._checks[table, name] = (self._checks[table, name][0], True)

    def dropped(self, table: str, name: str) -> None:
        self._checks.pop((table, name), None)

    def proofs(self, table: str, column: str) -> set[str]:
        """The names of the valid checks that prove it."""
        written = {name for (of, name), (on, valid) in self._checks.items() if (of, on, valid) == (table, column, True)}
        found = self.table(table)
        return written | (found.checks_not_null(column) if found else set())

    def earlier_texts(self) -> list[str]:
        """The SQL of the migrations before this one, computed on first use."""
        texts, self._earlier = list(self._earlier), ()
        return texts

    def holding(self) -> Iterator[tuple[str, str, str]]:
        yield from ((table, lock, by) for table, (lock, by) in self.held.items())
