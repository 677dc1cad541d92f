"""What can go wrong, in words for the person at the terminal."""

from __future__ import annotations

from django.core.management.base import CommandError
from django.db import NotSupportedError


class StepFailed(CommandError):
    """A step could not be done; says what failed, what stays, and what to do."""


class NeedsAutocommit(StepFailed, NotSupportedError):
    """A step that can't be done inside a transaction met one."""


class LockNotAcquired(CommandError):
    """A table stayed locked for LOCK_RETRY_FOR seconds; nothing was changed, the command can be run again."""


class NotComputable(StepFailed, ValueError):
    """An expression that doesn't resolve on its model."""
