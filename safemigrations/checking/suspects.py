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
NAMES = sorted(BY_HAND.union(*(rule.stock for rule in rules.RULES)))
SUSPECTS = re.compile(rf"\b({'|'.join(NAMES)})\(|allow_unsafe|max_wait|django\.contrib\.postgres\.operations")
OURS_IN_A_TRANSACTION = re.compile(r"(?s)(?!.*atomic = False).*\bsafemigrations\.operations\b")

# What migrate may refuse because of the file alone: an AlterField that makes another change, an expression over what
# isn't there, two operations that need one name.
OURS = re.compile(rf"\b({'|'.join(operations.__all__)})\(")
ALTERS = "AlterFieldConcurrently|ExpandAlterField|DropDefaultLater|SetNotNullLater"
REFUSED_ALONE = re.compile(rf"\b({ALTERS}|Backfill)\(|\bbackfill=")


def _may_be_refused(text: str) -> bool:
    return bool(REFUSED_ALONE.search(text)) or len(OURS.findall(text)) > 1


def _last_exempt(label: str) -> str:
    """The baseline's migration, if there is one of that name: no later name is exempt."""
    name = baseline.read().get(label, "")
    return name if name in names_on_disk(label) else ""


def mentions_suspects(text: str) -> bool:
    """Could there be a finding in a file with this text?"""
    return bool(SUSPECTS.search(text) or OURS_IN_A_TRANSACTION.match(text) or _may_be_refused(text))


def is_suspected(label: str, *, everything: bool = False) -> bool:
    """`everything`: also what the baseline exempts by its name."""
    last = "" if everything else _last_exempt(label)
    was_there = (lambda path: False) if everything else baseline.files_before()
    return any(
        mentions_suspects(path.read_text(errors="ignore"))
        for path in files(label)
        if path.stem > last and not was_there(path)
    )
