"""A rehearsal as a report of tests: each phase in which nothing went wrong has passed, each finding is a failure."""

from __future__ import annotations

import re
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from .result import Finding, Rehearsal
from .text import described, phases_of

FORBIDDEN = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # in XML


def junit(rehearsal: Rehearsal) -> str:
    broken = {phase for finding in rehearsal.findings for phase in phases_of(finding)}
    passed = [phase for phase in rehearsal.phases if phase.name not in broken]
    count, failures = str(len(passed) + len(rehearsal.findings)), str(len(rehearsal.findings))
    suites = Element("testsuites", tests=count, failures=failures, time=f"{rehearsal.seconds:.3f}")
    suite = SubElement(
        suites,
        "testsuite",
        name=f"rehearsal of {', '.join(rehearsal.migrations)}",
        tests=count,
        failures=failures,
        errors="0",
        skipped="0",
        time=f"{rehearsal.seconds:.3f}",
    )
    for phase in passed:
        SubElement(suite, "testcase", classname="rehearsal", name=phase.name, time=f"{phase.seconds:.3f}")
    for finding in rehearsal.findings:
        _add(suite, finding)
    ElementTree.indent(suites)
    return ElementTree.tostring(suites, encoding="unicode", xml_declaration=False)


def _add(suite: Element, finding: Finding) -> None:
    first, text = _allowed(finding.message.partition("\n")[0]), _allowed("\n".join(described(finding)))
    name = f"{finding.kind}, {finding.release} release: {first}"
    case = SubElement(suite, "testcase", classname=f"rehearsal.{finding.phase}", name=name, time="0")
    SubElement(case, "failure", type=finding.kind, message=first).text = text


def _allowed(text: str) -> str:
    return FORBIDDEN.sub("�", text)
