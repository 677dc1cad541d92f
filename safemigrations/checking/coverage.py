"""What the checks could not look at: counted and said, because silence would read as "safe"."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from .finding import Unread

SHOWN = 20


def sentence(unread: Sequence[Unread]) -> str:
    """Such as "2 statements and 1 function not understood."; empty where all was."""
    counts = Counter(one.what for one in unread)
    parts = [f"{number} {what}{'s' if number > 1 else ''}" for what, number in sorted(counts.items(), reverse=True)]
    return f"{' and '.join(parts)} not understood." if parts else ""


def details(unread: Sequence[Unread]) -> str:
    """Where they stand, and why."""
    lines = [f"{one.file}:{one.line}: {one.why}" for one in unread[:SHOWN]]
    if len(unread) > SHOWN:
        lines.append(f"and {len(unread) - SHOWN} more")
    return "\n".join(lines)
