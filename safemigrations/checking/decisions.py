"""What people decided about findings: allow_unsafe on the Migration class, with a reason for the next reader.

allow_unsafe = {
    "safemigrations.E012": "currencies has 180 rows",
    "safemigrations.E001": {"currency_code_idx": "built by hand on 3 March"},  # or the operation's index
}
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping
from typing import Any

from django.db.migrations import Migration

from ..data import Data
from .finding import LintFinding

HOW = 'Write allow_unsafe = {"safemigrations.E001": "the reason"}.'


class Complaint(Data):
    """An entry of allow_unsafe that is wrong: it has no reason, names an unknown id, or isn't needed."""

    message: str
    hint: str


class Decisions:
    """The decisions on one migration, and which of them were needed."""

    def __init__(self, migration: Migration) -> None:
        self.migration = migration
        self.written = getattr(migration, "allow_unsafe", {})
        self.allowed: Mapping[Any, Any] = self.written if isinstance(self.written, Mapping) else {}
        self.needed: set[tuple[str, Any]] = set()

    def accept(self, finding: LintFinding) -> bool:
        """Has a person decided, with a reason, that this finding may stand?"""
        return any(list(map(_is_reason, self._reasons_for(finding))))

    def _reasons_for(self, finding: LintFinding) -> Iterator[Any]:
        decision = self.allowed.get(finding.id)
        if not isinstance(decision, Mapping):
            self.needed.add((finding.id, None))
            yield decision
            return
        for key in self.keys_of(finding.operation):
            if key in decision:
                self.needed.add((finding.id, key))
                yield decision[key]

    def keys_of(self, index: int | None) -> Iterator[Any]:
        """The names by which allow_unsafe may refer to one operation."""
        if index is None:
            return
        operation: Any = self.migration.operations[index]
        yield index
        yield str(index)
        named = (operation, getattr(operation, "index", None), getattr(operation, "constraint", None))
        yield from (name for one in named if (name := getattr(one, "name", None)))

    def complaints(self, known: Container[str], listed: str) -> Iterator[Complaint]:
        """Decisions without a reason, about nothing, or about an id that doesn't exist; asked after all findings."""
        if not isinstance(self.written, Mapping):
            yield Complaint("allow_unsafe must be a dictionary.", HOW)
        for id, decision in self.allowed.items():
            if id not in known:
                yield Complaint(f"allow_unsafe names {id}, which no rule has.", f"The ids are: {listed}.")
                continue
            each = decision.items() if isinstance(decision, Mapping) else [(None, decision)]
            yield from (complaint for key, reason in each if (complaint := self._complaint(id, key, reason)))

    def _complaint(self, id: str, key: Any, reason: Any) -> Complaint | None:
        what = id if key is None else f"{id} of operation {key!r}"
        if not _is_reason(reason):
            return Complaint(
                f"allow_unsafe gives no reason for {what}.", "Write why it is safe here, for the next reader."
            )
        if (id, key) not in self.needed:
            return Complaint(f"allow_unsafe names {what}, which nothing here needs.", "Remove the entry.")
        return None


def lets_requests_wait(migration: Migration) -> bool:
    """Is the watchdog switched off without a reason for the next reader?"""
    reason = getattr(migration, "max_wait_reason", "")
    return getattr(migration, "max_wait", 0) is None and not _is_reason(reason)


def _is_reason(reason: Any) -> bool:
    return isinstance(reason, str) and bool(reason.strip())
