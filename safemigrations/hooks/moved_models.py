"""A model that moves to another app: it is deleted in one app and created in another one, with the same fields.

Nobody but a person knows whether it is the same. Django asks nothing, drops the table and makes an empty one. So the
model is first moved in Python alone, before Django compares the two states; what is left is what differs besides.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

from django.core.management.base import CommandError
from django.db.migrations.autodetector import OperationDependency
from django.db.migrations.state import ModelState, ProjectState
from django.db.migrations.utils import get_references

from ..data import Data
from ..operations.home import home_of
from ..operations.move_model import MoveModelIn, MoveModelOut
from ..plans.old_table_name import OTHER_SCHEMA, moves_to_another_schema
from ..plans.tables import db_table_of
from ..postgres.names import Name

AS_IT_IS = (
    "If it is another model: run makemigrations without --noinput and answer; or make two migrations, first without "
    "the old model, then with the new one."
)


class Move(Data):
    """A model that may have moved from one app to another; `before` are the models before the change."""

    old: ModelState
    new: ModelState
    before: ProjectState

    def __str__(self) -> str:
        return f"model {self.old.app_label}.{self.old.name} moved to {self.new.app_label}.{self.new.name}"

    @property
    def said(self) -> str:
        return f"The {self}"

    @property
    def question(self) -> str:
        return f"Did the {str(self).replace(' moved to ', ' move to ')}?"

    @property
    def is_certain(self) -> bool:
        """Do both models have the same fields?"""
        return self.old.fields.keys() == self.new.fields.keys()

    @property
    def has_rows(self) -> bool:
        """Would rows be lost if the model were deleted and created anew?"""
        return _has_table(self.old)

    def can_be_ignored(self, asked_for: Collection[str] | None) -> bool:
        """Can the move be ignored? Yes, if the model has no table and the other app no migrations."""
        return not self.has_rows and asked_for is None and self.new.app_label in self.before.real_apps

    @property
    def arrival(self) -> MoveModelIn:
        return MoveModelIn(self.new.name, self.old.app_label, self.new.options.get("db_table"))

    @property
    def departure(self) -> MoveModelOut:
        return MoveModelOut(self.old.name, self.new.app_label)

    @property
    def named_by(self) -> set[str]:
        """The app that the model leaves, and the apps whose models refer to it.

        All of them migrate before the model leaves.
        """
        key = self.old.app_label, self.old.name_lower
        names = {model.app_label for model, *_ in get_references(self.before, key)}
        return {key[0], *names, *(model.app_label for model in self.before.models.values() if _inherits(model, key))}

    def needs(self) -> list[Any]:
        """Dependencies on the last migration of each of these apps, in the autodetector's form."""
        key, kind = self.old.name_lower, OperationDependency.Type.CREATE
        return [OperationDependency(label, key, None, kind) for label in sorted(self.named_by)]

    def is_followed_by(self) -> list[Any]:
        return [OperationDependency(self.new.app_label, self.new.name_lower, None, OperationDependency.Type.CREATE)]

    def refuse_to_guess(self) -> None:
        raise CommandError(
            f"{self.question} Its fields differ, and with --noinput nobody can answer: taking it for a deletion and a "
            f"new model would lose its rows. {AS_IT_IS}"
        )

    def refuse_impossible(self, asked_for: Collection[str] | None) -> None:
        """Raise CommandError for what can't be written, or would be written in part."""
        apps = {self.old.app_label, self.new.app_label}
        if asked_for is not None and not apps <= set(asked_for):
            raise CommandError(
                f"{self.said}, so both apps get a migration. Type: python manage.py makemigrations "
                f"{' '.join(sorted({*asked_for, *apps}))}"
            )
        if asked_for is None and self.new.app_label in self.before.real_apps:
            raise CommandError(
                f"{self.said}, and {self.new.app_label} has no migrations. Type: python manage.py makemigrations "
                f"{' '.join(sorted(apps))}"
            )
        if why := self._what_forbids_it():
            raise CommandError(f"{self.said}, which makemigrations can't write. {why}")

    def _what_forbids_it(self) -> str:
        homes = [home_of(self.old), home_of(self.new)]
        if homes[0] and homes[1] and homes[0].alias != homes[1].alias:
            return (
                f"Your routers put the one into the database {homes[0].alias}, the other into {homes[1].alias}: no "
                "table moves between databases. Make the new model first, copy the rows, and delete the old one later."
            )
        if moves_to_another_schema(*(Name.from_django(db_table_of(model)) for model in (self.old, self.new))):
            return OTHER_SCHEMA
        if any(get_references(self.before, (self.new.app_label, self.new.name_lower))):
            return (
                f"A setting, such as AUTH_USER_MODEL, lets migrations that are there point at {self.new.app_label}."
                f"{self.new.name}: on a new database they would run before it is there. Leave the model where it is."
            )
        return ""


