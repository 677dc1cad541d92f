"""A process in which one release answers requests; the rehearsal starts those of a project in the same way."""

from __future__ import annotations

from typing import NamedTuple

from safemigrations.rehearsing.processes import Processes


class Answer(NamedTuple):
    release: str
    request: str
    arrived: float  # seconds since the deploy started
    seconds: float  # from the arrival, thus with the time in the queue
    error: str  # empty where the request succeeded

    @property
    def finished(self) -> float:
        return self.arrived + self.seconds


class Traffic:
    def __init__(self, processes: Processes, database: str, *, rate: float, threads: int) -> None:
        self.release, self.client = processes.release.name, processes.client()
        self.client.call("use", {"default": database}, "testproject.shop.arrivals.Arrivals", rate, threads)
        self.client.send("go_on")

    def stop(self, *, since: float) -> list[Answer]:
        """Let no more requests arrive; the answers to those that have, with times that count from ``since``."""
        self.client.send("pause")
        rows = self.client.answer()
        self.client.stop()
        return [Answer(self.release, name, arrived - since, *rest) for name, arrived, *rest in rows]
