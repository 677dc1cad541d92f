"""A process in which one release answers requests."""

from __future__ import annotations

from pathlib import Path

from testproject.demo.project import Project


class Traffic:
    def __init__(self, project: Project, *, release: str, rate: float, threads: int, log: Path) -> None:
        options = [f"--release={release}", f"--rate={rate}", f"--threads={threads}", f"--log={log}"]
        self.process = project.start("traffic", *options)
        assert self.process.stdout
        if self.process.stdout.readline() != "ready\n":
            output, _ = self.process.communicate()
            raise RuntimeError(f"The traffic of the {release} release did not start.\n{output}")

    def stop(self) -> None:
        """Let no more requests arrive, and return when those that have arrived are answered."""
        if self.process.returncode is not None:
            return
        output, _ = self.process.communicate()
        if self.process.returncode:
            raise RuntimeError(f"A traffic process ended with code {self.process.returncode}.\n{output}")
