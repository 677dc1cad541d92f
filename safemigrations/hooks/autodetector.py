"""makemigrations writes the changes that Django detected in their zero-downtime form.

The autodetector detects and optimizes as Django does; then every operation goes through the rules, and migrations are
split where some operations need a transaction and others must not have one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from django.core.management.base import CommandError
from django.core.management.commands import makemigrations, migrate
from django.db.migrations import Migration, operations
from django.db.migrations.autodetector import MigrationAutodetector, OperationDependency
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState

from ..checking import rules
from ..checking.refused import Refusing
from ..operations.filling import answer_in, forget_answer
from ..operations.move_model import MoveModelIn
from ..operations.rule import Context, Finding, Option, Rule
from ..typed import forget_classes, set_on, without_classes
from . import models_file, questioner, renamed_targets, swapped_models
from .atomicity import note_what_is_sent, split
from .going_models import sets_before_keys, what_is_over
from .keys_first import wait_for_keys
from .moved_models import Move, moves, moves_under_another_name
from .new_keys import let_go
from .new_tables import name_new_tables
from .one_column import Succession, follow_each_other, successions
from .through_models import Adoption, adoptions, have_one_table

UNDECIDED = (
    "Django's operation is written all the same. Until a person decides, by that way or with allow_unsafe in the file, "
    "`manage.py check` and `manage.py safemigrations lint` fail; migrate would run it."
)


class SafeMigrationsMixin(MigrationAutodetector):
    """Stands in front of the project's autodetector: Django's, or django-pgtrigger's."""

    migrations: dict[str, list[Migration]]
    old_model_keys: set[tuple[str, str]]
    new_model_keys: set[tuple[str, str]]
    generated_operations: dict[str, list[Any]]
    renamed_models: dict[tuple[str, str], str]
    renamed_fields: dict[tuple[str, str, str], str]
    _get_dependencies_for_foreign_key: Callable[..., list[Any]]

    def __init__(self, from_state: ProjectState, to_state: ProjectState, questions: Any = None) -> None:
        super().__init__(from_state, to_state, questioner.wrap(questions, from_state, to_state))
        # Django takes unique_together from the state of a model that goes, before anybody has asked about it.
        self.start = without_classes(from_state)
        self.moves = list[Move]()
        self.kept = list[Succession | Adoption]()  # whose column or table stays
        self.edits: list[models_file.Edit] = []

    def changes(self, *args: Any, **kwargs: Any) -> dict[str, list[Migration]]:
        stock: Any = super()
        named: dict[str, list[Migration]] = stock.changes(*args, **kwargs)
        if questioner.is_asking(self.questioner):
            refuse_what_migrate_refuses(self.start, named)
            models_file.remember(self.edits, named)
        return named

    def _detect_changes(self, convert_apps: Any = None, graph: Any = None) -> dict[str, list[Migration]]:
        stock: Any = super()
        self.moves = [*self._moves(convert_apps)]
        self._assume((move.new.app_label, move.arrival) for move in self.moves)
        found = list(successions(self.from_state, self.to_state))
        self.kept = [each for each in found if questioner.is_succeeded(self.questioner, each)]
        for adoption in adoptions(self.from_state, self.to_state):
            questioner.tell(self.questioner, f"{adoption}.")
            self.kept.append(adoption)
        self._assume((each.app_label, operation) for each in self.kept for operation in each.operations)
        return dict(stock._detect_changes(convert_apps, graph))

    def _moves(self, convert_apps: Any) -> Iterator[Move]:
        """Each model moves at most once, and no two models move to the same place."""
        taken = list[Any]()
        for move in moves(self.from_state, self.to_state):
            if move.old in taken or move.new in taken or move.can_be_ignored(convert_apps):
                continue
            if not questioner.is_moved(self.questioner, move):
                continue
            if questioner.is_asking(self.questioner):
                move.refuse_impossible(convert_apps)
            taken += [move.old, move.new]
            yield move
        for other in moves_under_another_name(self.from_state, self.to_state):
            if other.old not in taken and other.new not in taken and questioner.is_moved(self.questioner, other):
                other.refuse()

    def _assume(self, done: Iterable[tuple[str, Operation]]) -> None:
        """Apply operations to the old state before Django compares it: they are written whatever Django finds."""
        for app_label, operation in done:
            self.from_state = self.from_state.clone()
            operation.state_forwards(app_label, self.from_state)

    def check_dependency(self, operation: Operation, dependency: Any) -> bool:
        """An operation that moves a model from another app also counts as creating it."""
        stock: Any = super()
        arrives = isinstance(operation, MoveModelIn) and operation.name.lower() == dependency.model_name_lower
        made = dependency.type == OperationDependency.Type.CREATE and dependency.field_name is None
        return (
            (arrives and made)
            or bool(stock.check_dependency(operation, dependency))
            or renamed_targets.makes(operation, dependency)
        )

    def generate_renamed_models(self) -> None:
        stock: Any = super()
        stock.generate_renamed_models()
        swapped_models.refuse_rename_with_setting(self.renamed_models, self.from_state, self.to_state)

    def generate_renamed_fields(self) -> None:
        stock: Any = super()
        stock.generate_renamed_fields()
        for move in reversed(self.moves):
            self.add_operation(move.new.app_label, move.arrival, dependencies=move.needs(), beginning=True)
        for move in self.moves:
            self.add_operation(move.old.app_label, move.departure, dependencies=move.is_followed_by())
        for each in self.kept:
            for operation in each.operations:
                self.add_operation(each.app_label, operation)

    def _generate_removed_field(self, app_label: str, model_name: str, field_name: str) -> None:
        stock: Any = super()
        if not self._points_elsewhere(app_label, model_name, field_name):
            stock._generate_removed_field(app_label, model_name, field_name)

    def _generate_added_field(self, app_label: str, model_name: str, field_name: str) -> None:
        """Django 6.1 removes and adds a many-to-many field that points at another model. Its table can stay."""
        stock: Any = super()
        if not self._points_elsewhere(app_label, model_name, field_name):
            stock._generate_added_field(app_label, model_name, field_name)
            return
        field = self.to_state.models[app_label, model_name].get_field(field_name)
        needed = self._get_dependencies_for_foreign_key(app_label, model_name, field, self.to_state)
        self.add_operation(app_label, operations.AlterField(model_name, field_name, field), dependencies=needed)

    def _points_elsewhere(self, app_label: str, model_name: str, field_name: str) -> bool:
        old_name = self.renamed_models.get((app_label, model_name), model_name)
        old = self.from_state.models[app_label, old_name].fields.get(field_name)
        new = self.to_state.models[app_label, model_name].fields.get(field_name)
        return old is not None and new is not None and have_one_table(old, new)

    def _sort_migrations(self) -> None:
        stock: Any = super()
        renamed_targets.follow(
            self.generated_operations,
            models=self.renamed_models,
            fields=self.renamed_fields,
            existing=self.from_state.models.keys(),
        )
        follow_each_other(self.generated_operations, self.kept)
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
            replace_unsafe(self.start, self.migrations, say, self._is_chosen)
            self.migrations = split(self.migrations)
            name_new_tables(self.migrations)

    def _is_chosen(self, app_label: str, option: Option) -> bool:
        """Does a person want it? An option that models.py needs for it is written together with the migration."""
        edits = models_file.edits_of(app_label, option)
        if edits is None or not questioner.is_wanted(self.questioner, option):
            return False
        self.edits += edits
        return True


