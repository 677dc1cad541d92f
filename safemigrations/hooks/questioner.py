"""The questions of makemigrations: Django's keep their numbers and meanings, ours follow."""

from __future__ import annotations

import datetime
import re
import sys
from collections.abc import Callable
from typing import Any

from django.core.exceptions import FieldError
from django.core.management.base import CommandError
from django.db import models
from django.db.migrations.questioner import (
    InteractiveMigrationQuestioner,
    MigrationQuestioner,
    NonInteractiveMigrationQuestioner,
)
from django.db.migrations.state import ProjectState
from django.db.migrations.writer import MigrationWriter
from django.db.models import functions
from django.utils import timezone
from django.utils.module_loading import import_string

from ..operations.filling import Answer, is_expression, path_of
from ..operations.rule import Option
from ..plans import expressions
from ..typed import field_of
from .moved_models import AS_IT_IS, Move
from .one_column import Succession


def wrap(
    questions: MigrationQuestioner | None, from_state: ProjectState, to_state: ProjectState
) -> MigrationQuestioner | None:
    """A questioner that also asks our questions, and answers and prints as the one that it replaces."""
    for stock, ours in (
        (InteractiveMigrationQuestioner, Interactive),
        (NonInteractiveMigrationQuestioner, Silent),
    ):
        if type(questions) is stock:
            wrapped = ours()
            wrapped.__dict__.update(questions.__dict__, from_state=from_state, to_state=to_state)
            return wrapped
    return questions


def is_asking(questions: MigrationQuestioner) -> bool:
    """Does makemigrations ask? `migrate` also detects changes, only to mention them."""
    return isinstance(questions, InteractiveMigrationQuestioner | NonInteractiveMigrationQuestioner)


def is_succeeded(questions: MigrationQuestioner, succession: Succession) -> bool:
    """Does the field that comes take over the column and its values? Only a person can say that it doesn't."""
    if isinstance(questions, Interactive):
        return questions.ask_succession(succession)
    tell(questions, f"{succession}.")
    return True


def is_wanted(questions: MigrationQuestioner, option: Option) -> bool:
    """Does a person want the option? Nobody is asked if nothing will be written."""
    return isinstance(questions, Interactive) and not questions.dry_run and questions.ask_option(option)


def tell(questions: MigrationQuestioner, text: str) -> None:
    """Print a text during makemigrations, and at no other time."""
    if is_asking(questions):
        say(text)


def is_moved(questions: MigrationQuestioner, move: Move) -> bool:
    """Does the model take its table along? Only a person can say that it doesn't."""
    if isinstance(questions, Interactive):
        return questions.ask_move(move)
    if is_asking(questions):
        if not move.is_certain and move.has_rows:
            move.refuse_to_guess()
        if move.is_certain:
            say(f"{move.said}. {AS_IT_IS}")
    return move.is_certain


def keep_quiet(text: str) -> None:
    """Print nothing, for callers that only detect changes."""


def say(text: str) -> None:
    """Print what a person must see although nothing failed."""
    sys.stderr.write(f"{text}\n")


# What can be typed at our prompt: all of Django's expressions, and what Django's own prompt knows.
KNOWN = {**vars(functions), **vars(models), "models": models, "datetime": datetime, "timezone": timezone}
PATH = r"\s*[^\W\d]\w*(\.[^\W\d]\w*)+\s*"


def _evaluated(code: str) -> Any:
    """The expression or function that a person typed. Raises whatever is wrong with it."""
    if not code.strip():
        raise ValueError("Please enter some code, or 'exit' (without quotes) to exit.")
    try:
        value = eval(code, {}, KNOWN)
    except NameError as error:
        if re.fullmatch(PATH, code):
            raise ValueError(f'The path of a function is written in quotes: "{code.strip()}"') from error
        raise
    if isinstance(value, str):
        value = import_string(value)
    if isinstance(value, type) or not (is_expression(value) or callable(value)):
        raise ValueError(f"{value!r} is neither an expression nor the path of a function.")
    if is_expression(value):
        _refuse_unwritable(value)
    else:
        path_of(value)
    return value


def _refuse_unwritable(expression: Any) -> None:
    """Raises ValueError for an expression that can't be written to a file; writing a queryset would run it."""
    if any(isinstance(part, models.Subquery | models.QuerySet) for part in expressions.parts(expression)):
        raise ValueError(
            "makemigrations can't write a query into a file. Name a function of the row; or enter a value that stands "
            "in, such as Value(0), and write the Subquery into the migration by hand."
        )
    MigrationWriter.serialize(expression)


COMPUTE = (
    "Compute it for each row, existing ones and those that the old release still {}: an expression over its fields and "
    "relations, or a function of the row."
)


