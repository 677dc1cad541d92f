"""Text for people: grouped by file, each finding with its line of code."""

from __future__ import annotations

import linecache
from collections.abc import Callable
from itertools import groupby
from textwrap import indent
from typing import Any

from .. import coverage
from ..finding import LintFinding, Report

STYLES = {"error": "ERROR", "warning": "WARNING", "note": "NOTICE"}


def text(report: Report, style: Any) -> str:
    """`style` is Django's, of the command: without colour where the output is no terminal."""
    parts = []
    found = sorted(report.everything, key=lambda finding: finding.file)
    for file, group in groupby(found, key=lambda finding: finding.file):
        parts.append(style.MIGRATE_HEADING(file))
        parts += [_one(finding, getattr(style, STYLES[finding.level])) for finding in sorted(group, key=_place)]
    return "\n".join([*parts, coverage.summary(report)])


def _place(finding: LintFinding) -> tuple[int, str]:
    return finding.line, finding.id


def _one(finding: LintFinding, colour: Callable[[str], str]) -> str:
    code = linecache.getline(finding.file, finding.line).strip()
    shown = [f"  {finding.line}: {colour(finding.level)} {finding.id}: {finding.message}"]
    shown += [f"      > {code}"] if code else []
    shown += [indent(finding.hint, " " * 6)] if finding.hint else []
    return "\n".join([*shown, ""])
