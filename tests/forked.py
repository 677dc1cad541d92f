"""Processes that are forked from a clean one, which has imported everything and connected to nothing."""

from __future__ import annotations

import multiprocessing
import os
import re
import signal
import socket
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import django
from django.apps import apps

if not apps.ready:
    django.setup()  # in the clean process

from django.db import DEFAULT_DB_ALIAS, connection, connections
from django.db.migrations.operations import RenameField
from django.db.migrations.state import ProjectState

from safemigrations.rehearsing import processes, rows, worker
from safemigrations.rehearsing.changes import Changes, unique_relations
from safemigrations.rehearsing.ledger import Ledger
from safemigrations.rehearsing.parents import Family
from safemigrations.rehearsing.playing import Play, Stage
from safemigrations.rehearsing.result import Phase
from safemigrations.rehearsing.traffic import Traffic
from safemigrations.rehearsing.writing import KEPT

from .cases import CASES, LABEL, Case, base, ours, rendered_base, state_after
from .releases import installed, migrate, models_of
from .tried import tried

ASKS = re.compile(r"\s*(SELECT|SHOW)\b")

context: Any = multiprocessing.get_context("forkserver")
context.set_forkserver_preload([__name__])


# Servers of the release before or after a case, which rehearsing/ plays.


@contextmanager
def playing(case: Case) -> Iterator[Play]:
    """The two releases of a case on the database of a test."""
    before, after = rendered_base(), state_after([base(), *ours(case)])
    changes = _changes(case, before, after)
    near = sorted(_label(before, name) for name in neighbourhood(before, case.models) - case.models)
    plan = {
        "chosen": sorted(_label(before, name) for name in case.models),
        "visited": near,
        "filled": changes.filled,
        "unique": changes.unique,
        "seeds": rows.seeds(models_of(before), DEFAULT_DB_ALIAS),
    }
    old: Any = Servers(case.name, "old")
    new: Any = Servers(case.name, "new")
    scratch: Any = SimpleNamespace(alias=DEFAULT_DB_ALIAS)
    with ExitStack() as stack:
        yield Play(Stage(scratch, old, new, changes, plan, 1, _count), {}, stack)
    tried("rollouts")


def _count(phase: Phase) -> None:
    tried("requests of two releases", phase.requests)


def both_releases(play: Play, case: Case) -> Ledger:
    """Requests of both, and whatever either does with the other's rows; what the old release has written."""
    play.begin("both releases")
    play.go_on(0)
    play.exchange()
    play.ask(play.new[0], "find_nulls")
    assert list(_wrong(play, case.none_until_contract)) == []
    written: Ledger = play.ask(play.old[0], "latest", KEPT)
    return written


def contracted(play: Play, case: Case, contract: Callable[[], None], written: Ledger) -> None:
    """Requests of the new release meanwhile and afterwards, which reads what both have written."""
    play.stop_old()
    play.begin("contract")
    play.ask(play.new[0], "round")
    play.go_on(0, contract)
    play.ask(play.new[0], "round")
    play.begin("new alone, contracted")
    play.audit(play.new, [written])
    play.ask(play.new[0], "find_nulls")
    play.audit(play.new, [play.ask(play.new[0], "latest", KEPT)])
    assert list(_wrong(play, case.none_until_contract)) == []


def _wrong(play: Play, allowed: Collection[str]) -> Iterator[str]:
    """All that went wrong, but nulls that the new release may find before the contract, as the docs say."""
    may_be_null = {f"{LABEL}_{name.replace('.', ' ')}" for name in allowed}
    for phase, failure in play.stage.verdict.noted:
        is_null = " is null in " in failure.message and f"{failure.table} {failure.column}" in may_be_null
        if phase.name != "both releases" or not is_null:
            yield f"{phase.name}: {failure.release}: {failure.action} of {failure.model}: {failure.message}"
    yield from [*play.stage.verdict.repeated, *play.stage.verdict.own]


def _changes(case: Case, before: ProjectState, after: ProjectState) -> Changes:
    return Changes(
        migrations=[],
        touched=[],
        models=[],
        made=frozenset(),
        model_names=case.renamed,
        column_names=old_names(case, before, after),
        filled=sorted(_attribute(before, name) for name in case.nulls_are_filled if _has_field(before, name)),
        unique=[*unique_relations(before), *unique_relations(after)],
        targets={},
        reached=frozenset(model._meta.db_table for state in (before, after) for model in models_of(state)),
    )


def _label(state: ProjectState, name: str) -> str:
    """With its app, as the release before has it; no two apps have a model of one name."""
    return next((f"{app}.{model}" for app, model in state.models if model == name), f"{LABEL}.{name}")


def _has_field(state: ProjectState, field: str) -> bool:
    """Not what only the new release has."""
    model, _, name = field.partition(".")
    return name in state.models[LABEL, model].fields


