"""A model that moves to another app: one that is deleted in the one app and made anew in the other, with its fields.

Nobody but a person knows whether it is the same. Django asks nothing, drops the table and makes an empty one.
"""

from __future__ import annotations

from collections.abc import Iterator

from django.core.management.base import CommandError
from django.db.migrations.state import ModelState, ProjectState

from ..data import Data

HOW = (
    "Write it by hand, so that the table stays and each app changes its state alone: see "
    "docs/delete_model.md, A model that moves to another app."
)


class Move(Data):
    """From one app to another."""

    old: str  # as in shop.Book
    new: str

    @property
    def question(self) -> str:
        return f"Did the model {self.old} move to {self.new}?"

    def refuse(self) -> None:
        raise CommandError(f"makemigrations can't write how {self.old} moves to {self.new}. {HOW}")

    def refuse_to_guess(self) -> None:
        raise CommandError(
            f"{self.question} With --noinput nobody can answer, and taking it for a deletion and a new model would "
            f"lose its rows. If it did: {HOW[0].lower()}{HOW[1:]} If not: run makemigrations without --noinput and "
            "answer; or make two migrations, first without the old model, then with the new one."
        )


def moves(before: ProjectState, after: ProjectState) -> Iterator[Move]:
    gone = [before.models[key] for key in sorted(before.models.keys() - after.models.keys())]
    come = [after.models[key] for key in sorted(after.models.keys() - before.models.keys())]
    for old in filter(_has_table, gone):
        for new in filter(_has_table, come):
            if old.name_lower == new.name_lower and old.fields.keys() == new.fields.keys():
                yield Move(f"{old.app_label}.{old.name}", f"{new.app_label}.{new.name}")


def _has_table(model: ModelState) -> bool:
    return bool(model.options.get("managed", True) and not model.options.get("proxy"))
