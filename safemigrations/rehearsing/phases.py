"""The plays of a rehearsal: what happens to one database, and who uses it meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial

from ..postgres.snapshot import Snapshot, difference, nameless, snapshot
from .playing import Play, Stage
from .processes import Ended
from .result import Finding
from .scratch import Names

KEEPS_NULLS = ("can't be null in the release that you go back to", "is duplicated")


class Broke(Exception):
    """A command of the rollout failed; nothing that would come after it in this play is played."""

    def __init__(self, phase: str, ended: Ended) -> None:
        super().__init__(ended.output)
        self.phase, self.ended = phase, ended


class Plays:
    """All plays, one after the other."""

    def __init__(self, stage: Stage, seconds: float, kills: int) -> None:
        self.stage, self.seconds, self.kills = stage, seconds, kills
        self.findings: list[Finding] = []
        self.notes: list[str] = []
        self.before: Snapshot = {}
        self.after: Snapshot = {}

    def play(self) -> None:
        plays = [self._stock, self._rollout, self._back_before_contract, self._back_after_contract]
        for play in [*plays, *([self._killed] if self.kills else [])]:
            try:
                play()
            except Broke as broke:
                self.findings.append(self.stage.verdict.of_broken(broke.phase, broke.ended.output))
                return  # the others would come to the same

    # The plays.

    def _stock(self) -> None:
        """What Django's own operations make of the old release, and what the new one's requests do there."""
        with self._play() as play:
            self.before = self._schema(play)
            self._empty(play)
            ended = self._manage(play, "migrate", how="stock")
            if ended.status:
                end = _last_line(ended.output)
                self.notes.append(f"Django's own operations fail on empty tables, so no schema is compared: {end}")
                return
            self.after = self._schema(play)
            play.begin("new on the schema of stock operations")
            play.start_new()
            play.go_on(self.seconds / 2)
            play.measure()

    def _rollout(self) -> None:
        with self._play() as play:
            play.begin("old alone")
            play.start_old()
            play.go_on(self.seconds)
            play.measure()
            play.begin("expand")
            self._run(play, "expand", "migrate")
            play.begin("both releases")
            play.start_new()
            play.ask(play.new[0], "find_nulls")  # in rows of the old release alone
            play.go_on(self.seconds)
            play.exchange()
            written = play.written([*play.old, *play.new])
            play.stop_old()
            play.begin("contract")
            self._run(play, "contract", "migrate", "--contract")
            play.begin("new alone")
            play.go_on(self.seconds)
            play.audit(play.new, written)
            play.ask(play.new[0], "find_nulls")
            self._compare("new alone", "that of Django's operations", self.after, self._schema(play))

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
            play.begin("expand, killed")
            play.start_old()
            play.go_on(0, lambda: self._kill(play, "expand, killed", "migrate"))
            play.stop_old()
            play.begin("contract, killed")
            play.start_new()
            play.go_on(0, lambda: self._kill(play, "contract, killed", "migrate", "--contract"))
            self._compare("contract, killed", "that of Django's operations", self.after, self._schema(play))

    # Their acts.

    def _back(self, play: Play, phase: str) -> None:
        """To the old release, app by app; then it goes on alone."""
        for label in reversed(self.stage.changes.apps):
            target = self.stage.changes.targets[label]
            ended = play.go_on(0, partial(self._manage, play, "migrate", label, target))
            assert ended
            if ended.status and ("Irreversible" in ended.output or any(text in ended.output for text in KEEPS_NULLS)):
                self.notes.append(f"{phase}: no way back. {_last_line(ended.output)}")
                return
            self._demand(phase, ended)
        if not play.old:
            play.start_old()
        play.go_on(self.seconds / 2)
        self._compare(phase, "that of the old release", nameless(self.before), nameless(self._schema(play)))

    def _run(self, play: Play, phase: str, *arguments: str) -> None:
        """Under the requests of who is there."""
        ended = play.go_on(0, lambda: self._manage(play, *arguments))
        assert ended
        self._demand(phase, ended)

    def _command(self, play: Play, phase: str, *arguments: str, how: str = "") -> None:
        """While nobody is there."""
        self._demand(phase, self._manage(play, *arguments, how=how))

    def _kill(self, play: Play, phase: str, *arguments: str) -> Ended:
        """After more and more statements, and then run to the end."""
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
    def _play(self) -> Iterator[Play]:
        names = self.stage.scratch.copy()
        try:
            with ExitStack() as stack:
                yield Play(self.stage, names, stack)
        finally:
            self.stage.scratch.drop(names)

    # Schemas.

    def _schema(self, play: Play) -> Snapshot:
        connection = self.stage.scratch.connect(play.names)
        try:
            return snapshot(connection)
        finally:
            connection.close()

    def _compare(self, phase: str, expected: str, there: Snapshot, here: Snapshot) -> None:
        if there and (objects := difference(there, here)):
            self.findings += self.stage.verdict.of_differences(phase, expected, objects)

    def _empty(self, play: Play) -> None:
        """Stock operations may need what no row has; of the rows nothing is compared."""
        names: Names = play.names
        connection = self.stage.scratch.connect(names)
        try:
            tables = [name for name, (kind, *_) in self.before["tables"].items() if kind in "rp"]
            with connection.cursor() as cursor:
                cursor.execute(f"TRUNCATE {', '.join(tables)} CASCADE")
        finally:
            connection.close()


def _last_line(output: str) -> str:
    return output.strip().rpartition("\n")[2]
