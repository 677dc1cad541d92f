"""What the failures of a rehearsal mean: which of them the change caused, and which operation that was."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from ..checking.finding import LintFinding
from .changes import Changes, Touched
from .requests import Failure
from .result import Finding, Phase, Request

OLD_ALONE, NEW_ALONE = "old alone", "new on the schema of stock operations"
UNIQUE_VIOLATION = "23505"  # https://www.postgresql.org/docs/current/errcodes-appendix.html
QUIET = {"old": OLD_ALONE, "new": NEW_ALONE}
WORD = re.compile(r"\w+")
QUOTED = re.compile(r'"([^"]+)"')
DOTTED = re.compile(r"column (\w+)\.(\w+) does not exist")
APPLYING = re.compile(r"^  (?:Applying (\w+)\.(\w+)|Unapplying (\w+)\.(\w+)|(\w+)\.(\w+)  )", re.MULTILINE)


class Verdict:
    """Findings, each once, with the operation that caused it."""

    def __init__(self, changes: Changes) -> None:
        self.changes = changes
        self.quiet: set[tuple[str, ...]] = set()  # what a release does wrong when it is alone
        self.found: dict[tuple[str, ...], Finding] = {}
        self.repeated: set[str] = set()  # unique constraints that values repeat by chance

    def note(self, phase: Phase, failures: Iterable[Failure]) -> None:
        """Also counts them in their phase."""
        for failure in failures:
            if phase.name == QUIET[failure.release]:
                self.quiet.add((failure.release, *failure.signature))
            elif self._is_by_chance(failure):
                self.repeated.add(failure.constraint)
            elif (failure.release, *failure.signature) not in self.quiet:
                key = (failure.release, failure.kind, failure.table, failure.shape)
                _count(self.found.setdefault(key, self._of_failure(phase, failure)), phase, failure)

    def notes(self) -> Iterator[str]:
        """What is no finding, and worth a word."""
        if self.repeated:
            yield (
                f"Generated values repeat in {', '.join(sorted(self.repeated))}, whose tables the change leaves alone. "
                "REHEARSAL_VALUES can make others."
            )

    def _is_by_chance(self, failure: Failure) -> bool:
        """A unique key of a table that no operation touches can't refuse a value because of the change."""
        reaches = any(failure.table in one.tables or not one.model for one in self.changes.touched)
        return failure.kind == UNIQUE_VIOLATION and not reaches

    def of_waits(self, phases: Sequence[Phase], limit: float) -> Iterator[Finding]:
        """Who waited for longer than that. A machine that is busy makes everybody wait, also without the change."""
        limit = max([limit, *(5 * phase.worst_wait for phase in phases if phase.name in QUIET.values())])
        for phase in phases:
            if phase.worst_wait > limit:
                release, model, action = phase.waited
                cause = best(self.changes.touched, set(), model)
                say = f"A statement took {phase.worst_wait:.1f} s; {limit:.2g} s is the most."
                yield Finding("wait", release, phase.name, say, "", [Request(model, action, [phase.name], 1)], cause)

    def _of_failure(self, phase: Phase, failure: Failure) -> Finding:
        cause = cause_of(failure, self.changes.touched)
        is_lost = failure.kind == "lost"
        return Finding(
            "lost" if is_lost else "error",
            failure.release,
            phase.name,
            failure.message,
            "" if is_lost else failure.kind,
            cause=cause,
        )

    def of_broken(self, phase: str, output: str) -> Finding:
        """A command that failed, with the operation that it was at: of a migration, or of a row of the contract."""
        said = _end_of(output)
        at = [tuple(filter(None, found)) for found in APPLYING.findall(output)]
        there = [one for one in self.changes.touched if at and (one.app_label, one.migration) == at[-1]]
        cause = best(there, set(WORD.findall(said)), "") or next(iter(there), None)
        return Finding("migrate", "new", phase, said, cause=cause)

    def of_differences(self, phase: str, expected: str, objects: Mapping[str, tuple[Any, Any]]) -> Iterator[Finding]:
        """A schema that isn't as it should be: name of an object -> what it should be, what it is."""
        for name, (there, here) in objects.items():
            say = f"{name} is not {expected}: {here or 'missing'} instead of {there or 'none'}"
            cause = best(self.changes.touched, set(WORD.findall(say)), "")
            yield Finding("schema", "new", phase, say, cause=cause)


def advise(findings: Iterable[Finding], lint: Iterable[LintFinding]) -> None:
    """Add to each finding what lint says about its operation."""
    hints = {(one.app_label, one.migration, one.operation): one.hint for one in reversed(list(lint))}
    for finding in findings:
        if cause := finding.cause:
            finding.advice = hints.get((cause.app_label, cause.migration, cause.operation), "")


def _count(finding: Finding, phase: Phase, failure: Failure) -> None:
    phase.lost += failure.count if finding.kind == "lost" else 0
    phase.errors += 0 if finding.kind == "lost" else failure.count
    for request in finding.requests:
        if (request.model, request.action) == (failure.model, failure.action):
            request.count += failure.count
            request.phases += [] if phase.name in request.phases else [phase.name]
            return
    finding.requests.append(Request(failure.model, failure.action, [phase.name], failure.count))


def cause_of(failure: Failure, touched: Iterable[Touched]) -> Touched | None:
    """The operation that has most to do with what PostgreSQL names."""
    words = {failure.column, failure.constraint, *QUOTED.findall(failure.message)} - {""}
    words |= {word for pair in DOTTED.findall(failure.message) for word in pair}
    return best(touched, words, failure.model, table=failure.table)


def best(touched: Iterable[Touched], words: set[str], model: str, *, table: str = "") -> Touched | None:
    """By points: an object of that name, a column, a table, the model, and SQL that names them."""

    def points(one: Touched) -> int:
        return (
            16 * bool(words & one.names)
            + 8 * bool(words & one.columns)
            + 12 * bool(words & one.gone)
            + 4 * bool((words | {table}) & one.tables)
            + 2 * bool(one.model and one.model == model)
            + 4 * sum(word in one.text for word in words | {table} if len(word) > 2)
            + (not one.model)  # a function could have done anything
        )

    return max((one for one in touched if points(one)), key=points, default=None)


def _end_of(output: str) -> str:
    """What a command said last, without its traceback."""
    lines = output.strip().splitlines()
    starts = [number for number, line in enumerate(lines) if line.startswith(("CommandError", "Traceback"))]
    kept = lines[starts[-1] :] if starts else lines[-5:]
    if kept and kept[0].startswith("Traceback"):
        kept = [line for line in kept[1:] if not line.startswith(" ")]
    return "\n".join(kept)
