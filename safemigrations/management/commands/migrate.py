"""migrate: expands the schema so that both releases work; `--contract` finishes when the old one has gone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from textwrap import indent
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.core.management.commands import migrate
from django.db import DatabaseError, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.recorder import MigrationRecorder

from safemigrations.checking import checks
from safemigrations.checking.of_migration import created_by, situations
from safemigrations.contracts import loaded
from safemigrations.errors import to_type
from safemigrations.hooks.executor import MigrationExecutor
from safemigrations.management import arguments, back_arguments, json_lines
from safemigrations.management.interruptible import Interruptible
from safemigrations.management.targets import targets
from safemigrations.operations.base import Change
from safemigrations.running.a_run import a_run
from safemigrations.running.ahead import Ahead
from safemigrations.running.at_once import contracts_at_once
from safemigrations.running.blockers import Blocker
from safemigrations.running.one_at_a_time import one_at_a_time
from safemigrations.running.report import ConsoleReport
from safemigrations.running.run import Report, Run, current_run, running
from safemigrations.running.server import refuse_unreadable, writable
from safemigrations.typed import applied_state, set_on


class Command(Interruptible, migrate.Command):
    report: Report

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        arguments.add_to(parser)
        json_lines.add_argument(parser)

    def check(self, *args: Any, **kwargs: Any) -> None:
        """What has been merged must be deployable: unsafe migrations are for `check`, not for `migrate`."""
        with checks.silenced():
            super().check(*args, **kwargs)

    def handle(self, *args: Any, **options: Any) -> None:
        self.verbosity = options["verbosity"]
        if options["format"] == "text":
            self.report: Report = Report()
            if self.verbosity:
                self.report = ConsoleReport(self.stdout, self.style, verbosity=self.verbosity)
            self._handle(connections[options["database"]], *args, **options)
            return
        if options["plan"] or options["check_unapplied"]:
            plan = to_type("safemigrations plan --format json", options["database"])
            raise CommandError(f"--format json tells what happens. For what is going to happen: {plan}")
        with json_lines.json_lines(self) as self.report:
            self._handle(connections[options["database"]], *args, **options)

    def _handle(self, connection: BaseDatabaseWrapper, *args: Any, **options: Any) -> None:
        if back_arguments.is_wanted(options):
            self._go_back(connection, options)
        elif options["contract"] and not options["check_unapplied"]:
            self._contract(connection, options)
        elif options["plan"]:
            self._plan(connection, *args, **options)
        elif options["check_unapplied"]:
            super().handle(*args, **options)
        else:
            self._migrate(connection, *args, **options)

    def _plan(self, connection: BaseDatabaseWrapper, *args: Any, **options: Any) -> None:
        # With what it asks it takes as long to load as the contract, and `check` loads this module.
        from safemigrations.management import planning

        refuse_unreadable(connection)
        facts = planning.planned(connection, targets(MigrationExecutor(connection), options))
        set_on(self, describe_operation=planning.describing(self.describe_operation, facts))
        super().handle(*args, **options)
        for note in facts.notes:
            self.stdout.write(note)
        self._print_planned_contracts(connection, options)
        self._print_refusals(connection, options)
        planning.refuse_risk(facts, options["fail_on"])

    def _contract(self, connection: BaseDatabaseWrapper, options: dict[str, Any]) -> None:
        # With the runner and the queue it takes 35 ms, and `check` loads this module.
        from safemigrations.management.contracting import Contracting

        contracting = Contracting(self, connection, options)
        if options["plan"]:
            contracting.plan()
            return
        with self.alone(connection, "migrate --contract"):
            contracting.run(self.report)

    # The record of releases and the table of the contract take 3 ms, and `check` loads this module.

    def _go_back(self, connection: BaseDatabaseWrapper, options: dict[str, Any]) -> None:
        from safemigrations.management import back

        back.go_back(self, connection, options)

    def _refuse_to_leave(self, connection: BaseDatabaseWrapper, options: dict[str, Any]) -> None:
        """Where a release that is there, or a newer one, needs what would be unapplied."""
        from safemigrations.management import back, leaving

        going = back.unapplied_by(connection, lambda executor: targets(executor, options))
        leaving.refuse_under_newer(connection, going)
        leaving.refuse_while_needed(connection, going)

    def _catch_up(self, connection: BaseDatabaseWrapper, options: dict[str, Any]) -> None:
        from safemigrations.management import catching_up

        catching_up.refuse_nonsense(options)
        catching_up.refuse_while_others_are_there(connection, options)
        current_run().at_once = True

    @contextmanager
    def alone(self, connection: BaseDatabaseWrapper, command: str = "migrate") -> Iterator[None]:
        """Let this command work on the database, and no other migrate."""
        with (
            a_run(self.report, connection.alias, command),
            writable(connection),
            one_at_a_time(connection, self.tell_waiting),
            running(Run(report=self.report, before=lambda ahead: self.warn(connection, ahead))) as run,
            closing(self.report),
        ):
            yield
            self.verify(connection, run)

    def _migrate(self, connection: BaseDatabaseWrapper, *args: Any, **options: Any) -> None:
        with self.alone(connection):
            current_run().keeps_digests = not options["run_syncdb"]  # as only a test database is made
            is_first = not MigrationRecorder(connection).has_table()
            if not is_first:  # at once: a run that is killed leaves rows that only this release knows
                self._record_release(connection)
            if options["catch_up"]:
                self._catch_up(connection, options)
            elif options["migration_name"] and not (options["fake"] or options["force"]):
                self._refuse_to_leave(connection, options)
            super().handle(*args, **options)
            if is_first:
                self._record_release(connection)
            if not current_run().fresh:
                self.report.sum_up()
            self._print_left(connection)

    def warn(self, connection: BaseDatabaseWrapper, ahead: Ahead) -> None:
        """What is around, in a few lines, before the first step."""
        from safemigrations.management import warning  # with its questions it takes 2 ms, and `check` loads this module

        if self.verbosity:
            warning.warn(self, connection, ahead)

    def verify(self, connection: BaseDatabaseWrapper, run: Run) -> None:
        """Compare the tables of the run with what the migrations say."""
        if not (run.state and run.touched):
            return
        from safemigrations.management import verifying  # with the shapes of tables it takes 9 ms

        verifying.verify_run(self, connection, run, self.verbosity)

    def tell_waiting(self, who: Blocker | None) -> None:
        if self.verbosity:
            other = f", {who}," if who else ""
            self.stdout.write(self.style.WARNING(f"Another migrate{other} is running here; waiting for it to end."))
            self.stdout.flush()

    def _record_release(self, connection: BaseDatabaseWrapper) -> None:
        try:
            if loaded().releases.record(connection):
                loaded().acts.ensure(connection)  # a page of the admin makes no table
        except DatabaseError as error:  # a role without rights, which had nothing to migrate
            text = f"This release could not be noted in safemigrations_release: {str(error).strip()}"
            self.stderr.write(self.style.WARNING(text))

    def _print_left(self, connection: BaseDatabaseWrapper) -> None:
        left = loaded().queue.open_rows(connection)
        if not left or not self.verbosity:
            return
        self.stdout.write(self.style.MIGRATE_HEADING(f"Left for the contract: {len(left)}"))
        for row in left:
            failed = f" ({row.last_error.splitlines()[0]})" if row.last_error else ""
            self.stdout.write(f"  {row}{failed}")
        known = loaded().releases.names_known_to(connection)
        if any((row.app_label, row.migration) in known for row in left):
            contract = to_type("migrate --contract", connection.alias)
            self.stdout.write(f"When no server runs the old release any more: {contract}")
        else:
            self.stdout.write("A newer release left them: run the contract with its code.")

    def _print_planned_contracts(self, connection: BaseDatabaseWrapper, options: dict[str, Any]) -> None:
        """What the planned migrations would leave, after what is left already."""
        executor = MigrationExecutor(connection)
        lines = [str(row) for row in loaded().queue.open_rows(connection)]
        if connection.vendor == "postgresql":
            lines += _would_be_left(executor, targets(executor, options))
        if lines:
            self.stdout.write("Left for the contract:", self.style.MIGRATE_LABEL)
        for line in lines:
            self.stdout.write(f"  {line}")

    def _print_refusals(self, connection: BaseDatabaseWrapper, options: dict[str, Any]) -> None:
        """What would be said of the planned migrations, and what would stop them, before their first step."""
        executor = MigrationExecutor(connection)
        if connection.vendor != "postgresql" or executor.is_fresh():
            return
        from safemigrations.management.undecided import say_undecided  # with the rules and what reads SQL

        foreseeing = executor.foresee(executor.migration_plan(targets(executor, options)))
        say_undecided(self, connection, foreseeing.ahead)
        if foreseeing.refusals:
            self.stdout.write("Would be refused:", self.style.MIGRATE_LABEL)
        for refusal in foreseeing.refusals:
            self.stdout.write(indent(refusal, "  "))

    def migration_progress_callback(self, action: str, migration: Any = None, fake: bool = False) -> None:
        if not isinstance(self.report, ConsoleReport):
            super().migration_progress_callback(action, migration, fake)
            return
        if action in ("apply_success", "unapply_success"):
            self.report.end_of_steps()
        if action in ("apply_success", "unapply_success") and self.report.wrote:
            self.stdout.write("   ", ending="")  # " OK" follows, below the steps
        super().migration_progress_callback(action, migration, fake)
        self.report.open_line = action in ("apply_start", "unapply_start")
        self.report.wrote = False


def _would_be_left(executor: MigrationExecutor, targets: list[Any]) -> list[str]:
    lines, run = [], Run(fresh=executor.is_fresh(), at_once=contracts_at_once(executor.connection))
    state = applied_state(executor)
    for migration, backwards in executor.migration_plan(targets):
        run.created.update(created_by(migration, run.created))
        if backwards:
            continue
        for operation, at in situations(migration, state, executor.connection):
            if isinstance(operation, Change) and operation.leaves(at, run):
                lines.append(f"{migration}  {operation.contract_label(at)}")
        state = migration.mutate_state(state)
    return lines
