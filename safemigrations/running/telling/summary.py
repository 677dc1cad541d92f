"""Sums up a run in a line or two at its end."""

from __future__ import annotations

import time

from ..events import vocabulary as happened
from ..events.event import Event


class Summary:
    """Counts what happens."""

    def __init__(self) -> None:
        self.began = time.monotonic()
        self.migrations = self.rows = self.steps = 0
        self.waits: dict[str, float] = {}  # what waited for a lock, and for how many seconds

    def hear(self, event: Event) -> None:
        match event:
            case happened.MigrationExpanded():
                self.migrations += 1
            case happened.ContractDone():
                self.rows += 1
            case happened.StepDone():
                self.steps += 1
                self._wait(event.step.why, event.waited)
            case happened.StepWaiting():
                self._wait(event.step.why, event.seconds)

    def _wait(self, label: str, seconds: float) -> None:
        """Add a wait.

        Steps of ours tell their waits at the end; of others, such as RunSQL, only the looks during a wait are known.
        """
        if seconds > self.waits.get(label, 0):
            self.waits[label] = seconds

    @property
    def text(self) -> str:
        """The lines; empty if nothing was done."""
        done = [(self.migrations, "migration"), (self.rows, "row of the contract"), (self.steps, "step")]
        counted = [_counted(count, what) for count, what in done if count]
        if not counted:
            return ""
        return f"Done in {time.monotonic() - self.began:.2f} s: {', '.join(counted)}.{self._waited}"

    @property
    def _waited(self) -> str:
        if not self.waits:
            return ""
        label, longest = max(self.waits.items(), key=lambda one: one[1])
        total = f" Waited {sum(self.waits.values()):.2f} s for locks"
        return f"{total}: {label}." if len(self.waits) == 1 else f"{total}, the longest {longest:.2f} s: {label}."


def _counted(count: int, what: str) -> str:
    noun, _, rest = what.partition(" ")
    return f"{count} {noun}{'s' if count > 1 else ''}{' ' if rest else ''}{rest}"
