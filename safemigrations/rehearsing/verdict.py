"""Judges failures: which of them the change caused, and by which operation."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from ..checking.finding import LintFinding
from .changes import Changes, Touched
from .requests import LOST, REFUSED, Failure
from .result import Finding, Phase, Request, errors_of

OLD_ALONE, NEW_ALONE = "old alone", "new on the schema of stock operations"
AGAIN = {"old": "old alone, once more", "new": "new alone, once more"}  # to find out whose fault a failure is
QUIET = {"old": (OLD_ALONE, AGAIN["old"]), "new": (NEW_ALONE, AGAIN["new"])}
UNIQUE_VIOLATION = "23505"  # https://www.postgresql.org/docs/current/errcodes-appendix.html
NULL_VIOLATION, WRONG_STATEMENT = "23502", "42"
WORD = re.compile(r"\w+")
QUOTED = re.compile(r'"([^"]+)"')
DOTTED = re.compile(r"column (\w+)\.(\w+) does not exist")
APPLYING = re.compile(r"^  (?:Applying (\w+)\.(\w+)|Unapplying (\w+)\.(\w+)|(\w+)\.(\w+)  )", re.MULTILINE)


class Verdict:
    """Findings, each once, with the operation that caused it."""

    def __init__(self, changes: Changes) -> None:
        self.changes = changes
        self.quiet: set[tuple[str, ...]] = set()  # what a release does wrong when it is alone
        self.noted: list[tuple[Phase, Failure]] = []  # what may be the fault of the change
        self.own = set[str]()  # models whose failures turned out to be the project's own
        self.repeated: set[str] = set()  # unique constraints that values repeat by chance

    def note(self, phase: Phase, failures: Iterable[Failure]) -> None:
        """Note the failures that may be the fault of the change, and count them in their phase."""
        for failure in failures:
            if phase.name in QUIET[failure.release]:
                self._measure(failure)
            elif self._is_by_chance(failure):
                self._forgive(failure)
            elif _key(failure) not in self.quiet:
                self.noted.append((phase, failure))
                _add(phase, failure, 1)

    def _measure(self, failure: Failure) -> None:
        """What the code does on its own, both releases do: it isn't the schema that makes them."""
        releases = [failure.release] if failure.is_of_server else QUIET
        self.quiet |= {(release, *failure.reason) for release in releases}

    def _is_by_chance(self, failure: Failure) -> bool:
        """Can't the change have caused it, for it is of a table that no operation touches?

        There a unique key, or a rule of the project's, refuses what was made up. A value is lost there because the
        project's own code writes another; only of tables that point at a changed one is it the change that might.
        """
        if any(not one.model for one in self.changes.touched):
            return False
        if failure.kind == LOST:
            return failure.table not in self.changes.reached
        touched = any(failure.table in one.tables for one in self.changes.touched)
        return failure.kind in (UNIQUE_VIOLATION, REFUSED) and not touched

    def _is_open(self, failure: Failure) -> bool:
        """Can it happen without the change? Not a null in a column that changes, nor a name that the schema lacks."""
        if failure.kind == NULL_VIOLATION:
            return not any(
                failure.table in one.tables and failure.column in one.columns for one in self.changes.touched
            )
        return not failure.kind.startswith(WRONG_STATEMENT)

    def _forgive(self, failure: Failure) -> None:
        if failure.constraint:
            self.repeated.add(failure.constraint)
        else:
            self.own.add(failure.model)

    def suspected(self, release: str) -> list[str]:
        """Models of failures that the project may have made itself, as the old release calls them."""
        models = [failure.model for _, failure in self.noted if failure.release == release and self._is_open(failure)]
        return list(dict.fromkeys(self.changes.model_names.get(model, model) for model in models if model))

    def withdraw(self) -> None:
        """Remove failures that also happen where nothing changes."""
        withdrawn = [(phase, failure) for phase, failure in self.noted if _key(failure) in self.quiet]
        for phase, failure in withdrawn:
            _add(phase, failure, -1)
            self.own.add(failure.model)
        self.noted = [(phase, failure) for phase, failure in self.noted if _key(failure) not in self.quiet]

    def notes(self) -> Iterator[str]:
        """Remarks that are no findings."""
        if self.repeated:
            yield (
                f"Generated values repeat in {', '.join(sorted(self.repeated))}, whose tables the change leaves alone. "
                "REHEARSAL_VALUES can make others."
            )
        if self.own:
            models = ", ".join(sorted(self.own))
            yield f"Some errors of {models} are no findings: they have other reasons than the change."

    def findings(self) -> list[Finding]:
        found: dict[tuple[str, ...], Finding] = {}
        for phase, failure in self.noted:
            made = self._of_failure(phase, failure)
            _count(found.setdefault(_told_by(failure, made), made), phase, failure)
        return list(found.values())

    def of_waits(self, phases: Sequence[Phase], limit: float) -> Iterator[Finding]:
        """Who waited for longer than that. A machine that is busy makes everybody wait, also without the change."""
        limit = max([limit, *(5 * phase.worst_wait for phase in phases if _is_quiet(phase))])
        for phase in phases:
            if phase.worst_wait > limit:
                release, model, action = phase.waited
                cause = best(self.changes.touched, set(), model)
                say = f"A statement took {phase.worst_wait:.1f} s; {limit:.2g} s is the most."
                yield Finding("wait", release, phase.name, say, "", [Request(model, action, [phase.name], 1)], cause)

    def _of_failure(self, phase: Phase, failure: Failure) -> Finding:
        cause = cause_of(failure, self.changes.touched)
        is_lost = failure.kind == LOST
        return Finding(
            LOST if is_lost else "error",
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

    def of_drift(self, phase: str, lines: Mapping[str, str]) -> Iterator[Finding]:
        """What verify says, and didn't say before the change: place -> line."""
        for place, line in lines.items():
            cause = best(self.changes.touched, set(WORD.findall(f"{place} {line}")), "")
            yield Finding("schema", "new", phase, f"verify says: {line}", cause=cause)


def advise(findings: Iterable[Finding], lint: Iterable[LintFinding]) -> None:
    """Add to each finding what lint says about its operation."""
    hints = {(one.app_label, one.migration, one.operation): one.hint for one in reversed(list(lint))}
    for finding in findings:
        if cause := finding.cause:
            finding.advice = hints.get((cause.app_label, cause.migration, cause.operation), "")


def _key(failure: Failure) -> tuple[str, ...]:
    return failure.release, *failure.reason


def _told_by(failure: Failure, finding: Finding) -> tuple[str, ...]:
    """What two failures share that are told as one: also PostgreSQL's same words about another table."""
    if failure.is_of_server and not failure.constraint and finding.cause:
        return failure.release, failure.kind, failure.message, finding.cause.place
    return _key(failure)


def _is_quiet(phase: Phase) -> bool:
    return any(phase.name in names for names in QUIET.values())


def _add(phase: Phase, failure: Failure, sign: int) -> None:
    """Count the failure in the phase, or take it out again with -1."""
    phase.add((when, 0, sign * count, 0.0) for when, _, count, _ in errors_of(failure.began, failure.at))
    if failure.kind == LOST:
        phase.lost += sign * failure.count
    else:
        phase.errors += sign * failure.count


def _count(finding: Finding, phase: Phase, failure: Failure) -> None:
    for request in finding.requests:
        if (request.model, request.action) == (failure.model, failure.action):
            request.count += failure.count
            request.phases += [] if phase.name in request.phases else [phase.name]
            return
    finding.requests.append(Request(failure.model, failure.action, [phase.name], failure.count))


def cause_of(failure: Failure, touched: Iterable[Touched]) -> Touched | None:
    """The operation that is closest to the names in PostgreSQL's message."""
    words = {failure.column, failure.constraint, *QUOTED.findall(failure.message)} - {""}
    words |= {word for pair in DOTTED.findall(failure.message) for word in pair}
    return best(touched, words, failure.model, table=failure.table)


def best(touched: Iterable[Touched], words: set[str], model: str, *, table: str = "") -> Touched | None:
    """The operation that has most to do with these words.

    It gets points for an object of that name, a column, a table, the model, and SQL or a function that names them.
    """

    def points(one: Touched) -> int:
        return (
            16 * bool(words & one.names)
            + 8 * bool(words & one.columns)
            + 12 * bool(words & one.gone)
            + 4 * bool((words | {table}) & one.tables)
            + bool((words | {table}) & one.near)
            + 2 * bool(model and (one.model == model or model.rpartition(".")[2] in one.mentions))
            + 8 * bool(words & one.mentions)
            + 4 * sum(word in one.text for word in words | {table} if len(word) > 2)
            + (not one.model)  # a function could have done anything
        )

    return max((one for one in touched if points(one)), key=points, default=None)


def _end_of(output: str) -> str:
    """The last words of a command, without a traceback."""
    lines = output.strip().splitlines()
    starts = [number for number, line in enumerate(lines) if line.startswith(("CommandError", "Traceback"))]
    kept = lines[starts[-1] :] if starts else lines[-5:]
    if kept and kept[0].startswith("Traceback"):
        kept = [line for line in kept[1:] if not line.startswith(" ")]
    return "\n".join(kept)
