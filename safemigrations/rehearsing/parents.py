"""Deletes rows that others point at, and reads afterwards what has become of those."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from django.core.exceptions import FieldDoesNotExist
from django.db import models

from .rows import sent
from .writing import Writing

Family = list[str]  # child model, its key, the field, parent model, its key: by the names of the old release


class Parents(Writing):
    chosen: list[Any]  # models whose parents are deleted

    def delete_parents(self, model: Any) -> None:
        """Parents of rows of its own, as their ON DELETE has it."""
        for family in filter(self.delete_parent, self.families(model)):
            child, pk, name, *_ = family
            field = self.known[child]._meta.get_field(name)
            with self.request(model, f"read after its {name} was deleted"):
                stays = self.known[child]._base_manager.using(self.rows.alias).filter(pk=pk).exists()
                expected = field.remote_field.on_delete is models.SET_NULL  # where it's protected, it goes first
                assert stays == expected, "the row has stayed" if stays else "the row is gone"

    def families(self, *only: Any) -> list[Family]:
        """Children with a parent each that has no other; they are in no ledger."""
        return [
            made
            for model in only or self.chosen
            for field in sent(model)
            if getattr(field, "db_constraint", False)
            for made in self._family(model, field)
        ]

    def _family(self, model: Any, field: Any) -> Iterator[Family]:
        parent = field.remote_field.model._meta.concrete_model
        on_delete = field.remote_field.on_delete
        known = (models.SET_NULL, models.CASCADE, models.PROTECT, models.DO_NOTHING)
        if self.names.model(parent) in self.known and on_delete in known:
            with self.request(model, f"create({field.name}=…)"):
                of = self.rows.create_parent(parent)
                row = self.rows.create(model, **{field.name: of})
                yield [self.names.model(model), str(row.pk), field.name, self.names.model(parent), str(of.pk)]

    def delete_parent(self, family: Family) -> bool:
        """Delete the parent of a child that either release made; a child that protects its parent goes first."""
        child, pk, name, parent, parent_pk = family
        model, known = self.known[parent], self.known.get(child)
        with self.request(model, "delete() of a parent"):
            field = known and _field(known, name)
            if known and field and field.remote_field.on_delete in (models.PROTECT, models.DO_NOTHING):
                known._base_manager.using(self.rows.alias).filter(pk=pk).delete()
            model._base_manager.using(self.rows.alias).get(pk=parent_pk).delete()
            return True
        return False  # type: ignore[unreachable]  # a request swallows its error

    def delete_parents_of(self, families: Sequence[Family]) -> list[Family]:
        """Delete the parents of these families that this release knows; returns those whose parent is gone."""
        return [family for family in families if family[3] in self.known and self.delete_parent(family)]

    def read_children(self, families: Sequence[Family]) -> None:
        """Read the children, whatever became of them.

        Reading must not fail, and no child may point at a missing parent.
        """
        for child, pk, name, _, parent_pk in families:
            model = self.known[child]
            with self.request(model, f"read after its {name} was deleted"):
                for row in model._base_manager.using(self.rows.alias).filter(pk=pk):
                    attname = row._meta.get_field(name).attname
                    assert str(getattr(row, attname)) != parent_pk, f"it still points at the {name} that is gone"
                    row.save()
                    row.delete()


def _field(model: Any, name: str) -> Any:
    try:
        return model._meta.get_field(name)
    except FieldDoesNotExist:
        return None
