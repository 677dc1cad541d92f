"""Creates rows for models, with the parents that they need."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from django.apps import apps
from django.core.exceptions import ValidationError
from django.db import DatabaseError, connections, models, router, transaction
from django.db.models import CheckConstraint, Q, UniqueConstraint
from django.db.models.fields.proxy import OrderWrt

from .values import NoValue, Numbers

# The code brings the rows of these; another row would break them.
MADE_BY_DJANGO = ("contenttypes.contenttype", "auth.permission", "sites.site")
TRIES = 8
DEEPEST = 12  # rows, each of which needs the next one
SEEDS = 5  # rows of a model that were there before, and that nobody deletes


def rehearsed_models(alias: str) -> list[Any]:
    """The models with a table of their own in this database, parents before the models that point at them."""
    return parents_first(
        model
        for model in apps.get_models(include_auto_created=False)
        if model._meta.managed and not (model._meta.proxy or model._meta.swapped)
        if not model.__module__.startswith("safemigrations.")
        if router.allow_migrate_model(alias, model)
    )


def parents_first(models_: Iterable[Any]) -> list[Any]:
    left, ordered = list(models_), list[Any]()
    while left:
        ready = [model for model in left if not any(parent in left for parent in parents(model) - {model})]
        ordered += ready or left[:1]  # two that point at each other
        left = [model for model in left if model not in ordered]
    return ordered


def label(model: Any) -> str:
    return str(model._meta.label_lower)


def parents(model: Any) -> set[Any]:
    relations = [field.remote_field for field in model._meta.concrete_fields if field.remote_field]
    return {relation.model._meta.concrete_model for relation in relations}


def sent(model: Any) -> list[Any]:
    """The fields whose values the writer of a row sends."""
    return [
        field
        for field in model._meta.concrete_fields
        if not (
            isinstance(field, models.AutoField | OrderWrt)
            or field.generated
            or getattr(field, "auto_now", False)
            or getattr(field, "auto_now_add", False)
            or getattr(field.remote_field, "parent_link", False)
        )
    ]


def checked(model: Any) -> set[str]:
    """The fields that a check constraint compares with something."""
    checks = [constraint for constraint in model._meta.constraints if isinstance(constraint, CheckConstraint)]
    conditions = [check.condition for check in checks if isinstance(check.condition, Q)]
    return {name for condition in conditions for name in condition.referenced_base_fields}


def unique_sets(model: Any) -> list[tuple[str, ...]]:
    """What ON CONFLICT may name, without relations and conditions."""
    single = [(field.name,) for field in sent(model) if field.unique and not field.remote_field]
    together = [tuple(names) for names in model._meta.unique_together]
    unique = [c for c in model._meta.constraints if isinstance(c, UniqueConstraint)]
    constraints = [c.fields for c in unique if c.fields and not c.condition and not c.deferrable]
    given = {field.name for field in sent(model)}
    return [names for names in single + together + constraints if given.issuperset(names)]


class Rows:
    """Rows of one process, on one database."""

    def __init__(self, numbers: Numbers, alias: str) -> None:
        self.numbers, self.alias, self.depth = numbers, alias, 0  # how many rows wait for their parents
        self.seeds: dict[Any, list[Any]] = {}
        self.keys: Callable[[Any], Sequence[str]] | None = None  # of the seeds of a model; None: nobody else is there
        self.unique: frozenset[str] = frozenset()  # "shop.order.invoice": relations that one release says are unique

    def values(self, model: Any, **given: Any) -> dict[str, Any]:
        """The values of a new row, allowed by the release's own check constraints."""
        for _ in range(TRIES):
            values = self._values(model, given)
            if self._is_allowed(model, values):
                break
            next(self.numbers.count)  # a row that takes an even count of numbers would get the same ones each time
        return values

    def _is_allowed(self, model: Any, values: dict[str, Any]) -> bool:
        for constraint in model._meta.constraints:
            if isinstance(constraint, CheckConstraint):
                try:
                    constraint.validate(model, model(**values), using=self.alias)
                except ValidationError:
                    return False
        return True

    def _values(self, model: Any, given: dict[str, Any]) -> dict[str, Any]:
        fields = [field for field in sent(model) if field.name not in given]
        chosen = [field for field in fields if not (self._has_default(field) and next(self.numbers.count) % 2)]
        return {field.name: self.value(field) for field in chosen} | given

    def value(self, field: Any) -> Any:
        return self._parent(field) if field.remote_field else self.numbers.value(field)

    def create(self, model: Any, **given: Any) -> Any:
        """Create a row, with other values if the database or the model refuses some.

        Raises the last error if all are refused.
        """
        if self.depth == DEEPEST:
            raise NoValue(f"Making a row of {label(model)} needs rows without end.")
        self.depth += 1
        try:
            return self._create(model, given)
        finally:
            self.depth -= 1

    def create_parent(self, model: Any) -> Any:
        """Create a row for others to point at. An error of the project's own save() means that none can be made."""
        try:
            return self.create(model)
        except (DatabaseError, NoValue):
            raise
        except Exception as error:
            raise NoValue(f"No row of {label(model)} could be made: {type(error).__name__}: {error}") from error

    def _create(self, model: Any, given: dict[str, Any]) -> Any:
        for left in reversed(range(TRIES)):
            try:
                values = self.values(model, **given)
                with self._savepoint():
                    return model._default_manager.using(self.alias).create(**values)
            except (DatabaseError, ValidationError):
                if not left:
                    raise
        raise AssertionError(model)

    def _savepoint(self) -> AbstractContextManager[Any]:
        """Where a transaction has to go on after an error; elsewhere a save() may want none around it."""
        return transaction.atomic(using=self.alias) if connections[self.alias].in_atomic_block else nullcontext()

    def _has_default(self, field: Any) -> bool:
        return field.has_db_default() or (field.has_default() and not field.unique and not field.remote_field)

    def _parent(self, field: Any) -> Any:
        model, number = field.remote_field.model._meta.concrete_model, next(self.numbers.count)
        if field.null and (model is field.model or number % 2 or self.depth > 1):
            return None
        seeds = self._seeds(model)
        unique = field.unique or f"{label(field.model)}.{field.name}" in self.unique
        if seeds and not unique and (number % 3 or label(model) in MADE_BY_DJANGO):
            return seeds[number % len(seeds)]
        return self.create_parent(model)

    def _seeds(self, model: Any) -> list[Any]:
        """Rows that nobody deletes."""
        if model not in self.seeds:
            self.seeds[model] = list(self._found(model))
        return self.seeds[model]

    def _found(self, model: Any) -> Any:
        if self.keys is None:
            return first_of(model, self.alias)
        keys = [model._meta.pk.to_python(key) for key in self.keys(model)]
        return model._base_manager.using(self.alias).filter(pk__in=keys).order_by("pk")


