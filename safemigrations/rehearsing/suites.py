"""The project's own tests: those of the old release on the expanded schema, those of the new one on both.

They find what generated requests can't: what the code of the project asks of its database. Each suite runs on a copy
of a database without rows that the rehearsal has made. What fails already where the old release is alone is no finding.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

from django.core.management.base import CommandError

from . import borrowed
from .folders import temporary_folder
from .processes import NotRehearsed, Processes, end
from .releases import Release
from .result import Finding
from .scratch import Names, Scratch

Failed = dict[str, str]  # test -> what it said
COMMAND = "the command itself"
LAST = 20  # lines of what it wrote
NOT_TAKEN = (
    "made no test database that could be taken over. Does it make one, and is safemigrations in the INSTALLED_APPS of "
    "its settings?"
)


class Suites:
    """`clean` are databases as the old release makes them, with no rows of the rehearsal."""

    def __init__(
        self, scratch: Scratch, old: Processes, new: Processes, command: str, clean: Names, stack: ExitStack
    ) -> None:
        self.scratch, self.old, self.new, self.command, self.clean = scratch, old, new, command, clean
        self.stack = stack
        self.known: Failed = {}

    def begin(self) -> None:
        """Find out what fails already, and whether the command does what it should."""
        self.known = self._failed(self.old, self.clean)
        if COMMAND in self.known:
            raise CommandError(f"--tests: {self.command} of the old release {self.known[COMMAND]}")

    def findings(self, *, has_contract: bool) -> Iterator[Finding]:
        try:
            yield from self._findings(has_contract)
        except NotRehearsed as error:
            yield Finding("migrate", "new", "tests", str(error))

    def _findings(self, has_contract: bool) -> Iterator[Finding]:
        expanded = self._after(self.clean, "migrate")
        yield from self._of(self.old, expanded, "tests of the old release, expanded")
        yield from self._of(self.new, expanded, "tests of the new release, expanded")
        if not has_contract:
            return
        contracted = self._after(expanded, "migrate", "--contract")
        yield from self._of(self.new, contracted, "tests of the new release, contracted")

    def _after(self, names: Names, *command: str) -> Names:
        copies = self.scratch.copy(names)
        self.new.must(copies, *command, "--noinput", "--database", self.scratch.alias)
        return copies

    def _of(self, processes: Processes, names: Names, phase: str) -> Iterator[Finding]:
        for test, said in self._failed(processes, names).items():
            if test not in self.known:
                yield Finding("test", processes.release.name, phase, f"{test}: {said}")

    def _failed(self, processes: Processes, names: Names) -> Failed:
        self.stack.callback(self.scratch.drop_copies_of, names)
        with ExitStack() as stack:
            notes = temporary_folder(stack) / "notes"
            status, output = self._run(processes.release, borrowed.environment(names, notes))
            lines = notes.read_text().splitlines() if notes.exists() else []
        self.scratch.drop_copies_of(names)  # a runner that keeps its databases would find them the next time
        noted = [json.loads(line) for line in lines]
        if not any("database" in note for note in noted):
            return {COMMAND: f"{NOT_TAKEN} It said:\n{output}"}
        failed = {note["test"]: note["message"] for note in noted if "test" in note}
        return failed if failed or not status else {COMMAND: f"ended with {status}:\n{output}"}

    def _run(self, release: Release, also: Mapping[str, str]) -> tuple[int, str]:
        """The exit status, and the last lines that the command wrote."""
        path = f"{Path(release.python).parent}{os.pathsep}{os.environ.get('PATH', '')}"
        environment = {**os.environ, "PATH": path, "PYTHONPATH": os.pathsep.join(release.path), **also}
        process = subprocess.Popen(
            ["/bin/sh", "-c", self.command],
            cwd=release.folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,  # Ctrl-C is for the rehearsal
        )
        self.stack.callback(end, process)
        output, _ = process.communicate()
        return process.returncode, "\n".join(output.strip().splitlines()[-LAST:])