ONE_AFTER_THE_OTHER = (
    "makemigrations wrote nothing. Take the one of the two changes out of models.py, run makemigrations, roll that out "
    "and run migrate --contract; then make the other."
)


def refuse_what_migrate_refuses(start: ProjectState, migrations: dict[str, list[Migration]]) -> None:
    """Raise CommandError for two changes of one release that need one name."""
    asked, state = Refusing(), _before(start, migrations)
    for _, migration in in_order(migrations):
        for _, why in asked.refused(migration, state):
            raise CommandError(f"{why}\n{ONE_AFTER_THE_OTHER}")
        migration.mutate_state(state, preserve=False)
        forget_classes(state)


def replace_unsafe(
    from_state: ProjectState,
    migrations: dict[str, list[Migration]],
    say: Callable[[str], None] = questioner.say,
    is_chosen: Callable[[str, Option], bool] = lambda app_label, option: False,
) -> None:
    release = [
        (app_label, operation)
        for app_label, parts in migrations.items()
        for part in parts
        for operation in part.operations
    ]
    created = {(app, op.name_lower) for app, op in release if isinstance(op, operations.CreateModel)}
    let_go(from_state, migrations, created)
    state = _before(from_state, migrations)
    for app_label, part in in_order(migrations):
        replaced: list[Operation] = []
        for detected in tables_first(part.operations):
            waiting = deque((*what_is_over(detected, app_label, state), detected))
            while waiting:
                operation, after = waiting.popleft(), state.clone()
                operation.state_forwards(app_label, after)
                context = Context(app_label, state, after, release, from_state)
                found = _finding(operation, context, created)
                options = found[1].options if found else ()
                if option := next((each for each in options if is_chosen(app_label, each)), None):
                    waiting.extendleft(reversed(option.operations))
                    continue
                safe_form = _safe_form(operation, found, say)
                note_what_is_sent(safe_form, context)
                replaced.extend(safe_form)
                forget_classes(state)
                forget_classes(after)
                state = after if safe_form == (operation,) else after_all(safe_form, app_label, state)
        set_on(part, operations=replaced)


