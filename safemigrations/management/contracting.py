"""migrate --contract: what a person reads and is asked, around the gate."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from django.core.management.base import CommandError
from django.core.management.commands import migrate
from django.db.backends.base.base import BaseDatabaseWrapper

from safemigrations import conf
from safemigrations.contracts import acts, carrying_out, chosen, queue, reversals, unfinished
from safemigrations.contracts.gate import Row, Why
from safemigrations.contracts.going import losses
from safemigrations.contracts.judging import Judgement, judge, note
from safemigrations.contracts.refusing import Refusing, listed
from safemigrations.contracts.requirement import refusal
from safemigrations.contracts.table import HOLDING, Contract, Status
from safemigrations.errors import NotNow, StepFailed, to_type
from safemigrations.hooks.executor import MigrationExecutor
from safemigrations.hooks.kept_triggers import Lost, counted_on, lost, refuse_lost
from safemigrations.inspecting.drift.touched import by_steps
from safemigrations.inspecting.plan import as_text
from safemigrations.inspecting.plan.facts import MigrationFacts, PlanFacts
from safemigrations.inspecting.plan.planning import Planning
from safemigrations.management import verifying, warning
from safemigrations.management.planning import refuse_risk
from safemigrations.running.events.vocabulary import ContractRefused
from safemigrations.running.foreseeing.ahead import Ahead
from safemigrations.running.own_tables import refuse_others
from safemigrations.running.run import Report
from safemigrations.running.server import refuse_unreadable

NOT_WITH = {"fake": "--fake", "fake_initial": "--fake-initial", "prune": "--prune", "run_syncdb": "--run-syncdb"}
NOTHING = "Nothing is left for the contract."
AGAIN = "When that is over, run the same command again."


class Contracting:
    """One `migrate --contract` on one database."""

    def __init__(self, command: migrate.Command, connection: BaseDatabaseWrapper, options: dict[str, Any]) -> None:
        self.command, self.connection, self.options = command, connection, options
        self.contracts: dict[int, Contract] = {}
        self.lost: list[Lost] = []

    def run(self, report: Report) -> None:
        """Raises NotNow when the gate says no, after what may run has run."""
        rows = self._rows()
        if not rows:
            self._say(NOTHING)
            return
        refuse_others(self.connection)
        note(self.connection)
        self._say(self._headline(rows))
        with report.meanwhile(f"Looking for {conf.gate_watch():g} s who is connected (GATE_WATCH)"):
            judgement = judge(self.connection, rows, forced=self.options["force"])
        self._say_who_else(judgement)
        if judgement.verdict.runs:
            self._contract(judgement, report)
            report.sum_up()
            self._verify(judgement.verdict.runs)
        self._tell_refused(judgement, report)
        self._say_what_waits(judgement)

    def plan(self) -> None:
        """Show what would run, and change nothing."""
        refuse_unreadable(self.connection)
        rows = self._rows()
        self._say(self._headline(rows) if rows else NOTHING)
        judgement = judge(self.connection, rows, forced=self.options["force"])
        runs = [self.contracts[row.number] for row in judgement.verdict.runs]
        self._say_what_goes(runs)
        for text in self._lost_by(runs):
            self._say(f"Would be refused: {text}")
        facts = self._say_what_they_do(runs)
        if judgement.verdict.waits:
            self._say(f"Not now:\n{self._refusing(judgement).text(judgement.verdict.waits)}")
        self._say_what_has_no_file(judgement)
        refuse_risk(PlanFacts(self.connection.alias, facts), self.options["fail_on"])

    def _say_what_they_do(self, contracts: Sequence[Contract]) -> list[MigrationFacts]:
        facts = Planning(self.connection).contracts(contracts)
        for contract, one in zip(contracts, facts, strict=True):
            self._say("\n".join([f"{contract}", *as_text.in_full(one)]))
        return facts

    def _say_what_has_no_file(self, judgement: Judgement) -> None:
        """What rows would do whose migration this code hasn't: no sqlmigrate says it."""
        waits = judgement.verdict.waits
        gone = [self.contracts[wait.row.number] for wait in waits if wait.why is Why.UNKNOWN]
        if gone:
            self._say("What this code has no file for would run, when somebody has settled that:")
            self._say_what_they_do(gone)

    # What the command is about.

    def _rows(self) -> list[Row]:
        self._refuse_what_makes_no_sense()
        reversals.refuse_contract(self.connection)
        executor = MigrationExecutor(self.connection)
        self.lost = lost(self.connection, counted_on(self.connection, executor.loader))
        held = list(queue.rows(self.connection, status__in=HOLDING))
        label, name = self.options["app_label"] or "", self.options["migration_name"] or ""
        target = chosen.Target(executor.loader, held, label, name)
        self._refuse_unapplied(executor, target)
        is_open = {row.pk for row in queue.open_rows(self.connection)}
        left = [row for row in held if row.pk in is_open or (label and row.status == Status.SKIPPED)]
        self.contracts = {row.pk: row for row in left}
        rows = chosen.as_rows(left, unfinished.backfills(self.connection))
        meant = target.migrations(alone=self.options["only"])
        return chosen.with_needs(rows, [row.number for row in rows if row.key in meant]) if label else rows

    def _refuse_what_makes_no_sense(self) -> None:
        given = [flag for name, flag in NOT_WITH.items() if self.options[name]]
        given += ["zero"] if self.options["migration_name"] == "zero" else []
        if given:
            raise CommandError(f"--contract applies and unapplies nothing, so {given[0]} has no meaning beside it.")
        if self.options["only"] and not self.options["migration_name"]:
            raise CommandError("--only is about one migration: write its app and its name, too.")

    def _refuse_unapplied(self, executor: MigrationExecutor, target: chosen.Target) -> None:
        plan = executor.migration_plan(target.nodes) if target.nodes else []
        unapplied = [f"{migration.app_label}.{migration.name}" for migration, backwards in plan if not backwards]
        if unapplied:
            apply = to_type("migrate", self.connection.alias)
            raise NotNow(
                f"Migrations of this code aren't applied: {listed(unapplied)}. The contract applies nothing, and is for"
                f" a release that has been rolled out. Type: {apply}\nThen roll out, and come back with this command."
            )

    # What is said.

    def _say(self, text: str) -> None:
        if self.options["verbosity"] and text:
            self.command.stdout.write(text)

    def _headline(self, rows: Sequence[Row]) -> str:
        many = "1 row of the contract is" if len(rows) == 1 else f"{len(rows)} rows of the contract are"
        return f"{many} open on {self._where()} (role {self._value('SELECT current_user')})."

    def _where(self) -> str:
        """Host and name, and never a password."""
        host = str(self.connection.settings_dict["HOST"] or self._value("SELECT host(inet_server_addr())") or "")
        name = self._value("SELECT current_database()")
        return f"{name} at {host}" if host and not host.startswith("/") else f"{name} on this machine"

    def _value(self, query: str) -> Any:
        with self.connection.cursor() as cursor:
            cursor.execute(query)
            return cursor.fetchone()[0]

    def _refusing(self, judgement: Judgement) -> Refusing:
        return Refusing(self.connection, self.contracts, judgement)

    def _say_who_else(self, judgement: Judgement) -> None:
        refusing, verdict = self._refusing(judgement), judgement.verdict
        if verdict.unjudged:
            why = "" if judgement.others.any_is_known else ", as no other release has been noted here yet"
            self._say(f"Sessions whose release isn't known{why}:\n{refusing.sessions(verdict.unjudged)}")
        if verdict.forced:
            self._say(self.command.style.WARNING(f"Forced, in spite of:\n{refusing.text(verdict.forced)}"))

    def _say_what_goes(self, runs: Sequence[Contract]) -> None:
        for loss in losses(self.connection, [contract.steps for contract in runs]):
            self._say(f"Goes for good: {loss}")

    def _tell_refused(self, judgement: Judgement, report: Report) -> None:
        for wait in judgement.verdict.waits:
            if wait.why.is_the_gate:
                row, sessions = self.contracts[wait.row.number], [session.as_dict() for session in wait.sessions]
                report.tell(ContractRefused(**row.told, why=wait.why.value, sessions=sessions, releases=wait.marks))

    def _say_what_waits(self, judgement: Judgement) -> None:
        verdict = judgement.verdict
        if verdict.says_no:
            force = " --force goes past it." if any(wait.why.can_be_forced for wait in verdict.waits) else ""
            raise NotNow(f"the gate holds rows back.\n{self._refusing(judgement).text(verdict.waits)}\n{AGAIN}{force}")
        if verdict.waits:
            self._say(self._refusing(judgement).text(verdict.waits))

    # What is done.

    def _contract(self, judgement: Judgement, report: Report) -> None:
        runs = [self.contracts[row.number] for row in judgement.verdict.runs]
        self._require()
        if refusals := self._lost_by(runs):
            raise StepFailed("\n".join(refusals))
        self._say_what_goes(runs)
        if self.options["interactive"] and sys.stdin.isatty():  # elsewhere nobody could answer
            carrying_out.foresee(self.connection, report, runs)
            self._ask(runs)
        for wait in judgement.verdict.forced:
            acts.keep(self.connection, self.contracts[wait.row.number], "force", because=wait.why.value)
        if self.options["verbosity"]:
            ahead = Ahead.of(step for contract in runs for step in contract.steps)
            warning.warn(self.command, self.connection, ahead, ask=" --contract")
        self._say(self.command.style.MIGRATE_HEADING("Running the contract:"))
        carrying_out.contract(self.connection, report, runs)

    def _lost_by(self, runs: Sequence[Contract]) -> list[str]:
        """What keeps these from running: columns that somebody has dropped."""
        numbers = {contract.pk for contract in runs}
        return list(refuse_lost(one for one in self.lost if one.number in numbers))

    def _verify(self, rows: Sequence[Row]) -> None:
        steps = [step for row in rows for step in self.contracts[row.number].steps]
        verbosity = self.options["verbosity"]
        verifying.verify(self.command, self.connection, verbosity, lambda: by_steps(self.connection, steps))

    def _require(self) -> None:
        refused = refusal(self.connection)
        if refused and self.options["force"]:
            self._say(self.command.style.WARNING(f"Forced, although CONTRACT_REQUIRES says no: {refused}"))
        elif refused:
            raise NotNow(f"CONTRACT_REQUIRES says no: {refused}\n{AGAIN} --force goes past it.")

    def _ask(self, runs: Sequence[Contract]) -> None:
        for contract in runs:
            self._say(f"  {contract}")
        if input("Run it? [y/N] ").strip().lower() not in ("y", "yes"):
            raise CommandError("Nothing was changed.")
