"""What is unsafe in the migrations of a project: file, operation, why it would hurt, and what to write instead."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from django.db import migrations
from django.db.migrations import Migration
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState

from ..operations.base import Change
from ..operations.rename_model import rename_bases
from ..operations.rule import Context, Level
from ..operations.split import is_split
from ..operations.written import written
from ..typed import forget_classes, without_classes
from . import baseline, catalogue, disk, handwritten, rules, suspects
from .decisions import Decisions, lets_requests_wait
from .finding import LintFinding, Older, Report, Stands, Unread
from .handwritten import Handwritten
from .hazard import Hazard, NotUnderstood
from .history import Checked, History
from .refused import misfit, refused_alone
from .same_release import created_by, named_by
from .source import Source

REFUSED = "safemigrations.E092"
OUTSIDE_TRANSACTION = "safemigrations.E090"
BAD_DECISION = "safemigrations.E091"
UNWATCHED = "safemigrations.E093"
SEVERAL_LEAVES = "safemigrations.W104"
NOT_UNDERSTOOD = "safemigrations.I290"


def report(files: set[Path] | None = None) -> Report:
    """All that is unsafe in migrations after the baseline, in the order of the graph; `files`: only in these."""
    suspected = [label for label in disk.labels() if suspects.is_suspected(label, everything=files is not None)]
    if not suspected:
        return Report()
    history = History()
    checked = _checked(history, suspected, files)
    found, left_out = Report(), Report()
    state = ProjectState(real_apps=history.loader.unmigrated_apps)
    earlier: list[str] = []  # SQL of the migrations so far that may have proved something
    initial: dict[str, set[str]] = {}  # app label -> models that its initial migrations create: nobody uses them yet
    for key in history.order:
        migration = history.migration(key)
        created = created_by(migration)
        if migration.initial:
            created |= initial.setdefault(key[0], set())
            initial[key[0]] = created
        created = created.union(*map(created_by, named_by(migration, history)))
        if key[0] in suspected and checked.is_read(key, migration):
            read_migration(migration, state, created, earlier, left_out if key in checked.older else found)
        else:
            migration.mutate_state(state, preserve=False)
        earlier += handwritten.checks_in(migration)
    found.findings.extend(_several_leaves(history, suspected, checked))
    found.older.extend(_older(checked, left_out))
    return found


def findings() -> list[LintFinding]:
    return report().findings


def _checked(history: History, labels: list[str], files: set[Path] | None) -> Checked:
    """Without a baseline, migrations from before safemigrations are counted; with `files`, a branch's are all read."""
    was_there = baseline.files_before()
    before = [key for key in reversed(history.order) if was_there(Source.of(history.migration(key)).path)]
    exempt = history.needed_by([*baseline.read().items(), *before])
    older = set() if baseline.is_set() or files is not None else history.before_ours(labels)
    return Checked(exempt, older, files)


def _older(checked: Checked, left_out: Report) -> list[Older]:
    last = dict(sorted(checked.older))
    counts = dict.fromkeys(last, 0)
    for finding in left_out.findings:
        counts[finding.app_label] += 1
    return [Older(label, last[label], number) for label, number in counts.items()] if any(counts.values()) else []


def _several_leaves(history: History, labels: list[str], checked: Checked) -> Iterator[LintFinding]:
    for label, names in history.several_leaves(labels).items():
        migration = history.migration((label, names[-1]))
        if checked.is_read((label, names[-1]), migration):
            message = f"{label} has more than one leaf: {', '.join(names)}. Django refuses to migrate."
            yield _finding(migration, None, SEVERAL_LEAVES, message, "Run makemigrations --merge.")


def read_migration(
    migration: Migration, state: ProjectState, created: set[str], earlier: list[str], into: Report
) -> None:
    """The findings that nobody has decided about, and the entries of allow_unsafe that are wrong."""
    into.changes.extend(
        Stands(migration.app_label, migration.name, operation.describe())
        for operation in migration.operations
        if isinstance(operation, Change)
    )
    decisions = Decisions(migration)
    unread: list[Unread] = []
    for finding in _all_of_migration(migration, state, created, earlier, unread):
        (into.accepted if decisions.accept(finding) else into.findings).append(finding)
    for one in unread:
        if decisions.accept(one.finding):
            into.accepted.append(one.finding)
        else:
            into.unread.append(one)
    for complaint in decisions.complaints(catalogue.DECIDABLE, ", ".join(sorted(catalogue.DECIDABLE))):
        into.findings.append(_finding(migration, None, BAD_DECISION, complaint.message, complaint.hint))
    if lets_requests_wait(migration):
        into.findings.append(_unwatched(migration))


