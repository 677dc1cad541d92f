"""Sends the requests that the servers of a release would send, whatever models the release has.

Each process works on rows that it made itself, so that two of them don't get into each other's way. What it wrote is
kept in a ledger, which the other release reads, too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from django.core.exceptions import FieldDoesNotExist
from django.db import models
from django.db.models import Count

from .. import conf
from .ledger import Ledger, Names, cell, same
from .requests import Requests
from .rows import SEEDS, Rows, sent
from .values import found, path_of
from .writing import Writing

Family = list[str]  # child model, its key, the field, parent model, its key: by the names of the old release


class Traffic(Writing):
    """Requests on the `chosen` models and, fewer, on those that are `visited`; `known` has them by their old names."""

    def __init__(
        self,
        requests: Requests,
        rows: Rows,
        names: Names,
        known: Mapping[str, Any],
        *,
        chosen: Iterable[str],
        visited: Iterable[str] = (),
        filled: Iterable[str] = (),
        unique: Iterable[str] = (),
        seeds: Mapping[str, Sequence[str]] | None = None,
        over: Callable[[], bool] = lambda: False,
    ) -> None:
        super().__init__(requests, rows, names, known)
        rows.unique, self.over = frozenset(unique), over
        rows.keys = lambda model: (seeds or {}).get(names.model(model), ())
        self.filled = frozenset(filled)  # "shop.order.note": columns in which a null may get a value
        self.chosen = [known[name] for name in chosen if name in known]
        self.visited = [known[name] for name in visited if name in known]
        self.actions = {path_of(action): found(action) for action in conf.rehearsal_actions()}

    # What a process is asked to do.

    def go_on(self) -> None:
        """Send requests until the next message arrives, but each kind at least once: all can fail in a phase."""
        self.round()
        while not self.over():
            self.round(self.over)

    def round(self, over: Callable[[], bool] = lambda: False) -> None:
        """Send each kind of request once, unless the time is over before."""
        for model in self.chosen:
            self.use(model)
            if over():
                return
        for model in self.visited:
            self.visit(model)
        for name, action in self.actions.items():
            with self.request(None, name):
                action()

    def use(self, model: Any) -> None:
        first, second, third = self.create(model), *self.create_several(model)
        if not (first and second and third):
            return
        self.save(first)
        self.update(second)
        self.count_up(second)
        self.lock_and_save(second)
        self.upsert(third)
        self.get_or_create(third)
        self.read(first, second, third)
        self.sort(model)
        self.delete(third)
        self.delete_parents(model)
        for field in model._meta.local_many_to_many:
            self.relate(first, field)

    def visit(self, model: Any) -> None:
        if row := self.create(model):
            self.save(row)
            self.read(row)

    def read(self, *rows: Any) -> None:
        model = type(rows[0])
        mine = self.manager(model).filter(pk__in=[row.pk for row in rows])
        self.audit({key: self.ledger[key] for key in map(self.key, rows) if key in self.ledger})
        for field in model._meta.concrete_fields:
            if field.remote_field:
                with self.request(model, f"join over {field.name}"):
                    list(mine.select_related(field.name).order_by(f"{field.name}__pk"))
                    list(mine.filter(**{f"{field.name}__pk__isnull": False}).values(f"{field.name}__pk"))
        for relation in model._meta.related_objects:
            if not relation.hidden:
                with self.request(model, f"annotate(Count({relation.name}))"):
                    assert len(mine.annotate(_count=Count(relation.name)).order_by("pk")) == len(rows), "rows are gone"

    def learn(self) -> Ledger:
        """Rows that are there before the first request, as they are."""
        for model in self.chosen:
            with self.request(model, "get()"):
                for row in self.manager(model).order_by("pk")[:SEEDS]:
                    self.wrote(row, [field.name for field in sent(model)])
        return self.ledger

    def sort(self, model: Any) -> None:
        with self.request(model, "filter and order by each column"):
            for field in sent(model):
                if field.get_internal_type() not in ("JSONField", "BinaryField"):
                    list(self.manager(model).exclude(**{f"{field.name}__isnull": True}).order_by(field.name)[:2])

    # Parents.

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
        """Of a child that is its own or the other release's; a relation that is protected goes first."""
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

    # What one release does with the rows of the other.

    def audit(self, ledger: Ledger) -> None:
        """Every value that was written is read, as far as this release knows the column."""
        for key, written in ledger.items():
            name, _, pk = key.partition(" ")
            if model := self.known.get(name):
                with self.request(model, "get()"):
                    self._compare(model, self.manager(model).get(pk=pk), written)

    def _compare(self, model: Any, row: Any, written: Mapping[str, Any]) -> None:
        for field in model._meta.concrete_fields:
            column = self.names.column(field)
            if column not in written:
                continue
            found, expected = cell(field, getattr(row, field.attname)), written[column]
            may_be_filled = expected[1] is None and f"{self.names.model(model)}.{column}" in self.filled
            if not may_be_filled and not same(found, expected):
                message = f"{field.attname} is {found[1]!r}, and {expected[1]!r} was written"
                self.requests.lose(model, field, message)

    def touch(self, ledger: Ledger) -> Ledger:
        """Change all columns of the other release's rows as this release would, and return what they hold now."""
        before, self.ledger = self.ledger, {}
        for key in ledger:
            name, _, pk = key.partition(" ")
            if name in self.known:
                model = self.known[name]
                with self.request(model, "get()"):
                    self.save(self.manager(model).get(pk=pk))
        changed, self.ledger = self.ledger, before
        return changed

    def update_ledger(self, changed: Ledger) -> None:
        for key, values in changed.items():
            self.ledger.get(key, {}).update(values)

    def latest(self, each: int) -> Ledger:
        """The last rows of each model that were written."""
        found: Ledger = {}
        counts: dict[str, int] = {}
        for key in reversed(self.ledger):
            name = key.partition(" ")[0]
            counts[name] = counts.get(name, 0) + 1
            if counts[name] <= each:
                found[key] = self.ledger[key]
        return found

    def find_nulls(self) -> None:
        """Django takes NOT NULL for granted and asks nothing, so each row is looked at, too."""
        for model in (*self.chosen, *self.visited):
            for field in model._meta.concrete_fields:
                if not field.null:
                    with self.request(model, "look for nulls"):
                        every = model._base_manager.using(self.rows.alias)
                        found = every.filter(**{f"{field.name}__isnull": True}).count()
                        found += sum(value is None for value in every.values_list(field.attname, flat=True)[:1000])
                        if found:
                            self.requests.lose(model, field, f"{field.attname} is null in {found} rows")


def _field(model: Any, name: str) -> Any:
    try:
        return model._meta.get_field(name)
    except FieldDoesNotExist:
        return None