def moves(before: ProjectState, after: ProjectState) -> Iterator[Move]:
    """The possible moves; if several are about the same model, at most one is right."""
    gone = [before.models[key] for key in sorted(before.models.keys() - after.models.keys())]
    come = [after.models[key] for key in sorted(after.models.keys() - before.models.keys())]
    for old in gone:
        for new in come:
            if old.name_lower == new.name_lower and _kind(old) == _kind(new) and _are_alike(old, new):
                yield Move(old, new, before)


def _kind(model: ModelState) -> tuple[bool, bool]:
    return bool(model.options.get("proxy")), bool(model.options.get("managed", True))


def _are_alike(old: ModelState, new: ModelState) -> bool:
    """Does either model have most of the other's fields? Two proxies are alike if their bases have the same name."""
    if old.options.get("proxy"):
        return _names_of_bases(old) == _names_of_bases(new)
    common = old.fields.keys() & new.fields.keys()
    return 2 * len(common) > max(len(old.fields), len(new.fields))


def _names_of_bases(model: ModelState) -> list[str]:
    """The names without the app: the model that it is a proxy of may move with it."""
    return [base.lower().rpartition(".")[2] if isinstance(base, str) else str(base) for base in model.bases]


class MoveUnderAnotherName(Move):
    """A model that may have moved to another app and been renamed at once; that takes two releases."""

    is_certain = False

    @property
    def question(self) -> str:
        return f"{super().question.removesuffix('?')}, under another name?"

    @property
    def _in_two_releases(self) -> str:
        there = f"{self.new.app_label}.{self.old.name}"
        return f"let one release move it, as {there}, and the next one rename it: makemigrations writes each of the two"

    def refuse(self) -> None:
        raise CommandError(f"{self.said} under another name, which takes two releases: {self._in_two_releases}.")

    def refuse_to_guess(self) -> None:
        raise CommandError(
            f"{self.question} It has the same fields, and with --noinput nobody can answer: taking it for a deletion "
            f"and a new model would lose its rows. If it did, {self._in_two_releases}. {AS_IT_IS}"
        )


def moves_under_another_name(before: ProjectState, after: ProjectState) -> Iterator[MoveUnderAnotherName]:
    """Those that there may be: a model that goes, and one with just its fields that comes in another app."""
    gone = [before.models[key] for key in sorted(before.models.keys() - after.models.keys())]
    come = [after.models[key] for key in sorted(after.models.keys() - before.models.keys())]
    for old in filter(_has_table, gone):
        alike = [new for new in filter(_has_table, come) if _described(new) == _described(old)]
        if all(new.app_label != old.app_label for new in alike):  # else Django asks whether it was renamed
            yield from (MoveUnderAnotherName(old, new, before) for new in alike if new.name_lower != old.name_lower)


def _described(model: ModelState) -> dict[str, Any]:
    """The fields of a model, wherever their relations point: that model may move, too."""
    described = {}
    for name, field in model.fields.items():
        _, path, args, options = field.deconstruct()
        described[name] = path, args, {key: value for key, value in options.items() if key not in ("to", "through")}
    return described


def _has_table(model: ModelState) -> bool:
    return bool(model.options.get("managed", True) and not model.options.get("proxy"))


def _inherits(model: ModelState, key: tuple[str, str]) -> bool:
    return any(isinstance(base, str) and base.lower() == ".".join(key) for base in model.bases)
