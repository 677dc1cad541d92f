"""migrate: expands the schema so that both releases work; `--contract` finishes when the old one has gone."""

from __future__ import annotations

from contextlib import closing
from typing import Any

from django.core.management.base import CommandParser
from django.core.management.commands import migrate
from django.db import DatabaseError, connections
from django.db.backends.base.base import BaseDatabaseWrapper

from safemigrations.checking import checks
from safemigrations.contracts import loaded
from safemigrations.hooks.executor import MigrationExecutor
from safemigrations.hooks.of_migration import created_by, situations
from safemigrations.management import back
from safemigrations.management.interruptible import Interruptible
from safemigrations.operations.base import Change
from safemigrations.running.one_at_a_time import one_at_a_time
from safemigrations.running.report import ConsoleReport
from safemigrations.running.run import Report, Run, running
from safemigrations.running.server import writable
from safemigrations.typed import applied_state


class Command(Interruptible, migrate.Command):
    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "--contract",
            action="store_true",
            help=(
                "After the migrations, also run what they left for the contract: drop what only the old release "
                "needed. Use it when no server runs that release any more."
            ),
        )

        back.add_arguments(parser)

    def check(self, *args: Any, **kwargs: Any) -> None:
        """What has been merged must be deployable: unsafe migrations are for `check`, not for `migrate`."""
        with checks.silenced():
            super().check(*args, **kwargs)

    def handle(self, *args: Any, **options: Any) -> None:
        connection = connections[options["database"]]
        self.verbosity = options["verbosity"]
        self.report = ConsoleReport(self.stdout, self.style) if self.verbosity else Report()
        if back.is_wanted(options):
            back.go_back(self, connection, options)
            return
        if options["plan"] or options["check_unapplied"]:
            super().handle(*args, **options)
            if options["plan"]:
                self._print_planned_contracts(connection, options)
            return
        run = Run(report=self.report, finish=options["contract"])
        with (
            writable(connection),
            one_at_a_time(connection, self.tell_waiting),
            running(run),
            closing(self.report),
        ):
            super().handle(*args, **options)
            self._record_release(connection)
            if options["contract"] and not options["fake"]:
                self._contract(connection)
            else:
                self._print_left(connection)

    def tell_waiting(self, pid: int | None) -> None:
        if self.verbosity:
            self.stdout.write(
                self.style.WARNING(f"Another migrate (pid {pid}) is running here; waiting for it to end.")
            )
            self.stdout.flush()

    def _record_release(self, connection: BaseDatabaseWrapper) -> None:
        try:
            loaded().releases.record(connection)
        except DatabaseError as error:  # a role without rights, which had nothing to migrate
            text = f"This release could not be noted in safemigrations_release: {str(error).strip()}"
            self.stderr.write(self.style.WARNING(text))

    def _contract(self, connection: BaseDatabaseWrapper) -> None:
        waiting = loaded().queue.open_rows(connection)
        if self.verbosity:
            self.stdout.write(self.style.MIGRATE_HEADING("Running the contract:"))
            if not waiting:
                self.stdout.write("  Nothing is left for the contract.")
        loaded().queue.contract(connection, self.report)

    def _print_left(self, connection: BaseDatabaseWrapper) -> None:
        left = loaded().queue.open_rows(connection)
        if not left or not self.verbosity:
            return
        self.stdout.write(self.style.MIGRATE_HEADING(f"Left for the contract: {len(left)}"))
        for row in left:
            failed = f" ({row.last_error.splitlines()[0]})" if row.last_error else ""
            self.stdout.write(f"  {row}{failed}")
        database = "" if connection.alias == "default" else f" --database {connection.alias}"
        self.stdout.write(
            f"When no server runs the old release any more: python manage.py migrate --contract{database}"
        )

    def _print_planned_contracts(self, connection: BaseDatabaseWrapper, options: dict[str, Any]) -> None:
        """What the planned migrations would leave, after what is left already."""
        executor = MigrationExecutor(connection)
        lines = [str(row) for row in loaded().queue.open_rows(connection)]
        if connection.vendor == "postgresql":
            lines += _would_be_left(executor, self._targets(executor, options))
        if lines:
            self.stdout.write("Left for the contract:", self.style.MIGRATE_LABEL)
        for line in lines:
            self.stdout.write(f"  {line}")

    def _targets(self, executor: MigrationExecutor, options: dict[str, Any]) -> list[Any]:
        label, name = options["app_label"], options["migration_name"]
        if not label:
            return list(executor.loader.graph.leaf_nodes())
        if not name:
            return [key for key in executor.loader.graph.leaf_nodes() if key[0] == label]
        if name == "zero":
            return [(label, None)]
        return [(label, executor.loader.get_migration_by_prefix(label, name).name)]

    def migration_progress_callback(self, action: str, migration: Any = None, fake: bool = False) -> None:
        if not isinstance(self.report, ConsoleReport):
            super().migration_progress_callback(action, migration, fake)
            return
        if action in ("apply_success", "unapply_success") and self.report.wrote:
            self.stdout.write("   ", ending="")  # " OK" follows, below the steps
        super().migration_progress_callback(action, migration, fake)
        self.report.open_line = action in ("apply_start", "unapply_start")
        self.report.wrote = False


def _would_be_left(executor: MigrationExecutor, targets: list[Any]) -> list[str]:
    lines, run = [], Run(fresh=executor.is_fresh())
    state = applied_state(executor)
    for migration, backwards in executor.migration_plan(targets):
        run.created.update(created_by(migration))
        if backwards:
            continue
        for operation, at in situations(migration, state, executor.connection):
            if isinstance(operation, Change) and operation.leaves(at, run):
                lines.append(f"{migration}  {operation.contract_label(at)}")
        state = migration.mutate_state(state)
    return lines
