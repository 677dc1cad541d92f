"""The apps whose migrations may hold something unsafe, found by the text of their files.

For an app whose migrations after the baseline don't even mention an operation that a rule could find unsafe, nothing is
imported or computed. Reading the text of a few files costs a `manage.py check` nothing that one notices.
"""

from __future__ import annotations

import re

from .. import operations
from . import baseline, rules
from .disk import files, names_on_disk

# What a rule could find unsafe, and decisions of a person.
BY_HAND = {"RunSQL", "RunPython", "SeparateDatabaseAndState"}
NAMES = BY_HAND.union(*(rule.stock for rule in rules.RULES))
SUSPECTS = ("allow_unsafe", "max_wait", "django.contrib.postgres.operations")
OURS, OUTSIDE = "safemigrations.operations", "atomic = False"
CALLED = re.compile(r"\b(\w+)\(")  # a set of names is found sooner than one of a hundred alternatives

# What migrate may refuse because of the file alone: an AlterField that makes another change, an expression over what
# isn't there, two operations that need one name.
NAMES_OF_OURS = set(operations.__all__)
REFUSED_ALONE = {"AlterFieldConcurrently", "ExpandAlterField", "DropDefaultLater", "SetNotNullLater", "Backfill"}


def _may_be_refused(text: str, called: list[str]) -> bool:
    several = len([name for name in called if name in NAMES_OF_OURS]) > 1
    return several or not REFUSED_ALONE.isdisjoint(called) or "backfill=" in text


def _last_exempt(label: str) -> str:
    """The baseline's migration, if there is one of that name: no later name is exempt."""
    name = baseline.read().get(label, "")
    return name if name and name in names_on_disk(label) else ""


def mentions_suspects(text: str) -> bool:
    """Could there be a finding in a file with this text?"""
    called = CALLED.findall(text)
    is_suspect = not NAMES.isdisjoint(called) or any(each in text for each in SUSPECTS)
    return is_suspect or (OURS in text and OUTSIDE not in text) or _may_be_refused(text, called)


def is_suspected(label: str, *, everything: bool = False) -> bool:
    """`everything`: also what the baseline exempts by its name."""
    last = "" if everything else _last_exempt(label)
    was_there = (lambda path: False) if everything else baseline.files_before()
    return any(
        mentions_suspects(path.read_text(errors="ignore"))
        for path in files(label)
        if path.stem > last and not was_there(path)
    )