def first_of(model: Any, alias: str) -> Any:
    return model._base_manager.using(alias).order_by("pk")[:SEEDS]


def seeds(chosen: Iterable[Any], alias: str) -> dict[str, list[str]]:
    """Keys of the first rows of each model, and of those that it points at; asked before anybody makes rows of his own.

    Nothing points at a key of several columns.
    """
    single = [model for model in chosen if not isinstance(model._meta.pk, models.CompositePrimaryKey)]
    wanted = dict.fromkeys([*single, *(parent for model in single for parent in parents(model))])
    return {label(model): _first_keys(model, alias) for model in wanted}


def _first_keys(model: Any, alias: str) -> list[str]:
    try:
        return [row._meta.pk.value_to_string(row) for row in first_of(model, alias)]
    except DatabaseError:  # its table is somewhere else: no migration of this database makes it
        return []


def fill(rows: Rows, chosen: Iterable[Any], *, each: int) -> dict[str, str]:
    """Create some rows in every empty table; returns the models that remain empty, with the reasons."""
    failed: dict[str, str] = {}
    for model in chosen:
        if label(model) in MADE_BY_DJANGO or model._base_manager.using(rows.alias).exists():
            continue
        try:
            for _ in range(each):
                _relate(rows, rows.create(model))
        except Exception as error:  # whatever a save() of the project's raises
            failed[label(model)] = _reason(error)
    return failed


def _reason(error: BaseException) -> str:
    """The reason why a row could not be made; if its parent could not be made, the reason for that."""
    if isinstance(error, NoValue):
        return _reason(error.__cause__) if error.__cause__ else str(error)
    return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"


def _relate(rows: Rows, row: Any) -> None:
    for field in row._meta.local_many_to_many:
        if field.remote_field.through._meta.auto_created:
            getattr(row, field.name).set(list(first_of(field.remote_field.model, rows.alias)))