class Interactive(InteractiveMigrationQuestioner):
    from_state: ProjectState
    to_state: ProjectState
    _choice_input: Callable[[str, list[str]], int]
    _ask_default: Callable[[], Any]
    _boolean_input: Callable[[str, bool], bool]

    def ask_move(self, move: Move) -> bool:
        return self._boolean_input(f"{move.question} [{'Y/n' if move.is_certain else 'y/N'}]", move.is_certain)

    def ask_succession(self, succession: Succession) -> bool:
        return self._boolean_input(f"{succession}. Is that so? [Y/n]", True)

    def ask_option(self, option: Option) -> bool:
        return self._boolean_input(f"{option.question} [y/N]", False)

    def ask_not_null_addition(self, field_name: str, model_name: str) -> Any:
        if self.dry_run:
            return None
        choice = self._choice_input(
            f"It is impossible to add a non-nullable field '{field_name}' to {model_name} without specifying a "
            "default. This is because the database needs something to populate existing rows.\nPlease select a fix:",
            [
                "Provide a one-off default now (will be set on all existing rows with a null value for this column)",
                "Quit and manually define a default value in models.py.",
                COMPUTE.format("inserts"),
            ],
        )
        if choice == 2:
            sys.exit(3)
        return self._ask_backfill(field_name, model_name) if choice == 3 else self._ask_default()

    def ask_not_null_alteration(self, field_name: str, model_name: str) -> Any:
        if self.dry_run:
            return None
        choice = self._choice_input(
            f"It is impossible to change a nullable field '{field_name}' on {model_name} to non-nullable without "
            "providing a default. This is because the database needs something to populate existing rows.\nPlease "
            "select a fix:",
            [
                "Provide a one-off default now (will be set on all existing rows with a null value for this column)",
                "Ignore for now. migrate stops while there are rows that are null: fill them with a Backfill before.",
                "Quit and manually define a default value in models.py.",
                COMPUTE.format("writes without a value"),
            ],
        )
        if choice == 3:
            sys.exit(3)
        if choice == 2:
            return models.NOT_PROVIDED
        return self._ask_backfill(field_name, model_name) if choice == 4 else self._ask_default()

    def _ask_backfill(self, field_name: str, model_name: str) -> Answer:
        self.prompt_output.write(
            'Enter an expression, such as F("price") * 2 or Upper(F("customer__country")), or the path of a function '
            'that is given the row, such as "shop.codes.code_of". What django.db.models and '
            "django.db.models.functions have is known: F, Value, Q, Case, When, Coalesce, Concat and the like; "
            "datetime and timezone too. What needs other rows, such as a count, takes a function. Type 'exit' to exit "
            "this prompt"
        )
        while True:
            try:
                self.prompt_output.write(">>> ", ending="")
                code = input()
            except KeyboardInterrupt:
                self.prompt_output.write("\nCancelled.")
                sys.exit(1)
            if code == "exit":
                sys.exit(1)
            try:
                value = _evaluated(code)
                if is_expression(value):
                    self._resolve(value, field_name, model_name)
                return Answer(value)
            except Exception as error:
                self.prompt_output.write(f"{type(error).__name__}: {error}")

    def _resolve(self, expression: Any, field_name: str, model_name: str) -> None:
        """Raise FieldError for what the model doesn't have; only its name is known here, not its app."""
        errors = []
        for model in self.to_state.clone().apps.get_models():
            if model._meta.model_name == model_name.lower() and field_name in {f.name for f in model._meta.fields}:
                field = field_of(model, field_name)
                try:
                    expressions.gives_one_value(model, expression)
                    self._refuse_removed(model, expression)
                    model._base_manager.annotate(safemig_value=models.ExpressionWrapper(expression, field))
                    return
                except FieldError as error:
                    errors.append(error)
        if errors:
            raise errors[0]

    def _refuse_removed(self, model: Any, expression: Any) -> None:
        """Raises FieldError for what the release before this one has."""
        for owner, name in expressions.missing(model, expression):
            before = self.from_state.models.get((owner._meta.app_label, owner._meta.model_name))
            if before and {name, name.removesuffix("_id")} & before.fields.keys():
                raise FieldError(
                    f"This release removes {owner._meta.model_name}.{name}, which rows would be filled from: it has to "
                    "stay until the next release. Type 'exit', put it back into models.py, and remove it then. If it "
                    "was renamed, use its new name."
                )

    def ask_unique_callable_default_addition(self, field_name: str, model_name: str) -> None:
        """Django warns that one value goes to all rows; here the function is called for each."""


class Silent(NonInteractiveMigrationQuestioner):
    """The questioner of --noinput: an answer that could lose data is never made up."""

    def ask_auto_now_add_addition(self, field_name: str, model_name: str) -> Any:
        return timezone.now

    def ask_rename(self, model_name: str, old_name: str, new_name: str, field_instance: Any) -> bool:
        raise CommandError(
            f"Was {model_name}.{old_name} renamed to {model_name}.{new_name}? With --noinput nobody can answer, and "
            "taking it for a removal and an addition would lose its values. Run makemigrations without --noinput and "
            f"answer; or, if {old_name} really goes and {new_name} is new, make two migrations, first with the one "
            "change in models.py, then with the other."
        )

    def ask_rename_model(self, old_model_state: Any, new_model_state: Any) -> bool:
        raise CommandError(
            f"Was the model {old_model_state.app_label}.{old_model_state.name} renamed to {new_model_state.name}? With "
            "--noinput nobody can answer, and taking it for a deletion and a new model would lose its rows. Run "
            "makemigrations without --noinput and answer; or make two migrations, first without the old model, then "
            "with the new one."
        )

    def ask_unique_callable_default_addition(self, field_name: str, model_name: str) -> None:
        """Django warns that one value goes to all rows; here the function is called for each."""
