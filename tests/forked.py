"""Processes that are forked from a clean one, which has imported everything and connected to nothing."""

from __future__ import annotations

import multiprocessing
import os
import signal
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import django
from django.apps import apps

if not apps.ready:
    django.setup()  # in the clean process

from django.db import connection, connections
from django.db.migrations.operations import RenameField

from .cases import CASES, LABEL, Case, base, ours, state_after
from .releases import Values, installed, migrate
from .traffic import Traffic, neighbourhood

context: Any = multiprocessing.get_context("forkserver")
context.set_forkserver_preload([__name__])


class _Failed(AssertionError):
    """What went wrong in a process, apart from its requests."""


class Server:
    """A process with the models of one release, the one before or the one after a case."""

    def __init__(self, case: str, release: str) -> None:
        self.pipe, theirs = context.Pipe()
        arguments = (theirs, present_database(), case, release)
        self.process = context.Process(target=_serve, args=arguments)
        self.process.start()
        theirs.close()

    def call(self, method: str, *args: Any) -> Any:
        """The answer to Traffic's method of this name."""
        self.send(method, *args)
        return self.answer()

    def send(self, method: str, *args: Any) -> None:
        self.pipe.send((method, args))

    def answer(self) -> Any:
        failed, result = self.pipe.recv()
        if failed:
            raise _Failed(result)
        return result

    @contextmanager
    def going_on(self) -> Iterator[None]:
        """Requests all the while."""
        self.send("go_on")
        try:
            yield
        finally:
            self.send("rounds", 0)
            self.answer()
            self.answer()

    def stop(self) -> None:
        self.pipe.close()
        self.process.join()


def _serve(pipe: Any, database: dict[str, Any], name: str, release: str) -> None:
    use_database(database)
    (case,) = (case for case in CASES if case.name == name)
    before, start = state_after([base()]), 1_000_000
    state, near = before, neighbourhood(before, case.models)
    if release == "new":
        state, start = state_after([base(), *ours(case)]), 2_000_000
    names = old_names(case, before, state)
    values = Values(release, start)
    traffic = Traffic(
        state,
        case.models,
        near,
        values,
        pipe.poll,
        names,
        case.nulls_are_filled,
        case.renamed,
        compared_as=case.compared_as,
    )
    while True:
        try:
            method, args = pipe.recv()
        except EOFError:
            break
        try:
            pipe.send((False, getattr(traffic, method)(*args)))
        except Exception:
            pipe.send((True, traceback.format_exc()))
    connections.close_all()


def old_names(case: Case, before: Any, after: Any) -> dict[tuple[str, Any], str]:
    """(model, attribute) of a renamed field -> the attribute of the release before."""
    names = {}
    for operation in case.operations:
        if isinstance(operation, RenameField):
            old = before.apps.get_model(LABEL, operation.model_name)._meta
            new = after.apps.get_model(LABEL, operation.model_name)._meta
            if operation.new_name in {field.name for field in new.fields}:
                attname = new.get_field(operation.new_name).attname
                names[new.model_name, attname] = old.get_field(operation.old_name).attname
    return names


def present_database() -> dict[str, Any]:
    """What a process has to know to connect as this one does."""
    return {key: connection.settings_dict[key] for key in ("NAME", "HOST", "PORT", "USER", "PASSWORD", "OPTIONS")}


def use_database(settings: dict[str, Any]) -> None:
    connections.settings["default"].update(settings)


def migrate_and_die(directory: Path, package: str, target: str, *, after: int) -> int:
    """The exit status of a process that kills itself after so many statements; 0 when it was through before."""
    arguments = (present_database(), directory, package, target, after)
    process = context.Process(target=_migrate_and_die, args=arguments)
    process.start()
    process.join()
    return int(process.exitcode)


def _migrate_and_die(database: dict[str, Any], directory: Path, package: str, target: str, after: int) -> None:
    use_database(database)
    count = 0

    def die(execute: Any, *args: Any) -> Any:
        nonlocal count
        result = execute(*args)
        count += 1
        if count > after:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    with installed(directory, package), connection.execute_wrapper(die):
        migrate(target)
