"""Requests that write rows of one model, as servers send them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from django.db import models, transaction
from django.db.models import Count, F

from .ledger import Ledger, Names, cell
from .requests import Requests
from .rows import Rows, checked, sent, unique_sets

KEPT = 60  # rows of a model in the ledger


class Writing:
    """Requests on models, by what the old release calls them; what they wrote is in the ledger."""

    def __init__(self, requests: Requests, rows: Rows, names: Names, known: Mapping[str, Any]) -> None:
        self.requests, self.rows, self.names, self.known = requests, rows, names, known
        self.ledger: Ledger = {}
        self.request = requests.request

    def manager(self, model: Any) -> Any:
        return model._default_manager.using(self.rows.alias)

    def key(self, row: Any) -> str:
        return f"{self.names.model(type(row))} {row.pk}"

    def wrote(self, row: Any, names: Any) -> None:
        written = self.ledger.setdefault(self.key(row), {})
        for name in names:
            field = row._meta.get_field(name)
            written[self.names.column(field)] = cell(field, getattr(row, field.attname))
        self._forget_oldest(row)

    def _forget_oldest(self, row: Any) -> None:
        mine = f"{self.names.model(type(row))} "
        own = [key for key in self.ledger if key.startswith(mine)]
        for key in own[:-KEPT]:
            del self.ledger[key]

    def create(self, model: Any, **given: Any) -> Any:
        with self.request(model, "create()"):
            row = self.rows.values(model, **given)
            created = self.manager(model).create(**row)
            self.wrote(created, row)
            return created

    def create_several(self, model: Any) -> Sequence[Any]:
        if model._meta.parents or model._meta.order_with_respect_to:  # Django has no bulk_create for these
            return self.create(model), self.create(model)
        with self.request(model, "bulk_create()"):
            rows = [self.rows.values(model) for _ in range(2)]
            created = self.manager(model).bulk_create([model(**row) for row in rows])
            for instance, row in zip(created, rows, strict=True):
                self.wrote(instance, row)
            return list(created)
        return None, None  # type: ignore[unreachable]  # a request swallows its error

    def changes(self, model: Any) -> dict[str, Any]:
        """New values for plain fields: no keys, no relations, nothing unique or checked."""
        bound = {name for names in unique_sets(model) for name in names} | checked(model)
        plain = [f for f in sent(model) if not f.remote_field and not f.unique and f.name not in bound]
        return {field.name: self.rows.value(field) for field in plain}

    def save(self, row: Any) -> None:
        with self.request(type(row), "save()"):
            changed = self.manager(type(row)).get(pk=row.pk)
            changes = self.changes(type(row))
            for name, value in changes.items():
                setattr(changed, name, value)
            changed.save()
            self.wrote(changed, changes)

    def update(self, row: Any) -> None:
        with self.request(type(row), "update()"):
            changes = self.changes(type(row))
            if changes:
                assert self.manager(type(row)).filter(pk=row.pk).update(**changes) == 1, "it found no row"
            for name, value in changes.items():
                setattr(row, name, value)
            self.wrote(row, changes)

    def count_up(self, row: Any) -> None:
        model = type(row)
        for field in sent(model):
            counts = isinstance(field, models.IntegerField) and not field.flatchoices
            if counts and field.name in self.changes(model):
                with self.request(model, f"update({field.name}=F(…) + 1)"):
                    self.manager(model).filter(pk=row.pk).update(**{field.name: F(field.name) + 1})
                    self.ledger.get(self.key(row), {}).pop(self.names.column(field), None)
                    self.wrote(self.manager(model).get(pk=row.pk), [field.name])

    def lock_and_save(self, row: Any) -> None:
        with self.request(type(row), "save(update_fields=…)"), transaction.atomic(using=self.rows.alias):
            locked = self.manager(type(row)).select_for_update(of=("self",)).get(pk=row.pk)
            changes = self.changes(type(row))
            for name, value in changes.items():
                setattr(locked, name, value)
            locked.save(update_fields=list(changes))
            self.wrote(locked, changes)

    def upsert(self, row: Any) -> None:
        """INSERT ... ON CONFLICT of a row that is there, for each unique set, and of one that isn't."""
        model = type(row)
        for unique in () if model._meta.parents or model._meta.order_with_respect_to else unique_sets(model):
            with self.request(model, f"upsert over {', '.join(unique)}"):
                there = self.manager(model).get(pk=row.pk)
                same_row = {field.name: getattr(there, field.name) for field in sent(model)}
                changes = self.changes(model)
                how = {"update_conflicts": True, "unique_fields": unique, "update_fields": list(changes)}
                if changes and None not in [same_row[name] for name in unique]:  # nulls don't conflict
                    self.manager(model).bulk_create([model(**{**same_row, **changes})], **how)
                    (again,) = self.manager(model).filter(**{name: same_row[name] for name in unique})
                    self.wrote(again, changes)
                    assert again.pk == row.pk, "it made another row"
                    self._upsert_another(model, unique, how)

    def _upsert_another(self, model: Any, unique: Sequence[str], how: dict[str, Any]) -> None:
        """A new row, unless its values are those of one that somebody has written."""
        row = self.rows.values(model)
        key = {name: row[name] for name in unique if name in row}
        if not model._base_manager.using(self.rows.alias).filter(**key).exists() or len(key) < len(unique):
            self.manager(model).bulk_create([model(**row)], **how)

    def get_or_create(self, row: Any) -> None:
        model = type(row)
        for unique in unique_sets(model)[:1]:
            with self.request(model, "get_or_create()"):
                there = self.manager(model).get(pk=row.pk)
                by = {name: getattr(there, name) for name in unique}
                if None not in by.values():
                    found, created = self.manager(model).get_or_create(**by, defaults={})
                    assert not created, "it made another row"
                    assert found.pk == row.pk, "it found another row"

    def delete(self, row: Any) -> None:
        with self.request(type(row), "delete()"):
            key = self.key(row)
            row.delete()
            self.ledger.pop(key, None)

    def relate(self, row: Any, field: Any) -> None:
        other = field.remote_field.model
        if not field.remote_field.through._meta.auto_created:
            return
        with self.request(type(row), f"{field.name}.set(), add(), remove()"):
            first, second = self.rows.create(other), self.rows.create(other)
            getattr(row, field.name).set([first, second])
            assert set(getattr(row, field.name).all()) == {first, second}, "other rows are related"
            assert self.manager(type(row)).filter(**{field.name: first}).get() == row, "another row is related"
            first.delete()
            assert list(getattr(row, field.name).all()) == [second], "other rows are related"
            self.manager(type(row)).annotate(_count=Count(field.name)).get(pk=row.pk, _count=1)
            getattr(row, field.name).remove(second)
            related = self.rows.create(type(row))
            getattr(related, field.name).add(second)
            related.delete()
