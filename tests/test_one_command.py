"""Before and after a command nothing is looked through for garbage, where the command is the whole process."""

from __future__ import annotations

import gc
from unittest.mock import Mock

import pytest
from django.core.management import call_command
from django.core.management.commands import check, makemigrations

from safemigrations.hooks import one_command
from safemigrations.management.interruptible import Interruptible


class Own(Interruptible):
    requires_system_checks = ()

    def handle(self, *args, **options): ...


@pytest.fixture
def freeze(monkeypatch):
    monkeypatch.setattr(gc, "freeze", Mock())
    return gc.freeze


pytestmark = pytest.mark.usefixtures("database")  # makemigrations asks it
COMMANDS = [(check.Command, []), (makemigrations.Command, ["--dry-run", "contenttypes"]), (Own, [])]


@pytest.mark.parametrize(("command", "arguments"), COMMANDS)
def test_it_stays_where_manage_py_was_called(freeze, command, arguments):
    one_command.install()  # once is enough
    command().run_from_argv(["manage.py", "command", *arguments, "--verbosity", "0"])
    assert freeze.call_count == 2


@pytest.mark.parametrize(("command", "arguments"), COMMANDS)
def test_what_a_call_leaves_is_collected(freeze, command, arguments):
    call_command(command(), *arguments, verbosity=0)
    freeze.assert_not_called()
