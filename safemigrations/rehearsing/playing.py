"""One database, clients of both releases, and what they do in a phase."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from typing import Any

from .changes import Changes
from .processes import Client, Processes
from .requests import Failure
from .result import Phase, series_of
from .scratch import Names, Scratch
from .verdict import Verdict

EXCHANGED = 20  # rows of each model that one release shows the other


class Stage:
    """What all plays share."""

    def __init__(
        self,
        scratch: Scratch,
        old: Processes,
        new: Processes,
        changes: Changes,
        plan: dict[str, Any],
        clients: int,
        tell: Callable[[Phase], None],
    ) -> None:
        self.scratch, self.old, self.new, self.changes, self.plan = scratch, old, new, changes, plan
        self.clients, self.tell, self.began = clients, tell, time.time()
        self.verdict = Verdict(changes)
        self.phases: list[Phase] = []
        self.started = 0


class Play:
    """A stage with a database of its own; its clients end when the stack is closed. `plan` says what they ask."""

    def __init__(self, stage: Stage, names: Names, stack: ExitStack, plan: dict[str, Any] | None = None) -> None:
        self.stage, self.names, self.stack, self.plan = stage, names, stack, plan or stage.plan
        self.old: list[Client] = []
        self.new: list[Client] = []
        self.phase: Phase | None = None
        self.is_empty = False  # were the rows taken away that were there before?
        stack.callback(self.end)

    # Who is there.

    def start_old(self) -> None:
        self.old = self._start(self.stage.old, [{}, {}])

    def start_new(self) -> None:
        changes = self.stage.changes
        self.new = self._start(self.stage.new, [changes.model_names, changes.column_names])

    def stop_old(self) -> None:
        self.old = self._stop(self.old)

    def _start(self, processes: Processes, known_as: list[dict[str, str]]) -> list[Client]:
        clients = [processes.client() for _ in range(self.stage.clients)]
        for client in clients:
            self.stack.callback(client.stop)
            self.stage.started += 1
            alias, number = self.stage.scratch.alias, self.stage.started
            client.call("prepare", self.names, alias, client.release.name, number, known_as, self.plan)
        return clients

    def _stop(self, clients: list[Client]) -> list[Client]:
        for client in clients:
            client.call("leave")
            client.stop()
        return []

    # What goes on.

    def begin(self, name: str) -> None:
        """A phase, until the next one begins."""
        self.end()
        self.phase = Phase(name, round(time.time() - self.stage.began, 1))
        self.stage.phases.append(self.phase)

    def end(self) -> None:
        if self.phase:
            self.stage.tell(self.phase)
        self.phase = None

    def go_on(self, seconds: float, action: Callable[[], Any] | None = None) -> Any:
        """Send requests as long as the action takes, and for this many seconds at least."""
        began, clients = time.time(), [*self.old, *self.new]
        for client in clients:
            client.send("play", began, "go_on")
        try:
            ended = action() if action else None
            time.sleep(max(0.0, began + seconds - time.time()))
        finally:
            for client in clients:
                client.send("pause")
        for client in clients:
            self._note(began, client.answer())
            client.answer()
        return ended

    def ask(self, client: Client, method: str, *arguments: Any) -> Any:
        """The answer to a method of its traffic."""
        began = time.time()
        answer = client.call("play", began, method, *arguments)
        self._note(began, answer)
        return answer["returned"]

    def _note(self, began: float, answer: dict[str, Any]) -> None:
        assert self.phase
        phase, since = self.phase, round(began - self.stage.began, 1)
        phase.seconds = time.time() - self.stage.began - phase.began
        series = series_of(since, answer["buckets"])
        phase.add(series)
        phase.requests += sum(requests for _, requests, _, _ in series)
        wait, *where = answer["longest"]
        if wait > phase.worst_wait:
            phase.worst_wait, phase.waited = wait, (answer["release"], *where)
        self.stage.verdict.note(phase, [Failure(**{**failure, "began": since}) for failure in answer["failures"]])

    def measure(self) -> None:
        """Send each request at least once, however long that takes.

        What fails while a release is alone is its own fault.
        """
        for client in (*self.old, *self.new):
            self.ask(client, "round")
        self.exchange()
        self.ask((*self.old, *self.new)[0], "find_nulls")

    # What one release does with the rows of the other.

    def exchange(self) -> None:
        """Each release reads and changes what the other wrote, and deletes its parents."""
        for one, other in self._pairs():
            show(self.ask, one, other, EXCHANGED)
        for one, other in self._pairs():
            families = [family for family in self.ask(one, "families") if family[0] not in self.stage.changes.made]
            self.ask(one, "read_children", self.ask(other, "delete_parents_of", families))

    def _pairs(self) -> Iterable[tuple[Client, Client]]:
        """The pairs of releases; a release that is alone meets itself."""
        old, new = (self.old or self.new)[0], (self.new or self.old)[0]
        return ((old, new), (new, old))

    def written(self, clients: Iterable[Client]) -> list[Any]:
        return [self.ask(client, "latest", EXCHANGED) for client in clients]

    def audit(self, clients: list[Client], ledgers: Iterable[Any]) -> None:
        for ledger in ledgers:
            self.ask(clients[0], "audit", ledger)


def show(ask: Callable[..., Any], one: Client, other: Client, each: int) -> None:
    """The other reads the latest rows that one wrote, so many of each model, and changes them; then one reads them."""
    written = ask(one, "latest", each)
    ask(other, "audit", written)
    ask(one, "update_ledger", ask(other, "touch", written))
    ask(one, "audit", ask(one, "latest", each))