def _unwatched(migration: Migration) -> LintFinding:
    return _finding(
        migration,
        None,
        UNWATCHED,
        "max_wait = None lets requests wait for this migration for as long as it takes, and gives no reason.",
        'Write the reason beside it: max_wait_reason = "nobody uses this table at night".',
        line=Source.of(migration).line_of_attribute("max_wait"),
    )


def _all_of_migration(
    migration: Migration, state: ProjectState, created: set[str], earlier: list[str], unread: list[Unread]
) -> Iterator[LintFinding]:
    release = [(migration.app_label, operation) for operation in migration.operations]
    for refused, why in refused_alone(migration, state, created):
        yield _finding(migration, _index_of(refused, migration), REFUSED, why, "")
    by_hand = None
    if handwritten.has_any(migration):
        by_hand = Handwritten(migration, state.clone(), created, earlier)
    before = state
    start = (
        without_classes(state) if any(isinstance(op, migrations.RenameField) for op in migration.operations) else None
    )
    for index, operation in enumerate(migration.operations):
        if by_hand:
            yield from _said(migration, index, by_hand.read(index, operation), unread)
        model_name = rules.model_named_by(operation)
        known = bool(model_name) and model_name.lower() not in created
        kept = before.clone() if known or is_split(operation) else before
        if type(operation) is migrations.RenameModel:  # else nothing after it could be judged
            rename_bases(operation, migration.app_label, before)
        operation.state_forwards(migration.app_label, before)
        if is_split(operation):
            yield from _of_database_half(migration, index, operation, kept, created)
        if known:
            context = Context(migration.app_label, kept, before, release, start)
            yield from _of_operation(migration, index, operation, context)
            forget_classes(before)


def _index_of(operation: Operation, migration: Migration) -> int | None:
    """The index of an operation in its migration; None for one that stands inside another operation."""
    return next((number for number, each in enumerate(migration.operations) if each is operation), None)


def _of_database_half(
    migration: Migration,
    index: int,
    operation: migrations.SeparateDatabaseAndState,
    state: ProjectState,
    created: set[str],
) -> Iterator[LintFinding]:
    """Findings for Django's operations in `database_operations`: they run in states of their own."""
    release = [(migration.app_label, inner) for inner in operation.database_operations]
    for inner in operation.database_operations:
        after = state.clone()
        inner.state_forwards(migration.app_label, after)
        name = rules.model_named_by(inner).lower()
        if name and name not in created:
            yield from _of_operation(migration, index, inner, Context(migration.app_label, state, after, release))
        state = after


def _said(
    migration: Migration, index: int, said: Iterator[Hazard | NotUnderstood], unread: list[Unread]
) -> Iterator[LintFinding]:
    for each in said:
        if isinstance(each, NotUnderstood):
            message, hint = f"{each.what} not understood: {each.why}", "Judge it yourself."
            finding = _finding(migration, index, NOT_UNDERSTOOD, message, hint, line=each.line, file=each.file)
            unread.append(Unread(each.what, finding))
        else:
            yield _finding(
                migration, index, each.id, each.message, each.hint, each.level, line=each.line, file=each.file
            )


def _of_operation(migration: Migration, index: int, operation: Operation, context: Context) -> Iterator[LintFinding]:
    if isinstance(operation, Change) and migration.atomic and not migration.replaces:
        yield _finding(
            migration,
            index,
            OUTSIDE_TRANSACTION,
            f"{type(operation).__name__} can't run inside a transaction.",
            "Set atomic = False on the migration.",
        )
    if isinstance(operation, Change) and (why := misfit(operation, context)):
        yield _finding(migration, index, REFUSED, why, "")
    if found := rules.find(operation, context):
        rule, finding = found
        hint = finding.way_by_hand
        if finding.replacement:
            lines = "\n".join(written(safe) for safe in finding.replacement)
            hint = f"Write\n{_indented(lines)}\nor delete the file and run makemigrations again."
        yield _finding(migration, index, rule.id, finding.message, hint, finding.level)


def _indented(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.splitlines())


def _finding(
    migration: Migration,
    index: int | None,
    id: str,
    message: str,
    hint: str,
    level: Level | None = None,
    *,
    line: int = 0,
    file: str = "",
) -> LintFinding:
    """`line` is 0 where only that of the operation is known; `file` is empty for that of the migration."""
    source = Source.of(migration)
    return LintFinding(
        app_label=migration.app_label,
        migration=migration.name,
        operation=index,
        id=id,
        message=message,
        hint=hint,
        file=file or source.name,
        line=line or source.line_of(index),
        level=level or catalogue.level_of(id),
    )