def _attribute(state: ProjectState, field: str) -> str:
    """The column "shop.order.category_id" of the field "order.category"."""
    model, _, name = field.partition(".")
    return f"{LABEL}.{model}.{state.apps.get_model(LABEL, model)._meta.get_field(name).attname}"


def old_names(case: Case, before: ProjectState, after: ProjectState) -> dict[str, str]:
    """Column "shop.order.sum" of a renamed field -> the attribute of the release before."""
    names = {}
    for operation in case.operations:
        if isinstance(operation, RenameField):
            old = before.apps.get_model(LABEL, operation.model_name)._meta
            new = after.apps.get_model(LABEL, operation.model_name)._meta
            if operation.new_name in {field.name for field in new.fields}:
                attname = new.get_field(operation.new_name).attname
                names[f"{new.label_lower}.{attname}"] = old.get_field(operation.old_name).attname
    return names


def neighbourhood(state: ProjectState, names: set[str]) -> set[str]:
    """Models, what they point at, and what points at them."""
    found = set(names)
    for model in models_of(state):
        near = {parent._meta.model_name for parent in rows.parents(model)}
        near |= {field.remote_field.model._meta.model_name for field in model._meta.local_many_to_many}
        if model._meta.model_name in names:
            found |= near
        elif near & names:
            found.add(model._meta.model_name)
    return found


class Servers:
    """Processes with the models of one release of a case."""

    def __init__(self, case: str, name: str) -> None:
        self.case, self.name = case, name

    def serve(self, channel: socket.socket) -> None:
        """In a process, which makes the models."""
        (case,) = (case for case in CASES if case.name == self.case)
        state = state_after([base(), *(ours(case) if self.name == "new" else [])])
        _Server(channel, state, case.counterparts).serve()

    def client(self) -> processes.Client:
        ours, theirs = socket.socketpair()
        with theirs:
            arguments = (theirs, present_database(), self)
            context.Process(target=_serve, args=arguments, daemon=True).start()
        release: Any = self
        return processes.Client(ours, release)


class _Rows(rows.Rows):
    """By a relation of which only rows from before have a counterpart, they are related to those alone."""

    counterparts: frozenset[str] = frozenset()

    def _parent(self, field: Any) -> Any:
        if not self.are_counterparts(field):
            return super()._parent(field)
        seeds = self._seeds(field.remote_field.model)
        return seeds[next(self.numbers.count) % len(seeds)]

    def are_counterparts(self, field: Any) -> bool:
        return f"{field.model._meta.model_name}.{field.name}" in self.counterparts


class _Traffic(Traffic):
    """Of such a row nobody deletes the parent."""

    rows: _Rows

    def _family(self, model: Any, field: Any) -> Iterator[Family]:
        return iter(()) if self.rows.are_counterparts(field) else super()._family(model, field)


class _Server(worker.Client):
    """Its models are in no app: a state has them."""

    makes, asks = _Rows, _Traffic

    def __init__(self, channel: socket.socket, state: ProjectState, counterparts: frozenset[str]) -> None:
        super().__init__(channel)
        self.state, self.counterparts = state, counterparts

    def models(self, alias: str) -> list[Any]:
        return models_of(self.state)

    def prepare(self, *arguments: Any) -> None:
        super().prepare(*arguments)
        self.traffic.rows.counterparts = self.counterparts

    def use(self, names: dict[str, str], traffic: str, *arguments: Any) -> None:
        super().use(names, traffic, self.state, *arguments)


def _serve(channel: socket.socket, database: dict[str, Any], servers: Servers) -> None:
    use_database(database)
    with channel, suppress(EOFError, ConnectionError):
        servers.serve(channel)
    connections.close_all()


def present_database() -> dict[str, Any]:
    """What a process has to know to connect as this one does."""
    return {key: connection.settings_dict[key] for key in ("NAME", "HOST", "PORT", "USER", "PASSWORD", "OPTIONS")}


def use_database(settings: dict[str, Any]) -> None:
    connections.settings["default"].update(settings)


# A migrate that is killed.


def migrate_and_die(directory: Path, package: str, target: str, *, after: int) -> int:
    """The exit status of a process that kills itself after so many statements; 0 when it was through before.

    Those that only ask don't count: nothing differs after them.
    """
    arguments = (present_database(), directory, package, target, after)
    process = context.Process(target=_migrate_and_die, args=arguments)
    process.start()
    process.join()
    tried("processes killed", process.exitcode == -signal.SIGKILL)
    return int(process.exitcode)


def _migrate_and_die(database: dict[str, Any], directory: Path, package: str, target: str, after: int) -> None:
    use_database(database)
    count = 0

    def die(execute: Any, *args: Any) -> Any:
        nonlocal count
        result = execute(*args)
        count += not ASKS.match(args[0])
        if count > after:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    with installed(directory, package), connection.execute_wrapper(die):
        migrate(target)
