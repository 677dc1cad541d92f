"""A rehearsal as a comment of a pull request."""

from __future__ import annotations

from .result import Finding, Phase, Rehearsal
from .text import described, sentence

HEAD = "| | requests | errors | lost values | worst wait |\n|---|--:|--:|--:|--:|"


def markdown(rehearsal: Rehearsal) -> str:
    rows = "\n".join([HEAD, *map(_row, rehearsal.phases)])
    about = f"Old release: {rehearsal.old}. New release: {rehearsal.new}."
    parts = ["### Rehearsal of the rollout", sentence(rehearsal), about, rows if rehearsal.phases else ""]
    parts += map(_finding, rehearsal.findings)
    parts.append("\n".join(f"- {note}" for note in rehearsal.notes))
    return "\n\n".join(filter(None, parts))


def _row(phase: Phase) -> str:
    numbers = (f"{phase.requests:,}", f"{phase.errors:,}", f"{phase.lost:,}", f"{phase.worst_wait * 1000:,.0f} ms")
    return f"| {phase.name} | {' | '.join(numbers)} |"


def _finding(finding: Finding) -> str:
    """The lines of a terminal, in a fence: what PostgreSQL says may look like Markdown."""
    return "\n".join(["```", *described(finding), "```"])
