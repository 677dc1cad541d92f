"""makemigrations: what Django detected, in its zero-downtime form.

The autodetector detects and optimizes as Django does; then every operation goes through the rules, and migrations are
split where some operations need a transaction and others must not have one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import groupby
from typing import Any

from django.core.management.base import CommandError
from django.core.management.commands import makemigrations, migrate
from django.db.migrations import Migration, operations
from django.db.migrations.autodetector import MigrationAutodetector
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState

from ..checking import rules
from ..operations.base import Change
from ..operations.filling import Answer
from ..operations.rule import Context
from ..typed import forget_classes, set_on, without_classes
from . import questioner
from .going_models import sets_before_keys, what_is_over
from .keys_first import wait_for_keys
from .moved_models import moves
from .new_tables import name_new_tables
from .one_column import Succession, successions

UNDECIDED = (
    "Django's operation is written all the same. Until a person decides, by that way or with allow_unsafe in the file, "
    "`manage.py check` and `manage.py safemigrations lint` fail; migrate would run it."
)


class SafeMigrationsMixin(MigrationAutodetector):
    """Goes in front of whatever autodetector stands there: Django's, or django-pgtrigger's."""

    migrations: dict[str, list[Migration]]
    old_model_keys: set[tuple[str, str]]
    new_model_keys: set[tuple[str, str]]
    generated_operations: dict[str, list[Any]]

    def __init__(self, from_state: ProjectState, to_state: ProjectState, questions: Any = None) -> None:
        super().__init__(from_state, to_state, questioner.wrap(questions, from_state, to_state))
        # Django takes unique_together from the state of a model that goes, before anybody has asked about it.
        self.start, self.successions = without_classes(from_state), list[Succession]()

    def _detect_changes(self, *args: Any, **kwargs: Any) -> dict[str, list[Migration]]:
        stock: Any = super()
        for move in moves(self.from_state, self.to_state):
            questioner.refuse_move(self.questioner, move)
        found = list(successions(self.from_state, self.to_state))
        self.successions = [each for each in found if questioner.is_succeeded(self.questioner, each)]
        if self.successions:
            self.from_state = self.from_state.clone()
            for each in self.successions:
                for operation in each.operations:
                    operation.state_forwards(each.app_label, self.from_state)
        return dict(stock._detect_changes(*args, **kwargs))

    def generate_renamed_fields(self) -> None:
        stock: Any = super()
        stock.generate_renamed_fields()
        for each in self.successions:
            for operation in each.operations:
                self.add_operation(each.app_label, operation)

    def _sort_migrations(self) -> None:
        stock: Any = super()
        wait_for_keys(self.generated_operations, self.from_state, self.to_state)
        stock._sort_migrations()

    def generate_deleted_models(self) -> None:
        stock: Any = super()
        stock.generate_deleted_models()
        for app_label, detected in self.generated_operations.items():
            sets_before_keys(app_label, detected, self.old_model_keys - self.new_model_keys)

    def _optimize_migrations(self) -> None:
        stock: Any = super()
        stock._optimize_migrations()
        if self.migrations:
            say = questioner.say if questioner.is_asking(self.questioner) else questioner.keep_quiet
            replace_unsafe(self.start, self.migrations, say)
            self.migrations = split(self.migrations)
            name_new_tables(self.migrations)


def replace_unsafe(
    from_state: ProjectState, migrations: dict[str, list[Migration]], say: Callable[[str], None] = questioner.say
) -> None:
    release = [
        (app_label, operation)
        for app_label, parts in migrations.items()
        for part in parts
        for operation in part.operations
    ]
    created = {(app, op.name_lower) for app, op in release if isinstance(op, operations.CreateModel)}
    state = without_classes(from_state)
    for app_label, part in in_order(migrations):
        replaced: list[Operation] = []
        for detected in _tables_first(part.operations):
            for operation in (*what_is_over(detected, app_label, state), detected):
                after = state.clone()
                operation.state_forwards(app_label, after)
                context = Context(app_label, state, after, release, from_state)
                safe_form = _safe_form(operation, context, created, say)
                replaced.extend(safe_form)
                forget_classes(state)
                forget_classes(after)
                state = after if safe_form == (operation,) else _after(safe_form, app_label, state)
        set_on(part, operations=replaced)


def _after(safe_form: Iterable[Operation], app_label: str, state: ProjectState) -> ProjectState:
    for operation in safe_form:
        operation.state_forwards(app_label, state)
    return state


def _tables_first(detected: Iterable[Operation]) -> list[Operation]:
    """A table is renamed before its columns leave something for the contract, which has to find it under its name."""
    ordered: list[Operation] = []
    for operation in detected:
        place = len(ordered)
        if isinstance(operation, operations.AlterModelTable):
            made = [number for number, other in enumerate(ordered, 1) if _makes(other, operation.name_lower)]
            place = max(made, default=0)
        ordered.insert(place, operation)
    return ordered


def _makes(operation: Operation, name: str) -> bool:
    """Has the model its name, or its table, from this operation?"""
    if isinstance(operation, operations.RenameModel):
        return operation.new_name_lower == name
    return isinstance(operation, operations.CreateModel | operations.AlterModelTable) and operation.name_lower == name


def _safe_form(
    operation: Operation, context: Context, created: set[tuple[str, str]], say: Callable[[str], None]
) -> tuple[Operation, ...]:
    if (context.app_label, rules.model_named_by(operation).lower()) in created:
        return (operation,)
    found = rules.find(operation, context)
    if not found:
        _refuse_answer(operation)
        return (operation,)
    rule, finding = found
    if not finding.replacement:
        say(f"{rule.id}: {finding.message}\n    {finding.way_by_hand}\n    {UNDECIDED}")
        return (operation,)
    if finding.notice:
        say(finding.notice)
    return finding.replacement


def _refuse_answer(operation: Operation) -> None:
    if isinstance(operation, operations.AddField) and isinstance(operation.field.default, Answer):
        raise CommandError(
            f"The table of {operation.model_name} isn't in a PostgreSQL database, so {operation.name} can't be "
            "computed for each row. Run makemigrations again and give a one-off default."
        )


def in_order(migrations: dict[str, list[Migration]]) -> Iterator[tuple[str, Migration]]:
    """Every migration after those of the same run that it depends on."""
    left = [(app_label, part) for app_label, parts in migrations.items() for part in parts]
    while left:
        names = {(app_label, part.name) for app_label, part in left}
        ready = [item for item in left if not names.intersection(item[1].dependencies)]
        yield from ready or left[:1]
        left = [item for item in left if item not in (ready or left[:1])]


# Atomicity.


def needs_a_transaction(operation: Operation) -> bool:
    """Does the operation send statements that must not be left half done?"""
    return not isinstance(operation, Change) and not _is_state_only(operation)


def _is_state_only(operation: Operation) -> bool:
    if isinstance(operation, operations.SeparateDatabaseAndState):
        return not isinstance(operation, Change) and not operation.database_operations
    return isinstance(operation, operations.AlterModelOptions | operations.AlterModelManagers)


def split(migrations: dict[str, list[Migration]]) -> dict[str, list[Migration]]:
    """Cut each migration where atomicity changes, and let what depended on the whole depend on the last part."""
    parts_of = {
        (app_label, migration.name): _parts(migration) for app_label, whole in migrations.items() for migration in whole
    }
    last = {key: (key[0], f"{key[1]}_{len(parts)}") for key, parts in parts_of.items() if len(parts) > 1}
    result: dict[str, list[Migration]] = {}
    for (app_label, name), parts in parts_of.items():
        for number, part in enumerate(parts, 1):
            set_on(part, dependencies=[last.get(dependency, dependency) for dependency in part.dependencies])
            if len(parts) > 1:
                part.name = f"{name}_{number}"
                if number > 1:
                    set_on(part, dependencies=[(app_label, f"{name}_{number - 1}")])
            result.setdefault(app_label, []).append(part)
    return result


def _parts(migration: Migration) -> list[Migration]:
    """The migration in pieces that are wholly atomic or wholly not; what has no SQL goes with its neighbour."""
    with_sql = [isinstance(op, Change) for op in migration.operations if not _is_state_only(op)]
    kinds, kind = [], next(iter(with_sql), False)
    for operation in migration.operations:
        kind = kind if _is_state_only(operation) else isinstance(operation, Change)
        kinds.append(kind)
    groups = [
        (outside, [operation for _, operation in group])
        for outside, group in groupby(zip(kinds, migration.operations, strict=True), key=lambda pair: pair[0])
    ]
    return [_part(migration, chosen, atomic=not outside) for outside, chosen in groups] or [migration]


def _part(migration: Migration, operations: list[Operation], *, atomic: bool) -> Migration:
    attributes = {
        "operations": operations,
        "dependencies": list(migration.dependencies),
        "atomic": atomic,
        "initial": migration.initial,
    }
    made: type[Migration] = type("Migration", (_NamedOnce,), attributes)
    return made(migration.name, migration.app_label)


class _NamedOnce(Migration):
    """A change that takes several operations is one in the name of the file."""

    def suggest_name(self) -> str:
        whole = self.operations
        set_on(self, operations=list({op.migration_name_fragment or str(id(op)): op for op in whole}.values()))
        try:
            return super().suggest_name()
        finally:
            set_on(self, operations=whole)


def install() -> None:
    """Put ours in front, in either order of INSTALLED_APPS: django-pgtrigger builds on the module's attribute."""
    current: Any = makemigrations.Command.autodetector
    if issubclass(current, SafeMigrationsMixin):
        return
    combined = type("MigrationAutodetector", (SafeMigrationsMixin, current), {})
    for module in (makemigrations, migrate):
        set_on(module, MigrationAutodetector=combined)
        module.Command.autodetector = combined
