"""A command that kills itself after so many statements, as a pod does that is evicted.

python -m safemigrations.rehearsing.killed 12 migrate …
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

import django
from django.core.management import execute_from_command_line
from django.db import connections


def kill_after(count: int) -> None:
    left = count

    def counted(execute: Any, *args: Any) -> Any:
        nonlocal left
        result = execute(*args)
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    for connection in connections.all():
        connection.execute_wrappers.append(counted)


if __name__ == "__main__":
    django.setup()
    kill_after(int(sys.argv[1]))
    execute_from_command_line(["django", *sys.argv[2:]])
