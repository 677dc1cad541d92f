"""Commands that end with a sentence instead of a traceback.

So they do where Django says why it can't go on, the server refuses, the connection is lost, or somebody presses Ctrl-C.
Everything that they do can be gone on with. They have no color where NO_COLOR says so (https://no-color.org).
"""

from __future__ import annotations

import os
import sys
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import Error, connections

from safemigrations.checking.in_words import in_words
from safemigrations.hooks.one_command import kept
from safemigrations.running.denied import denied_in_words
from safemigrations.running.lost import led_to, lost_in_words
from safemigrations.running.settings import READABLE, settled

STATUS = 130  # of a process that SIGINT ended, as shells count


class Interrupted(CommandError):
    """Somebody pressed Ctrl-C."""


class Interruptible(BaseCommand):
    """Goes in front of the command's class. Nothing changes for who calls a command from Python."""

    _called_from_command_line: bool

    def execute(self, *args: Any, **options: Any) -> Any:
        if os.environ.get("NO_COLOR") and not options.get("force_color"):
            options["no_color"] = True
        try:
            with kept(self), in_words(), denied_in_words(), lost_in_words(), readable(options.get("database")):
                return super().execute(*args, **options)
        except Interrupted:
            raise  # the command has said what is left
        except (KeyboardInterrupt, CommandError, Error) as error:
            if not self._called_from_command_line or not is_interrupted(error):
                raise
            if not options["verbosity"]:
                sys.exit(STATUS)
            raise Interrupted("what is done stays. Run the same command again to go on.", returncode=STATUS) from error


def readable(alias: object) -> AbstractContextManager[None]:
    """Dates of the session can be read, whatever its role or its database sets."""
    if not isinstance(alias, str) or connections[alias].vendor != "postgresql":
        return nullcontext()
    return settled(connections[alias], READABLE)


def is_interrupted(error: BaseException) -> bool:
    """Ctrl-C may leave a connection on which the next statement fails, such as one that would have cleaned up."""
    return any(isinstance(each, KeyboardInterrupt) for each in led_to(error))
