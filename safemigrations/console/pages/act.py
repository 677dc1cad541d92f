"""What people may do to a row of a page: a form, a permission, and one call."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from django import forms
from django.db.backends.base.base import BaseDatabaseWrapper

from ...data import Data

Do = Callable[[BaseDatabaseWrapper, int, dict[str, Any], str], None]  # ..., the row's number, the answers, the user


class Act(Data):
    """One button."""

    name: str  # also of the permission: pause_backfill
    label: str
    done: str  # what is said afterwards: "Paused"
    form: type[forms.Form]
    possible_in: Collection[str]  # statuses of the row
    do: Do


class NoQuestion(forms.Form):
    """A button alone."""


class WithReason(forms.Form):
    reason = forms.CharField(max_length=500, help_text="It is kept, with your name.")


class PerhapsWithReason(forms.Form):
    reason = forms.CharField(max_length=500, required=False, help_text="It is kept, with your name.")
