"""A rehearsal for people at a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from textwrap import indent

from .result import Finding, Phase, Rehearsal

WIDTH = 38
PEOPLE = {"old": "of the old release", "new": "of the new release"}


def text(rehearsal: Rehearsal) -> str:
    """The rest of the output, after head and phases were printed."""
    return "\n".join(_lines(rehearsal))


def _lines(rehearsal: Rehearsal) -> Iterator[str]:
    if not rehearsal.migrations:
        yield "Both releases have the same migrations, so there is nothing to rehearse."
        return
    yield from (f"Note: {note}" for note in rehearsal.notes)
    yield sentence(rehearsal)
    for finding in rehearsal.findings:
        yield ""
        yield from described(finding)


def head(rehearsal: Rehearsal) -> str:
    names = {"Old release": rehearsal.old, "New release": rehearsal.new, "Scratch database": rehearsal.scratch}
    return "    ".join(f"{name}: {value}" for name, value in names.items())


def line_of(phase: Phase) -> str:
    lost = f"  {phase.lost:,} lost" if phase.lost else ""
    return (
        f"  {phase.name:<{WIDTH}} {phase.requests:>7,} requests  {phase.errors:>5,} errors{lost}"
        f"    worst wait {phase.worst_wait * 1000:>5,.0f} ms"
    )


def sentence(rehearsal: Rehearsal) -> str:
    count = len(rehearsal.findings)
    if not count:
        failed = "No request and no test failed, and" if rehearsal.has_tests else "No request failed and"
        return f"{failed} no value was lost. It took {rehearsal.seconds:.0f} s."
    return f"{count} finding{'s' if count > 1 else ''}. It took {rehearsal.seconds:.0f} s."


def described(finding: Finding) -> Iterator[str]:
    yield indent(finding.message, "  ").removeprefix("  ")
    times = f"{finding.count:,} times, " if finding.count > 1 else ""
    yield f"  {times}{PEOPLE[finding.release]}, {', '.join(phases_of(finding))}"
    for model, actions in by_model(finding).items():
        yield f"  {model}: {', '.join(actions)}"
    if finding.cause:
        yield f"  since {finding.cause.place}"
    if finding.advice:
        yield indent(finding.advice, "  ")


def phases_of(finding: Finding) -> list[str]:
    """The phases in which the finding came up, in their order."""
    found = [phase for request in finding.requests for phase in request.phases]
    return list(dict.fromkeys(found or [finding.phase]))


def by_model(finding: Finding) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for request in finding.requests:
        found.setdefault(request.model, []).append(request.action)
    return found
