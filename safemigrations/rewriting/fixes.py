"""Every fix that can be made in a project, and the files that are left alone, with the reasons."""

from __future__ import annotations

from dataclasses import field

from ..checking.finding import Report
from ..checking.history import History
from ..checking.source import Source
from ..data import Data
from .file import CannotRewrite
from .fixing import Fix, Fixer, states_before
from .untouchable import Untouchable, look


class Fixes(Data):
    """`left`: a sentence for each file that has findings, and stays as it is."""

    made: list[Fix] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    unasked: list[str] = field(default_factory=list)


def fixes(found: Report, since: str = "") -> Fixes:
    """What can be done about the findings of a report."""
    keys = {(finding.app_label, finding.migration) for finding in found.findings}
    if not keys:
        return Fixes()
    untouchable = look(since)
    result = Fixes(unasked=untouchable.unasked)
    for migration, state in states_before(History(), keys):
        try:
            fix = _fixed(Fixer(migration, state, found), untouchable)
        except CannotRewrite as error:
            result.left.append(f"{Source.of(migration).name}: not touched, as {error}.")
        else:
            result.made.extend([fix] if fix else [])
    return result


def _fixed(fixer: Fixer, untouchable: Untouchable) -> Fix | None:
    """The fix. Whether the file may be touched is asked only if there is one."""
    fix = fixer.fix()
    if fix and (why := untouchable.why(fixer.migration)):
        raise CannotRewrite(why)
    return fix
