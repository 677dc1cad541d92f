"""SARIF 2.1.0, which code scanning of GitHub and Azure DevOps reads.

https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html
"""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

from ... import __version__
from .. import catalogue, coverage
from ..finding import LintFinding, Report
from .machines import fingerprint, from_top, help_of

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"


def sarif(report: Report) -> str:
    ids = sorted({finding.id for finding in report.everything})
    run = {
        "tool": {"driver": {"name": "safemigrations", "version": __version__, "rules": [_rule(id) for id in ids]}},
        "results": [_result(finding, ids) for finding in from_top(report)],
        "invocations": [{"executionSuccessful": True, "toolExecutionNotifications": [_summary(report)]}],
        "columnKind": "unicodeCodePoints",
    }
    return json.dumps({"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}, indent=2)


def _summary(report: Report) -> dict[str, Any]:
    return {"level": "note", "message": {"text": coverage.summary(report)}}


def _rule(id: str) -> dict[str, Any]:
    kind = catalogue.BY_ID[id]
    return {
        "id": id,
        "shortDescription": {"text": kind.title},
        "help": {"text": f"Fires on: {kind.fires_on}.", "markdown": f"**{kind.title}.** Fires on: {kind.fires_on}."},
        "defaultConfiguration": {"level": kind.level},
    }


def _result(finding: LintFinding, ids: list[str]) -> dict[str, Any]:
    place = {
        "artifactLocation": {"uri": quote(finding.file)},
        "region": {"startLine": finding.line},
    }
    return {
        "ruleId": finding.id,
        "ruleIndex": ids.index(finding.id),
        "level": finding.level,
        "message": {"text": finding.text},
        "locations": [{"physicalLocation": place}],
        "partialFingerprints": {"safemigrations/v1": fingerprint(finding)},
        "properties": {"help": help_of(finding)},
    }
