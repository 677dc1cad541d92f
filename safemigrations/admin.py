"""What Django's admin finds."""

from __future__ import annotations

from .console.pages import backfills, decisions, queue, releases

__all__ = ["backfills", "decisions", "queue", "releases"]
