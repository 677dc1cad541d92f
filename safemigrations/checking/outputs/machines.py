"""What continuous integration reads: JSON of our own, annotations of GitHub, code quality of GitLab."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from .. import branch, catalogue, coverage
from ..finding import LintFinding, Report


def as_json(report: Report) -> str:
    """Keys may be added, never renamed or removed."""
    return json.dumps([{**finding.as_dict(), "help": help_of(finding)} for finding in report.everything], indent=2)


def from_top(report: Report) -> list[LintFinding]:
    """The findings, with their files named from the top of the repository, wherever in it manage.py is."""
    top, here = branch.top(), Path.cwd().resolve()
    return [replace(finding, file=_relative(here / finding.file, top)) for finding in report.everything]


def _relative(path: Path, top: Path) -> str:
    return path.relative_to(top).as_posix() if path.is_relative_to(top) else path.as_posix()


def help_of(finding: LintFinding) -> str:
    return f"docs/{catalogue.BY_ID[finding.id].help}"


# https://docs.github.com/actions/reference/workflow-commands-for-github-actions

GITHUB = {"error": "error", "warning": "warning", "note": "notice"}


def github(report: Report) -> str:
    lines = [_annotation(finding) for finding in from_top(report)]
    return "\n".join([*lines, f"::notice title=safemigrations::{_data(coverage.summary(report))}"])


def _annotation(finding: LintFinding) -> str:
    title = f"{finding.id} {catalogue.BY_ID[finding.id].title}"
    place = f"file={_property(finding.file)},line={finding.line},title={_property(title)}"
    return f"::{GITHUB[finding.level]} {place}::{_data(finding.text)}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


# https://docs.gitlab.com/ci/testing/code_quality/#code-quality-report-format

GITLAB = {"error": "critical", "warning": "major", "note": "info"}


def gitlab(report: Report) -> str:
    return json.dumps([_quality(finding) for finding in from_top(report)], indent=2)


def _quality(finding: LintFinding) -> dict[str, Any]:
    return {
        "description": finding.message,
        "check_name": finding.id,
        "fingerprint": fingerprint(finding),
        "severity": GITLAB[finding.level],
        "location": {"path": finding.file, "lines": {"begin": finding.line}},
    }


def fingerprint(finding: LintFinding) -> str:
    """A hash that stays the same while the finding does, wherever in its file the finding moves."""
    what = f"{finding.app_label}.{finding.migration} {finding.operation} {finding.id} {finding.message}"
    return hashlib.sha256(what.encode()).hexdigest()
