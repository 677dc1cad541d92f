"""Refuses to rename a swappable model together with its setting.

The migrations point at the value of the setting, not at the model that it named when they were written. So older ones
would point at a model that only the rename makes. Django writes RenameModel, and `migrate` ends in a ValueError.
"""

from __future__ import annotations

from collections.abc import Mapping

from django.core.management.base import CommandError
from django.db.migrations.state import ProjectState

from ..operations.home import is_named_by_its_setting
from ..operations.rename_model import KEEP_NAME, harm_of_setting


def refuse_rename_with_setting(
    renamed: Mapping[tuple[str, str], str], before: ProjectState, after: ProjectState
) -> None:
    """Raises CommandError; `renamed` are the old names by the new keys, as the autodetector has them."""
    for (app_label, name), old_name in renamed.items():
        old, new = before.models[app_label, old_name], after.models[app_label, name]
        if is_named_by_its_setting(old, new.name):
            what = f"makemigrations can't rename {app_label}.{old.name} to {new.name}"
            raise CommandError(f"{what}: {harm_of_setting(old)} {KEEP_NAME.format(old.name)}")
