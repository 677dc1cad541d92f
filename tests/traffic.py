"""What the servers of one release do all day, for whatever models that release has."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from django.db import models, transaction
from django.db.models import Count, UniqueConstraint

from .releases import Values, models_of, parents, sent

Key = tuple[str, Any]  # model name, primary key
Ledger = dict[Key, dict[str, Any]]  # what was written: column attribute -> value
Family = tuple[str, Any, str, str, Any]  # child model, its key, the field, parent model, its key


class Traffic:
    """Requests on the models of these names and, fewer, of those near; what goes wrong is collected, not raised."""

    def __init__(
        self,
        state: Any,
        names: set[str],
        near: set[str],
        values: Values,
        over: Callable[[], bool],
        old_names: Mapping[Key, str] | None = None,
        filled: frozenset[str] = frozenset(),
        renamed: Mapping[str, str] | None = None,
        compared_as: Callable[[Any], Any] = lambda value: value,
    ) -> None:
        self.compared_as = compared_as
        self.renamed = renamed or {}
        self.names, self.models = names, {self.name_of(m): m for m in models_of(state) if self.name_of(m) in near}
        self.values, self.over = values, over
        self.old_names = old_names or {}  # (model, attribute) -> attribute of the release before
        self.ledger: Ledger = {}
        self.errors: list[str] = []
        self.filled = filled

    def name_of(self, model: Any) -> str:
        """What both releases call a model here: its name in the old one."""
        return self.renamed.get(model._meta.model_name, model._meta.model_name)

    @contextmanager
    def request(self, model: Any, what: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            self.errors.append(f"{self.values.name}: {what} of {model._meta.object_name}: {error!r}")

    # What a process of tests/forked.py is asked to do.

    def rounds(self, count: int) -> None:
        for _ in range(count):
            for name, model in self.models.items():
                self.use(model) if name in self.names else self.visit(model)

    def go_on(self) -> None:
        """Until the next message arrives."""
        while not self.over():
            self.rounds(1)

    def report(self) -> tuple[Ledger, list[str]]:
        return self.ledger, self.errors

    def use(self, model: Any) -> None:
        first, second, third = self.create(model), *self.create_several(model)
        if not (first and second and third):
            return
        self.save(first)
        self.update(second)
        self.lock_and_save(second)
        self.upsert(third)
        self.read(first, second, third)
        self.delete(third)
        self.delete_parents(model)
        for field in model._meta.local_many_to_many:
            self.relate(first, field)

    def visit(self, model: Any) -> None:
        if row := self.create(model):
            self.save(row)
            self.read(row)

    # Requests.

    def wrote(self, row: Any, names: Any) -> None:
        fields = [row._meta.get_field(name) for name in names]
        self.ledger.setdefault((self.name_of(row), row.pk), {}).update(
            {self.known_as(field): getattr(row, field.attname) for field in fields}
        )

    def known_as(self, field: Any) -> str:
        """What the ledger calls a column, whichever release it is of."""
        return self.old_names.get((field.model._meta.model_name, field.attname), str(field.attname))

    def create(self, model: Any, **given: Any) -> Any:
        with self.request(model, "create"):
            row = self.values.row(model, **given)
            created = model.objects.create(**row)
            self.wrote(created, row)
            return created

    def create_several(self, model: Any) -> Sequence[Any]:
        if model._meta.parents or model._meta.order_with_respect_to:  # Django has no bulk_create for these
            return self.create(model), self.create(model)
        with self.request(model, "bulk_create"):
            rows = [self.values.row(model) for _ in range(2)]
            created = model.objects.bulk_create([model(**row) for row in rows])
            for instance, row in zip(created, rows, strict=True):
                self.wrote(instance, row)
            return list(created)
        return None, None  # type: ignore[unreachable]  # a request swallows its error

    def changes(self, model: Any) -> dict[str, Any]:
        """New values for what is plain: no key, no relation, nothing that is unique."""
        together = {name for names in unique_sets(model) for name in names}
        plain = [f for f in sent(model) if not f.remote_field and not f.unique and f.name not in together]
        return {field.name: self.values.value(field) for field in plain}

    def save(self, row: Any) -> None:
        with self.request(row, "save"):
            changed = row._meta.model.objects.get(pk=row.pk)
            changes = self.changes(row._meta.model)
            for name, value in changes.items():
                setattr(changed, name, value)
            changed.save()
            self.wrote(changed, changes)

    def update(self, row: Any) -> None:
        with self.request(row, "update"):
            changes = self.changes(row._meta.model)
            if changes and row._meta.model.objects.filter(pk=row.pk).update(**changes) != 1:
                self.errors.append(f"{self.values.name}: update found no {row!r}")
            for name, value in changes.items():
                setattr(row, name, value)
            self.wrote(row, changes)

    def lock_and_save(self, row: Any) -> None:
        with self.request(row, "select_for_update"), transaction.atomic():
            locked = row._meta.model.objects.select_for_update().get(pk=row.pk)
            changes = self.changes(row._meta.model)
            for name, value in changes.items():
                setattr(locked, name, value)
            locked.save(update_fields=list(changes))
            self.wrote(locked, changes)

    def upsert(self, row: Any) -> None:
        """INSERT ... ON CONFLICT of a row that is there, for each unique set, and of one that isn't."""
        model = row._meta.model
        for unique in () if model._meta.parents or model._meta.order_with_respect_to else unique_sets(model):
            with self.request(model, f"upsert over {', '.join(unique)}"):
                there = model.objects.get(pk=row.pk)
                same = {field.name: getattr(there, field.name) for field in sent(model)}
                changes = self.changes(model)
                how = {"update_conflicts": True, "unique_fields": unique, "update_fields": list(changes)}
                if changes and None not in [same[name] for name in unique]:  # nulls don't conflict
                    model.objects.bulk_create([model(**{**same, **changes})], **how)
                    (again,) = model.objects.filter(**{name: same[name] for name in unique})
                    self.wrote(again, changes)
                    if again.pk != row.pk:
                        self.errors.append(f"{self.values.name}: upsert over {unique} made another {again!r}")
                    new = self.values.row(model)
                    model.objects.bulk_create([model(**new)], **how)

    def read(self, *rows: Any) -> None:
        model = rows[0]._meta.model
        mine = model.objects.filter(pk__in=[row.pk for row in rows])
        with self.request(model, "get"):
            keys = [(self.name_of(model), row.pk) for row in rows]
            self.audit({key: self.ledger[key] for key in keys})
        for field in model._meta.concrete_fields:
            if field.remote_field:
                with self.request(model, f"join over {field.name}"):
                    list(mine.select_related(field.name).order_by(f"{field.name}__pk"))
                    list(mine.filter(**{f"{field.name}__pk__isnull": False}).values(f"{field.name}__pk"))
        for relation in model._meta.related_objects:
            with self.request(model, f"count of {relation.name}"):
                counted = mine.annotate(count=Count(relation.name)).order_by("pk")
                assert len(counted) == len(rows)

    def delete(self, row: Any) -> None:
        with self.request(row, "delete"):
            key = self.name_of(row), row.pk
            row.delete()
            self.ledger.pop(key, None)

    def delete_parents(self, model: Any) -> None:
        """Parents of rows of our own, as their ON DELETE has it."""
        for child, pk, name, parent, parent_pk in self.families(self.name_of(model)):
            with self.request(model, f"delete of {name}"):
                on_delete = self.models[child]._meta.get_field(name).remote_field.on_delete
                self.delete_parent((child, pk, name, parent, parent_pk))
                stays = self.models[child].objects.filter(pk=pk).exists()
                if stays != (on_delete is models.SET_NULL):
                    self.errors.append(f"{self.values.name}: {child} after its {name} was deleted: {stays}")

    def families(self, only: str = "") -> list[Family]:
        """Children with a parent each that has no other; they are in no ledger."""
        made: list[Family] = []
        for child, model in self.models.items():
            for field in sent(model) if only in ("", child) else ():
                parent = getattr(field, "db_constraint", False) and field.remote_field.model
                if parent and self.name_of(parent) in self.models and parent is not model:
                    with self.request(model, f"create with {field.name}"):
                        of = self.values.create(parent)
                        row = self.values.create(model, **{field.name: of})
                        made.append((child, row.pk, field.name, self.name_of(parent), of.pk))
        return made

    def delete_parent(self, family: Family) -> None:
        """Of a child that is ours or the other release's; a relation that is protected and known goes first."""
        child, pk, name, parent, parent_pk = family
        model = self.models[parent]
        with self.request(model, f"delete of a parent by {name} of {child}"):
            known = self.models.get(child)
            names = {field.name: field for field in known._meta.concrete_fields} if known else {}
            if known and name in names and names[name].remote_field.on_delete is models.PROTECT:
                known.objects.filter(pk=pk).delete()
            model.objects.get(pk=parent_pk).delete()

    def delete_parents_of(self, families: Sequence[Family]) -> list[Family]:
        """Those whose parent this release knows; they are returned."""
        known = [family for family in families if family[3] in self.models]
        for family in known:
            self.delete_parent(family)
        return known

    def read_children(self, families: Sequence[Family]) -> None:
        """Whatever has become of them, reading them is no error; and nothing points at what is gone."""
        for child, pk, name, parent, parent_pk in families:
            with self.request(self.models[child], f"read after its {name} was deleted"):
                for row in self.models[child].objects.filter(pk=pk):
                    # Of a relation that one release doesn't know, null, or its default.
                    if getattr(row, row._meta.get_field(name).attname) == parent_pk:
                        self.errors.append(f"{self.values.name}: {child} still has its {parent}")
                    row.save()
                    row.delete()

    def relate(self, row: Any, field: Any) -> None:
        other = field.remote_field.model
        with self.request(row, f"{field.name}"):
            first, second = self.values.create(other), self.values.create(other)
            getattr(row, field.name).set([first, second])
            assert set(getattr(row, field.name).all()) == {first, second}
            assert row._meta.model.objects.filter(**{field.name: first}).get() == row
            first.delete()
            assert list(getattr(row, field.name).all()) == [second]
            row._meta.model.objects.annotate(count=Count(field.name)).get(pk=row.pk, count=1)
            related = self.values.create(row._meta.model)
            getattr(related, field.name).add(second)
            related.delete()

    # What one release does with the rows of the other.

    def audit(self, ledger: Ledger) -> None:
        """Every value that was written is read, as far as this release knows the column."""
        for (name, pk), written in ledger.items():
            if model := self.models.get(name):
                with self.request(model, "read of what was written"):
                    known = {self.known_as(field): field.attname for field in model._meta.concrete_fields}
                    row = model.objects.get(pk=pk)
                    found = {name: getattr(row, known[name]) for name in known.keys() & written.keys()}
                    read = {name: self.compared_as(value) for name, value in found.items()}
                    expected = {
                        name: read[name]
                        if self.may_be_filled(model, known[name], written[name])
                        else self.compared_as(written[name])
                        for name in read
                    }
                    if read != expected:
                        self.errors.append(f"{self.values.name}: {name} {pk} has {read}, was given {expected}")

    def may_be_filled(self, model: Any, attname: str, value: Any) -> bool:
        fields = {f"{model._meta.model_name}.{field.name}": field.attname for field in model._meta.concrete_fields}
        return value is None and attname in {fields[name] for name in self.filled & fields.keys()}

    def touch(self, ledger: Ledger) -> Ledger:
        """Change rows of the other release as this one would, all their columns, and tell what they have now."""
        before, self.ledger = self.ledger, {}
        for name, pk in ledger:
            if name in self.models:
                self.save(self.models[name](pk=pk))
        changed, self.ledger = self.ledger, before
        return changed

    def update_ledger(self, changed: Ledger) -> None:
        for key, values in changed.items():
            self.ledger[key].update(values)

    def find_nulls(self, allowed: frozenset[str]) -> None:
        for name, model in self.models.items():
            for field in model._meta.concrete_fields:
                if not field.null and f"{name}.{field.name}" not in allowed:
                    with self.request(model, "look for nulls"):
                        found = model.objects.filter(**{f"{field.name}__isnull": True}).count()
                        # Django takes NOT NULL for granted and asks nothing, so each row is looked at, too.
                        found += sum(value is None for value in model.objects.values_list(field.attname, flat=True))
                        if found:
                            self.errors.append(f"{self.values.name}: {name}.{field.name} is null in {found} rows")


def unique_sets(model: Any) -> list[tuple[str, ...]]:
    """What ON CONFLICT may name, without relations and conditions."""
    single = [(field.name,) for field in sent(model) if field.unique and not field.remote_field]
    together = [tuple(names) for names in model._meta.unique_together]
    unique = [c for c in model._meta.constraints if isinstance(c, UniqueConstraint)]
    constraints = [c.fields for c in unique if c.fields and not c.condition and not c.deferrable]
    given = {field.name for field in sent(model)}
    return [names for names in single + together + constraints if given.issuperset(names)]


def neighbourhood(state: Any, names: set[str]) -> set[str]:
    """Models, what they point at, and what points at them."""
    found = set(names)
    for model in models_of(state):
        near = {parent._meta.model_name for parent in parents(model)}
        near |= {field.remote_field.model._meta.model_name for field in model._meta.local_many_to_many}
        if model._meta.model_name in names:
            found |= near
        elif near & names:
            found.add(model._meta.model_name)
    return found
