"""A command of this release in which every operation of ours is the stock operation that it replaces.

python -m safemigrations.rehearsing.stock migrate …
"""

from __future__ import annotations

import sys
from typing import Any

import django
from django.core.management import execute_from_command_line

from ..operations.base import Change


def use_stock_operations() -> None:
    def forwards(self: Change, *args: Any) -> None:
        self.stock.database_forwards(*args)

    Change.database_forwards = forwards  # type: ignore[method-assign, assignment]


if __name__ == "__main__":
    django.setup()
    use_stock_operations()
    execute_from_command_line(["django", *sys.argv[1:]])
