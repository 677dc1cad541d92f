"""What the world outside of migrations asks and is told: probes, and pages of Django's admin."""

from __future__ import annotations

from types import ModuleType


def loaded() -> ModuleType:
    """The module `facts`: gate, queue and backfills.

    Django's admin imports its pages at the start of every command, and they would take 10 ms.
    """
    from . import facts

    return facts
