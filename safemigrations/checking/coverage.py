"""Statements and functions that the checks could not read are counted and reported: silence would read as "safe"."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from ..operations.rule import LEVELS
from .finding import Report, Unread

SHOWN = 20


def sentence(unread: Sequence[Unread]) -> str:
    """A sentence such as "2 statements and 1 function not understood."; empty where all were understood."""
    counts = Counter(one.what for one in unread)
    parts = [f"{number} {what}{'s' if number > 1 else ''}" for what, number in sorted(counts.items(), reverse=True)]
    return f"{' and '.join(parts)} not understood." if parts else ""


def details(unread: Sequence[Unread]) -> str:
    """Where they stand, and why."""
    lines = [f"{one.finding.file}:{one.finding.line}: {one.finding.message}" for one in unread[:SHOWN]]
    if len(unread) > SHOWN:
        lines.append(f"and {len(unread) - SHOWN} more")
    return "\n".join(lines)


def summary(report: Report) -> str:
    """The last line: how many findings there are, and how much could not be read.

    It promises nothing about the latter.
    """
    counts = Counter(finding.level for finding in report.findings)
    found = [f"{counts[level]} {level}{'s' if counts[level] > 1 else ''}" for level in LEVELS if counts[level]]
    said = f"{', '.join(found)}." if found else "No unsafe operation."
    if not report.unread:
        return said
    return f"{said if found else 'Nothing unsafe in what was understood.'} {sentence(report.unread)}"
