"""lint --fix: each migration with findings as makemigrations would have written it, in as many files as that takes.

The last file keeps the name of the migration. So whatever depends on it, names it in a test, or has it for a baseline
still means the whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from django.db import migrations
from django.db.migrations import Migration
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState

from ..checking import rules
from ..checking.decisions import Decisions
from ..checking.finding import LintFinding, Report
from ..checking.grammar import HAS_GRAMMAR
from ..checking.handwritten import BY_HAND
from ..checking.history import History, Key
from ..checking.rules import model_named_by
from ..checking.same_release import ATTRIBUTE
from ..data import Data
from ..hooks.atomicity import Group, group_for, is_ours, is_state_only
from ..hooks.writer import why_not_atomic
from ..operations.rule import Context
from ..operations.split import is_split
from ..typed import without_classes
from . import by_hand
from .backfills import Filled, instead_of
from .elements import Element
from .file import CannotRewrite, Content, Keys, MigrationFile
from .replacing import Form, replaced
from .spelling import name_of, spelled

if HAS_GRAMMAR:  # without it nothing is found in SQL that could be fixed
    from . import sql

RULES = {rule.id for rule in rules.RULES}
OF_ROWS = {f"safemigrations.{id}" for id in ("E209", "E210", "E301", "W302")}
NO_WAY_BACK, BUILDS_INDEX = "safemigrations.W305", "safemigrations.E200"
NO_TRANSACTION = {"safemigrations.E201", "safemigrations.E090"}
LOCK_IS_HELD = "safemigrations.E210"


class Piece(Data):
    """An operation in its new place. `origin` is the index of the operation that it comes from."""

    operation: Operation
    element: Element
    imports: set[str]
    origin: int | None
    outside: bool | None = None  # of a transaction; None: as its neighbours
    cut: bool = False  # it must not be in one transaction with what stands before it
    above: str = ""  # a function that it needs


class Written(Data):
    """A file before and after; `before` is None for a new file."""

    path: Path
    before: str | None
    after: str


class Fix(Data):
    """The result for one migration; `notices` are for the person who asked for it."""

    app_label: str
    migration: str
    file: str
    files: list[Written]
    changes: list[str]
    notices: list[str]


class Fixer:
    """Fixes one migration; `before` is the state before its first operation."""

    def __init__(self, migration: Migration, before: ProjectState, found: Report) -> None:
        self.migration, self.before = migration, before
        self.operations: Sequence[Operation] = migration.operations
        self.file = MigrationFile(migration)
        self.findings = [finding for finding in found.findings if _is_of(finding, migration)]
        self.accepted = [finding for finding in found.accepted if _is_of(finding, migration)]
        self.decisions = Decisions(migration)
        self.notices, self.changes = list[str](), list[str]()
        self.filled: dict[int, Filled] = {}  # how each Backfill is written

    def fix(self) -> Fix | None:
        """None if nothing can be done about the findings."""
        parts = self._parts(self._pieces())
        if not self.changes and len(parts) == 1 and self._atomic(parts[0]) == self.migration.atomic:
            return None
        self._refuse_counted_decisions()
        names = [*(f"{self.migration.name}_{number}" for number in range(1, len(parts))), self.migration.name]
        files = [self._written(parts, names, number) for number in range(len(parts))]
        label, name = self.migration.app_label, self.migration.name
        return Fix(label, name, self.file.name, files, self.changes, self.notices)

    def _refuse_counted_decisions(self) -> None:
        counted = [key for each in self.decisions.allowed.values() if isinstance(each, dict) for key in each]
        if any(str(key).isdigit() for key in counted):
            raise CannotRewrite("its allow_unsafe counts operations, and their number changes: give their names")

    # Operations.

    def _pieces(self) -> list[Piece]:
        index = {id(operation): number for number, operation in enumerate(self.operations)}
        unsafe = {finding.operation for finding in self.findings if finding.id in RULES}
        release = [(self.migration.app_label, operation) for operation in self.operations]
        before = without_classes(self.before)

        def context_of(state: ProjectState, after: ProjectState) -> Context:
            return Context(self.migration.app_label, state, after, release, before)

        def safe_form(operation: Operation, context: Context) -> Form:
            if id(operation) not in index and not self._removes_from(operation, unsafe):
                return ()  # of a field whose removal stays as it is
            if id(operation) in index and index[id(operation)] not in unsafe:
                form = self._filling(operation, index[id(operation)], context)
                release[index[id(operation)]] = (self.migration.app_label, form[0])
                return form
            found = rules.find(operation, context)
            if not found or not found[1].replacement:
                return (operation,)
            self.notices.extend(filter(None, [found[1].notice]))
            return found[1].replacement

        forms = replaced(self.operations, without_classes(self.before), context_of, safe_form)
        return [piece for operation, form in forms for piece in self._in_place(operation, form, index)]

    def _filling(self, operation: Operation, origin: int, context: Context) -> Form:
        """A Backfill that does the same; or the operation itself."""
        if not OF_ROWS & {finding.id for finding in self.findings if finding.operation == origin}:
            return (operation,)
        taken = [str(getattr(each.operation.set, "__name__", "")) for each in self.filled.values()]
        state = without_classes(context.before)
        filled = instead_of(operation, self.migration, state, lambda name: self.file.free_name(name, taken))
        if filled is None:
            return (operation,)
        self.filled[id(filled.operation)] = filled
        return (filled.operation,)

    def _removes_from(self, operation: Any, unsafe: set[int | None]) -> bool:
        removals = (self.operations[number] for number in unsafe if number is not None)
        return any(
            isinstance(each, migrations.RemoveField) and each.model_name_lower == operation.model_name_lower
            for each in removals
        )

    def _in_place(self, operation: Operation, form: Form, index: dict[int, int]) -> Iterator[Piece]:
        """What is written instead of an operation; or the operation itself, with what can be done about it."""
        origin = index.get(id(operation))
        old = self.file.elements[origin] if origin is not None else Element("")
        if form == (operation,) and origin is not None:
            yield self._by_hand(operation, old, origin)
            return
        if form:
            self.changes.append(f"{operation.describe()} -> {', '.join(map(name_of, form))}")
        for number, new in enumerate(form):
            filled = self.filled.get(id(new))
            code = filled or spelled(new, operation, old.code or "None", old.indent)
            lead, remark = old.lead if not number else "", old.remark if new is form[-1] else ""
            element, above = Element(code.code, lead, remark, old.indent), filled.function if filled else ""
            yield Piece(new, element, code.imports, origin, _outside(new), above=above)

    def _by_hand(self, operation: Operation, old: Element, origin: int) -> Piece:
        found = {finding.id: finding for finding in self.findings if finding.operation == origin}
        piece = Piece(operation, old, set(), origin, _outside(operation))
        if NO_WAY_BACK in found:
            piece = self._with_noop(piece)
        elif BUILDS_INDEX in found:
            piece = self._builds_index(piece)
        elif found.keys() & NO_TRANSACTION and _is_alone(operation):
            piece = replace(piece, outside=True)
        held = found.get(LOCK_IS_HELD)
        return replace(piece, cut=held is not None and not _locks_itself(operation, held.message))

    def _with_noop(self, piece: Piece) -> Piece:
        code = by_hand.with_noop(piece.element.code)
        if not code:
            return piece
        self.changes.append(f"{piece.operation.describe()} -> with a way back that does nothing")
        return replace(piece, element=replace(piece.element, code=code))

    def _builds_index(self, piece: Piece) -> Piece:
        operation, old = piece.operation, piece.element
        index = sql.index_instead(operation, self.migration.app_label, self.before)
        if index:
            new = spelled(index, operation, old.code, old.indent)
            code, imports, how = new.code, new.imports, "AddIndexConcurrently"
        else:
            code, imports, how = sql.concurrently(operation, old.code), set(), "with CONCURRENTLY"
        if not code:
            return piece
        self.changes.append(f"{operation.describe()} -> {how}")
        element = replace(old, code=code)
        return replace(piece, operation=index or operation, element=element, imports=imports, outside=True)

    # Files.

    def _parts(self, pieces: list[Piece]) -> list[list[Piece]]:
        """Pieces that are wholly atomic or wholly not. A migration that people made non-atomic stays one file."""
        if not self.migration.atomic:
            return [pieces]
        groups, of_sql = list[Group](), [piece.outside for piece in pieces if piece.outside is not None]
        for piece in pieces:
            kind = piece.outside
            if kind is None:
                kind = groups[-1][0] if groups else next(iter(of_sql), False)
            if piece.cut:
                groups.append((kind, []))
            group_for(piece.operation, kind, groups, self.migration.app_label).append(piece.operation)
        known = {id(piece.operation): piece for piece in pieces}
        return [[known[id(operation)] for operation in group] for _, group in groups if group]

    def _atomic(self, part: list[Piece]) -> bool:
        return bool(self.migration.atomic) and not any(piece.outside for piece in part)

    def _written(self, parts: list[list[Piece]], names: list[str], number: int) -> Written:
        part, is_last, name = parts[number], number == len(parts) - 1, names[number]
        path = self.file.path.with_name(f"{name}.py")
        if not is_last and path.exists():
            raise CannotRewrite(f"it would become several, and there is a {path.name} already")
        content = Content(
            operations=[piece.element for piece in part],
            imports=set().union(*(piece.imports for piece in part)),
            atomic=self._atomic(part),
            reason=_reason(part),
            dependencies=[(self.migration.app_label, names[number - 1])] if number else None,
            same_release=self._new_tables(parts, names, number),
            keeps=(lambda id, key: self._is_needed(id, key, part, is_last=is_last)) if len(parts) > 1 else None,
            tail=self.file.tail if is_last else "",
            above="".join(piece.above for piece in part),
            is_last=is_last,
        )
        return Written(path, self.file.raw if is_last else None, self.file.with_content(content))

    def _new_tables(self, parts: list[list[Piece]], names: list[str], number: int) -> Keys | None:
        """The migrations of the same release whose tables this part changes, and those that it named before."""
        own = [piece.operation for piece in parts[number] if not is_ours(piece.operation)]
        changed = {model_named_by(operation).lower() for operation in own}
        anything = any(isinstance(operation, BY_HAND) for operation in own)  # what it changes stands in no argument
        made = [
            (self.migration.app_label, name)
            for name, part in zip(names[:number], parts, strict=False)
            if any((anything and _creates(piece.operation)) or _creates(piece.operation) & changed for piece in part)
        ]
        return [*map(tuple, getattr(self.migration, ATTRIBUTE, ())), *made] if made else None

    def _is_needed(self, id: str, key: Any, part: list[Piece], *, is_last: bool) -> bool:
        origins = {piece.origin for piece in part} | ({None} if is_last else set())
        accepted = [each for each in self.accepted if each.id == id and each.operation in origins]
        return any(key is None or key in self.decisions.keys_of(each.operation) for each in accepted)


def _is_of(finding: LintFinding, migration: Migration) -> bool:
    return (finding.app_label, finding.migration) == (migration.app_label, migration.name)


def _outside(operation: Operation) -> bool | None:
    return None if is_state_only(operation) else is_ours(operation)


def _is_alone(operation: Operation) -> bool:
    return not isinstance(operation, migrations.RunSQL) or bool(sql.is_alone(operation))


def _locks_itself(operation: Operation, message: str) -> bool:
    return isinstance(operation, migrations.RunSQL) and bool(sql.locks_itself(operation, message))


def _creates(operation: Operation) -> set[str]:
    return {operation.name_lower} if isinstance(operation, migrations.CreateModel) else set()


def _reason(part: list[Piece]) -> str:
    operations = [inner for piece in part for inner in _inner(piece.operation)]
    return why_not_atomic(operations) if any(map(is_ours, operations)) else by_hand.CONCURRENTLY


def _inner(operation: Operation) -> list[Operation]:
    """What is sent to the database."""
    return list(operation.database_operations) if is_split(operation) else [operation]


def states_before(history: History, keys: Iterable[Key]) -> Iterator[tuple[Migration, ProjectState]]:
    """Each of these migrations, in the order of the graph, with the state before it."""
    wanted, state = set(keys), ProjectState(real_apps=history.loader.unmigrated_apps)
    for key in history.order:
        if key in wanted:
            yield history.migration(key), without_classes(state)
        history.migration(key).mutate_state(state, preserve=False)
