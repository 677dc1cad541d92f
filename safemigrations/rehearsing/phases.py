"""The plays of a rehearsal: what happens to one database, and who uses it meanwhile."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

from .playing import Play, Stage
from .processes import Ended
from .requests import LOST
from .result import Finding
from .schemas import Schemas
from .verdict import AGAIN, NEW_ALONE, OLD_ALONE, QUIET

TIMES = 3  # that a release is asked again for what has failed
STOCK = "stock operations"
KEEPS_NULLS = ("can't be null in the release that you go back to", "is duplicated")


class Broke(Exception):
    """A command of the rollout failed; the rest of this play is left out."""

    def __init__(self, phase: str, ended: Ended) -> None:
        super().__init__(ended.output)
        self.phase, self.ended = phase, ended


class Plays:
    """All plays, one after the other."""

    def __init__(self, stage: Stage, seconds: float, kills: int) -> None:
        self.stage, self.seconds, self.kills = stage, seconds, kills
        self.findings: list[Finding] = []
        self.notes: dict[str, str] = {}  # topic -> what is said of it
        self.schemas = Schemas(stage)
        self.has_contract = True  # else what would come of it is left out

    def play(self) -> None:
        try:
            self._stock()
            self._rollout()
            self._back_before_contract()
            if self.has_contract:
                self._back_after_contract()
            if self.kills:
                self._killed()
        except Broke as broke:  # the others would come to the same
            self.findings.append(self.stage.verdict.of_broken(broke.phase, broke.ended.output))
        for release in QUIET:
            if suspected := self.stage.verdict.suspected(release):
                self._once_more(release, suspected)
        self.stage.verdict.withdraw()

    # The plays.

    def _stock(self) -> None:
        """Learn what Django's own operations make of the old release, and which requests of the new one work there."""
        self.schemas.learn_before()
        with self._stock_play() as play:
            if not play:
                return
            self.schemas.learn_after(play)
            play.begin(NEW_ALONE)
            play.start_new()
            if not play.is_empty and any(not one.model for one in self.stage.changes.touched):
                self._learn_what_is_meant(play)
            play.go_on(self.seconds / 2)
            play.measure()

    def _learn_what_is_meant(self, play: Play) -> None:
        """Learn which values SQL and functions change while nobody else is connected."""
        with self._play() as before:
            before.start_old()
            rows = before.old[0].call("play", time.time(), "learn")["returned"]
        known = set(self.stage.verdict.quiet)
        play.audit(play.new, [rows])
        lost = [reason for reason in self.stage.verdict.quiet - known if reason[1] == LOST]
        if columns := sorted({f"{table}.{column}" for _, _, table, column, _ in lost}):
            self.notes["meant"] = (
                f"The migrations themselves change values of {', '.join(columns)}, also where nobody else is there. "
                "So nothing is said of values that are lost there."
            )

    def _once_more(self, release: str, models: list[str]) -> None:
        """Repeat failed requests where nothing changes: those that fail there, too, are the project's own doing."""
        quiet = self._play if release == "old" else self._stock_play
        with quiet(self._plan_of(models)) as play:
            if not play:
                return
            play.begin(AGAIN[release])
            play.start_old() if release == "old" else play.start_new()
            for _ in range(TIMES):
                play.go_on(self.seconds)
                play.measure()
                self.stage.verdict.withdraw()
                if not self.stage.verdict.suspected(release):
                    return

    def _plan_of(self, models: list[str]) -> dict[str, Any]:
        """All requests on these models, too."""
        plan = self.stage.plan
        chosen = list(dict.fromkeys([*plan["chosen"], *models]))
        return {**plan, "chosen": chosen, "visited": [name for name in plan["visited"] if name not in chosen]}

    def _rollout(self) -> None:
        with self._play() as play:
            play.begin(OLD_ALONE)
            play.start_old()
            play.go_on(self.seconds)
            play.measure()
            play.begin("expand")
            self._run(play, "expand", "migrate")
            self.has_contract = self.schemas.is_left_something(play)
            self.schemas.verify(play, "expand")
            play.begin("both releases")
            play.start_new()
            play.ask(play.new[0], "find_nulls")  # in rows of the old release alone
            play.go_on(self.seconds)
            play.exchange()
            written = play.written([*play.old, *play.new])
            play.stop_old()
            if self.has_contract:
                play.begin("contract")
                self._run(play, "contract", "migrate", "--contract")
            play.begin("new alone")
            play.go_on(self.seconds)
            play.audit(play.new, written)
            play.ask(play.new[0], "find_nulls")
            self.schemas.look_at_the_end(play, "new alone")

    def _back_before_contract(self) -> None:
        with self._play() as play:
            self._command(play, "expand", "migrate")
            play.begin("back before the contract")
            play.start_old()
            self._back(play, "back before the contract")

    def _back_after_contract(self) -> None:
        with self._play() as play:
            self._command(play, "expand", "migrate")
            self._command(play, "contract", "migrate", "--contract")
            play.begin("back after the contract")
            self._back(play, "back after the contract")

    def _killed(self) -> None:
        with self._play() as play:
            phase = "expand, killed"
            play.begin(phase)
            play.start_old()
            play.go_on(0, lambda: self._kill(play, "expand, killed", "migrate"))
            play.stop_old()
            if self.has_contract:
                phase = "contract, killed"
                play.begin(phase)
                play.start_new()
                play.go_on(0, lambda: self._kill(play, "contract, killed", "migrate", "--contract"))
            self.schemas.look_at_the_end(play, phase)

    # Their acts.

    def _back(self, play: Play, phase: str) -> None:
        """Go back to the old release, app by app; then it goes on alone."""
        for label in reversed(self.stage.changes.apps):
            target = self.stage.changes.targets[label]
            ended = play.go_on(0, partial(self._manage, play, "migrate", label, target))
            assert ended
            if ended.status and ("Irreversible" in ended.output or any(text in ended.output for text in KEEPS_NULLS)):
                self.notes[phase] = f"{phase}: no way back. {_last_line(ended.output)}"
                return
            self._demand(phase, ended)
        if not play.old:
            play.start_old()
        play.go_on(self.seconds / 2)
        self.schemas.look_at_the_way_back(play, phase)

    def _run(self, play: Play, phase: str, *arguments: str) -> None:
        """Run the command while clients send requests."""
        ended = play.go_on(0, lambda: self._manage(play, *arguments))
        assert ended
        self._demand(phase, ended)

    def _command(self, play: Play, phase: str, *arguments: str, how: str = "") -> None:
        """Run the command while no client is connected."""
        self._demand(phase, self._manage(play, *arguments, how=how))

    def _kill(self, play: Play, phase: str, *arguments: str) -> Ended:
        """Kill the command after more and more statements, and then run it to its end."""
        for number in range(self.kills):
            self.stage.new.manage(play.names, *self._arguments(*arguments), kill_after=5 + 7 * number * number)
        ended = self._manage(play, *arguments)
        self._demand(phase, ended)
        return ended

    def _manage(self, play: Play, *arguments: str, how: str = "") -> Ended:
        return self.stage.new.manage(play.names, *self._arguments(*arguments), how=how)

    def _arguments(self, *arguments: str) -> list[str]:
        return [*arguments, "--noinput", "--no-color", "--database", self.stage.scratch.alias]

    def _demand(self, phase: str, ended: Ended) -> None:
        if ended.status:
            raise Broke(phase, ended)

    @contextmanager
    def _play(self, plan: dict[str, Any] | None = None) -> Iterator[Play]:
        names = self.stage.scratch.copy()
        try:
            with ExitStack() as stack:
                yield Play(self.stage, names, stack, plan)
        finally:
            self.stage.scratch.drop(names)

    @contextmanager
    def _stock_play(self, plan: dict[str, Any] | None = None) -> Iterator[Play | None]:
        """Migrated by Django's own operations, on empty tables where no row has what they need; None if they fail."""
        for is_empty in (False, True):
            with self._play(plan) as play:
                play.is_empty = is_empty
                if is_empty:
                    self.schemas.empty(play)
                ended = self._manage(play, "migrate", how="stock")
                if not ended.status:
                    yield play
                    return
        end = _last_line(ended.output)
        self.notes[STOCK] = f"Django's own operations fail on empty tables, so no schema is compared: {end}"
        yield None


def _last_line(output: str) -> str:
    return output.strip().rpartition("\n")[2]
