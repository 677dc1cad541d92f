"""What the servers of one release do all day, for whatever models that release has.

Each process works on rows that it made itself, so that two of them don't get into each other's way. What it wrote is
kept in a ledger, which the other release reads, too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from django.core.exceptions import FieldDoesNotExist
from django.db import models, transaction
from django.db.models import CheckConstraint, Count, F, Q, UniqueConstraint

from .. import conf
from .ledger import Ledger, cell, same
from .requests import Requests
from .rows import Rows, label, rehearsed_models, sent
from .values import found, path_of

Family = list[str]  # child model, its key, the field, parent model, its key: by the names of the old release
KEPT = 60  # rows of a model in the ledger


class Names:
    """What both releases call a model and a column: their names in the old one."""

    def __init__(self, models_: Mapping[str, str], columns: Mapping[str, str]) -> None:
        self._models, self._columns = models_, columns

    def model(self, model: Any) -> str:
        return self._models.get(label(model), label(model))

    def column(self, field: Any) -> str:
        """Of an attribute; "shop.order.total_id" is known as the key says."""
        return self._columns.get(f"{label(field.model)}.{field.attname}", str(field.attname))


class Traffic:
    """Requests on the `chosen` models and, fewer, on those that are `visited`."""

    def __init__(
        self,
        requests: Requests,
        rows: Rows,
        names: Names,
        *,
        chosen: Sequence[str],
        visited: Sequence[str],
        filled: Sequence[str] = (),
        unique: Sequence[str] = (),
        over: Callable[[], bool] = lambda: False,
    ) -> None:
        self.requests, self.rows, self.names, self.over = requests, rows, names, over
        rows.unique = frozenset(unique)
        self.filled = frozenset(filled)  # "shop.order.note": columns in which a null may get a value
        self.known = {names.model(model): model for model in rehearsed_models(rows.alias)}
        self.chosen = [self.known[name] for name in chosen if name in self.known]
        self.visited = [self.known[name] for name in visited if name in self.known]
        self.actions = {path_of(action): found(action) for action in conf.rehearsal_actions()}
        self.ledger: Ledger = {}
        self.request = requests.request

    # What a process is asked to do.

    def go_on(self) -> None:
        """Until the next message arrives, but everything once: what is asked of a phase is what can go wrong in it."""
        self.round()
        while not self.over():
            self.round(self.over)

    def round(self, over: Callable[[], bool] = lambda: False) -> None:
        """Everything once, unless it is over before."""
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

    # Requests.

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
        """New values for what is plain: no key, no relation, nothing that is unique or checked."""
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

    def sort(self, model: Any) -> None:
        with self.request(model, "filter and order by each column"):
            for field in sent(model):
                if field.get_internal_type() not in ("JSONField", "BinaryField"):
                    list(self.manager(model).exclude(**{f"{field.name}__isnull": True}).order_by(field.name)[:2])

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

    # Parents.

    def delete_parents(self, model: Any) -> None:
        """Parents of rows of its own, as their ON DELETE has it."""
        for family in filter(self.delete_parent, self.families(model)):
            child, pk, name, *_ = family
            field = self.known[child]._meta.get_field(name)
            with self.request(model, f"read after its {name} was deleted"):
                stays = self.known[child]._base_manager.using(self.rows.alias).filter(pk=pk).exists()
                expected = {models.SET_NULL: True, models.CASCADE: False}.get(field.remote_field.on_delete, stays)
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
        """Those whose parent this release knows; whose is gone is returned."""
        return [family for family in families if family[3] in self.known and self.delete_parent(family)]

    def read_children(self, families: Sequence[Family]) -> None:
        """Whatever has become of them, reading them is no error; and nothing points at what is gone."""
        for child, pk, name, _, parent_pk in families:
            model = self.known[child]
            with self.request(model, f"read after its {name} was deleted"):
                for row in model._base_manager.using(self.rows.alias).filter(pk=pk):
                    attname = row._meta.get_field(name).attname
                    assert str(getattr(row, attname)) != parent_pk, f"it still points at the {name} that is gone"
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
        """Change rows of the other release as this one would, all their columns, and tell what they have now."""
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
        for model in self.chosen:
            for field in model._meta.concrete_fields:
                if not field.null:
                    with self.request(model, "look for nulls"):
                        every = model._base_manager.using(self.rows.alias)
                        found = every.filter(**{f"{field.name}__isnull": True}).count()
                        found += sum(value is None for value in every.values_list(field.attname, flat=True)[:1000])
                        if found:
                            self.requests.lose(model, field, f"{field.attname} is null in {found} rows")


def checked(model: Any) -> set[str]:
    """Fields that a check constraint compares with something."""
    checks = [constraint for constraint in model._meta.constraints if isinstance(constraint, CheckConstraint)]
    conditions = [check.condition for check in checks if isinstance(check.condition, Q)]
    return {name for condition in conditions for name in condition.referenced_base_fields}


def _field(model: Any, name: str) -> Any:
    try:
        return model._meta.get_field(name)
    except FieldDoesNotExist:
        return None


def unique_sets(model: Any) -> list[tuple[str, ...]]:
    """What ON CONFLICT may name, without relations and conditions."""
    single = [(field.name,) for field in sent(model) if field.unique and not field.remote_field]
    together = [tuple(names) for names in model._meta.unique_together]
    unique = [c for c in model._meta.constraints if isinstance(c, UniqueConstraint)]
    constraints = [c.fields for c in unique if c.fields and not c.condition and not c.deferrable]
    given = {field.name for field in sent(model)}
    return [names for names in single + together + constraints if given.issuperset(names)]
