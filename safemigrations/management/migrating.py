"""What `migrate` does around Django's own: one run at a time, its report, and what is said before it and after it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from types import ModuleType
from typing import Any

from django.core.management.base import CommandError
from django.core.management.commands import migrate
from django.db import DatabaseError, connections
from django.db.migrations.recorder import MigrationRecorder

from safemigrations.contracts import loaded
from safemigrations.errors import to_type
from safemigrations.hooks.executor import MigrationExecutor
from safemigrations.management import back_arguments, json_lines
from safemigrations.running.a_run import a_run
from safemigrations.running.foreseeing.ahead import Ahead
from safemigrations.running.locking.blockers import Blocker
from safemigrations.running.one_at_a_time import one_at_a_time
from safemigrations.running.run import Report, Run, current_run, running
from safemigrations.running.server import refuse_unreadable, refuse_unusable
from safemigrations.typed import set_on


def at_work() -> ModuleType:
    """The module `at_work`.

    It would take 10 of the 390 ms of a migrate that has nothing to do, and of a first one.
    """
    from safemigrations.management import at_work

    return at_work


class Migrating:
    """One `migrate`, in the form that its options ask for; `stock` is what Django's command does."""

    def __init__(self, command: migrate.Command, options: dict[str, Any], stock: Callable[[], object]) -> None:
        self.command, self.options, self.stock = command, options, stock
        self.connection, self.verbosity = connections[options["database"]], options["verbosity"]
        self.report = Report()

    def run(self) -> None:
        if self.options["format"] == "text":
            if self.verbosity:
                self.report = loaded().ConsoleReport(self.command.stdout, self.command.style, verbosity=self.verbosity)
            self._run()
            return
        if self.options["plan"] or self.options["check_unapplied"]:
            plan = to_type("safemigrations plan --format json", self.connection.alias)
            raise CommandError(f"--format json tells what happens. For what is going to happen: {plan}")
        with json_lines.json_lines(self.command) as self.report:
            self._run()

    def _run(self) -> None:
        if back_arguments.is_wanted(self.options):
            at_work().back.go_back(self, self.options)
        elif self.options["contract"] and not self.options["check_unapplied"]:
            self._contract()
        elif self.options["plan"]:
            self._plan()
        elif self.options["check_unapplied"]:
            self.stock()
        else:
            self._migrate()

    def _plan(self) -> None:
        refuse_unreadable(self.connection)
        planning, targets = at_work().planning, at_work().targets
        facts = planning.planned(self.connection, targets(MigrationExecutor(self.connection), self.options))
        set_on(self.command, describe_operation=planning.describing(self.command.describe_operation, facts))
        self.stock()
        for note in facts.notes:
            self.command.stdout.write(note)
        planning.print_contracts(self.command, self.connection, facts)
        planning.print_refusals(self.command, self.connection, self.options, facts)
        planning.refuse_risk(facts, self.options["fail_on"])

    def _contract(self) -> None:
        contracting = at_work().Contracting(self.command, self.connection, self.options)
        if self.options["plan"]:
            contracting.plan()
            return
        with self.alone("migrate --contract"):
            contracting.run(self.report)

    @contextmanager
    def alone(self, command: str = "migrate") -> Iterator[None]:
        """Let this command work on the database, and no other migrate."""
        with a_run(self.report, self.connection.alias, command):
            refuse_unusable(self.connection)
            with (
                one_at_a_time(self.connection, self._tell_waiting),
                running(Run(report=self.report, before=self._warn)) as run,
                closing(self.report),
            ):
                yield
                if run.touched:
                    at_work().verifying.verify_run(self.command, self.connection, run, self.verbosity)

    def _migrate(self) -> None:
        with self.alone():
            current_run().keeps_digests = not self.options["run_syncdb"]  # as only a test database is made
            is_first = not MigrationRecorder(self.connection).has_table()
            if not is_first:  # at once: a run that is killed leaves rows that only this release knows
                self._record_release()
            self._prepare()
            self.stock()
            if is_first:
                self._record_release()
            if not current_run().fresh:
                self.report.sum_up()
            self._print_left()

    def _prepare(self) -> None:
        if self.options["catch_up"]:
            at_work().catching_up.refuse_nonsense(self.options)
            at_work().catching_up.refuse_while_others_are_there(self.connection, self.options)
            current_run().at_once = True
        elif self.options["migration_name"] and not (self.options["fake"] or self.options["force"]):
            self._refuse_to_leave()

    def _refuse_to_leave(self) -> None:
        """Where a release that is there, or a newer one, needs what would be unapplied."""
        back, leaving, targets = at_work().back, at_work().leaving, at_work().targets
        going = back.unapplied_by(self.connection, lambda executor: targets(executor, self.options))
        leaving.refuse_under_newer(self.connection, going)
        leaving.refuse_while_needed(self.connection, going)

    # What is said.

    def _warn(self, ahead: Ahead) -> None:
        """What is around, in a few lines, before the first step."""
        if self.verbosity:
            at_work().warning.warn(self.command, self.connection, ahead)

    def _tell_waiting(self, who: Blocker | None) -> None:
        if self.verbosity:
            other = f", {who}," if who else ""
            text = f"Another migrate{other} is running here; waiting for it to end."
            self.command.stdout.write(self.command.style.WARNING(text))
            self.command.stdout.flush()

    def _record_release(self) -> None:
        try:
            if loaded().releases.record(self.connection):
                loaded().acts.ensure(self.connection)  # a page of the admin makes no table
        except DatabaseError as error:  # a role without rights, which had nothing to migrate
            text = f"This release could not be noted in safemigrations_release: {str(error).strip()}"
            self.command.stderr.write(self.command.style.WARNING(text))

    def _print_left(self) -> None:
        left, command = loaded().queue.open_rows(self.connection), self.command
        if not left or not self.verbosity:
            return
        command.stdout.write(command.style.MIGRATE_HEADING(f"Left for the contract: {len(left)}"))
        for row in left:
            failed = f" ({row.last_error.splitlines()[0]})" if row.last_error else ""
            command.stdout.write(f"  {row}{failed}")
        for remark in current_run().remarks:
            command.stdout.write(command.style.WARNING(remark))
        known = loaded().releases.names_known_to(self.connection)
        if any((row.app_label, row.migration) in known for row in left):
            contract = to_type("migrate --contract", self.connection.alias)
            command.stdout.write(f"When no server runs the old release any more: {contract}")
        else:
            command.stdout.write("A newer release left them: run the contract with its code.")

    @contextmanager
    def progress(self, action: str) -> Iterator[None]:
        """Around Django's line for a migration, of which the steps are told in between."""
        report = self.report
        if not isinstance(report, loaded().ConsoleReport):
            yield
            return
        if action in ("apply_success", "unapply_success"):
            report.end_of_steps()
            if report.wrote:
                self.command.stdout.write("   ", ending="")  # " OK" follows, below the steps
        yield
        report.open_line = action in ("apply_start", "unapply_start")
        report.wrote = False
