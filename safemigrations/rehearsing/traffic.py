"""Sends the requests that the servers of a release would send, whatever models the release has.

Each process works on rows that it made itself, so that two of them don't get into each other's way. What it wrote is
kept in a ledger, which the other release reads, too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from django.db.models import Count

from .. import conf
from .ledger import Ledger, Names, cell, same
from .parents import Parents
from .requests import Requests
from .rows import SEEDS, Rows, sent
from .values import found, path_of


class Traffic(Parents):
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
