"""What the failures of a rehearsal mean: which of them the change caused, and which operation that was."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from ..checking.finding import LintFinding
from .changes import Changes, Touched
from .phases import Broke, Differs
from .requests import Failure
from .result import Finding, Phase, Request

OLD_ALONE, NEW_ALONE = "old alone", "new on the schema of stock operations"
QUIET = {"old": OLD_ALONE, "new": NEW_ALONE}
QUOTED = re.compile(r'"([^"]+)"')
DOTTED = re.compile(r"column (\w+)\.(\w+) does not exist")
APPLYING = re.compile(r"(?:Applying|Unapplying) (\w+)\.(\w+)\.\.\.")


class Verdict:
    """Findings, each once, with the operation that caused it."""

    def __init__(self, changes: Changes, lint: Sequence[LintFinding]) -> None:
        self.changes, self.lint = changes, lint

    def findings(self, failures: Sequence[tuple[Phase, Failure]]) -> list[Finding]:
        """Also counts them in their phases. What a release does wrong on its own is left out."""
        quiet = {(failure.release, failure.signature) for phase, failure in failures if _is_quiet(phase, failure)}
        found: dict[tuple[str, ...], Finding] = {}
        for phase, failure in failures:
            if phase.name not in QUIET.values() and (failure.release, failure.signature) not in quiet:
                key = (failure.release, failure.kind, failure.table, failure.shape)
                finding = found.setdefault(key, self._of_failure(phase, failure))
                _count(finding, phase, failure)
        return list(found.values())

    def _of_failure(self, phase: Phase, failure: Failure) -> Finding:
        cause = cause_of(failure, self.changes.touched)
        is_lost = failure.kind == "lost"
        return Finding(
            "lost" if is_lost else "error",
            failure.release,
            phase.name,
            failure.message,
            "" if is_lost else failure.kind,
            [],
            cause,
            self._advice(cause),
        )

    def of_broken(self, broke: Broke) -> Finding:
        """A command that failed, with the migration that it was at."""
        at = APPLYING.findall(broke.ended.output)
        cause = next((one for one in self.changes.touched if at and (one.app_label, one.migration) == at[-1]), None)
        said = _end_of(broke.ended.output)
        return Finding("migrate", "new", broke.phase, said, cause=cause, advice=self._advice(cause))

    def of_difference(self, differs: Differs) -> Iterator[Finding]:
        for name, (there, here) in differs.objects.items():
            say = f"{name} is not {differs.expected}: {here or 'missing'} instead of {there or 'none'}"
            cause = best(self.changes.touched, set(re.findall(r"\w+", name)), "")
            yield Finding("schema", "new", differs.phase, say, cause=cause)

    def _advice(self, cause: Touched | None) -> str:
        if not cause:
            return ""
        place = (cause.app_label, cause.migration, cause.operation)
        texts = [one.hint for one in self.lint if (one.app_label, one.migration, one.operation) == place]
        return texts[0] if texts else ""


def _count(finding: Finding, phase: Phase, failure: Failure) -> None:
    phase.lost += failure.count if finding.kind == "lost" else 0
    phase.errors += 0 if finding.kind == "lost" else failure.count
    for request in finding.requests:
        if (request.model, request.action) == (failure.model, failure.action):
            request.count += failure.count
            request.phases += [] if phase.name in request.phases else [phase.name]
            return
    finding.requests.append(Request(failure.model, failure.action, [phase.name], failure.count))


def _is_quiet(phase: Phase, failure: Failure) -> bool:
    return phase.name == QUIET[failure.release]


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
