"""What only a migrate needs that has something to do, loaded where it has: see at_work() of migrating.py."""

from __future__ import annotations

from safemigrations.management import back, catching_up, leaving, planning, verifying, warning
from safemigrations.management.contracting import Contracting
from safemigrations.management.targets import targets

__all__ = ["Contracting", "back", "catching_up", "leaving", "planning", "targets", "verifying", "warning"]