def _before(start: ProjectState, migrations: dict[str, list[Migration]]) -> ProjectState:
    """The state before these migrations. An app whose first migration is among them counts as one with migrations."""
    state = without_classes(start)
    set_on(state, real_apps=state.real_apps - migrations.keys())
    return state


def after_all(safe_form: Iterable[Operation], app_label: str, state: ProjectState) -> ProjectState:
    for operation in safe_form:
        operation.state_forwards(app_label, state)
    return state


def tables_first(detected: Iterable[Operation]) -> list[Operation]:
    """A table is renamed before its columns leave a contract, which has to find the table under its new name."""
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
    if isinstance(operation, operations.SeparateDatabaseAndState):
        return any(_makes(inner, name) for inner in operation.state_operations)
    return isinstance(operation, operations.CreateModel | operations.AlterModelTable) and operation.name_lower == name


def _finding(operation: Operation, context: Context, created: set[tuple[str, str]]) -> tuple[Rule, Finding] | None:
    is_new = (context.app_label, rules.model_named_by(operation).lower()) in created
    return None if is_new else rules.find(operation, context)


def _safe_form(
    operation: Operation, found: tuple[Rule, Finding] | None, say: Callable[[str], None]
) -> tuple[Operation, ...]:
    if not found:
        _refuse_answer(operation)
        return (operation,)
    rule, finding = found
    if not finding.replacement:
        say(f"{rule.id}: {finding.message}\n    {finding.way_by_hand}\n    {UNDECIDED}")
        forget_answer(operation)
        return (operation,)
    if finding.notice:
        say(finding.notice)
    for safe in finding.replacement:
        forget_answer(safe)
    return finding.replacement


def _refuse_answer(operation: Operation) -> None:
    if isinstance(operation, operations.AddField | operations.AlterField) and answer_in(operation.field) is not None:
        raise CommandError(
            f"The table of {operation.model_name} isn't in a PostgreSQL database, so {operation.name} can't be "
            "computed for each row. Run makemigrations again and give a one-off default."
        )


def in_order(migrations: dict[str, list[Migration]]) -> Iterator[tuple[str, Migration]]:
    """The migrations, each after those of the same run that it depends on."""
    left = [(app_label, part) for app_label, parts in migrations.items() for part in parts]
    while left:
        names = {(app_label, part.name) for app_label, part in left}
        ready = [item for item in left if not names.intersection(item[1].dependencies)]
        yield from ready or left[:1]
        left = [item for item in left if item not in (ready or left[:1])]


def install() -> None:
    """Put ours in front, in either order of INSTALLED_APPS: django-pgtrigger builds on the module's attribute."""
    current: Any = makemigrations.Command.autodetector
    if issubclass(current, SafeMigrationsMixin):
        return
    combined = type("MigrationAutodetector", (SafeMigrationsMixin, current), {})
    for module in (makemigrations, migrate):
        set_on(module, MigrationAutodetector=combined)
        module.Command.autodetector = combined
    models_file.install()
