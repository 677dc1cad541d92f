"""A comment for a pull request: what is unsafe, what is expanded and contracted, what was not understood."""

from __future__ import annotations

from itertools import groupby

from .. import coverage
from ..finding import LintFinding, Report, Stands


def markdown(report: Report) -> str:
    parts = ["### Migrations", coverage.summary(report)]
    for level in ("error", "warning", "note"):
        parts += [_finding(finding) for finding in report.findings if finding.level == level]
    if report.changes:
        parts.append("#### What is expanded now, and contracted after the rollout")
        parts += ["\n".join(_migration(name, list(group))) for name, group in groupby(report.changes, _name)]
    if report.unread:
        parts += ["#### Not understood", "\n".join(_unread(one.finding) for one in report.unread)]
    return "\n\n".join(parts)


def _finding(finding: LintFinding) -> str:
    fence = f"```\n{finding.hint}\n```" if "\n" in finding.hint else finding.hint
    return f"**{finding.level}** `{finding.file}:{finding.line}` {finding.id}\n\n{finding.message}\n\n{fence}".rstrip()


def _name(change: Stands) -> str:
    return f"{change.app_label}.{change.migration}"


def _migration(name: str, changes: list[Stands]) -> list[str]:
    return [f"- `{name}`", *(f"  - {change.description}" for change in changes)]


def _unread(finding: LintFinding) -> str:
    return f"- `{finding.file}:{finding.line}` {finding.message}"
