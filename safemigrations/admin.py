"""What Django's admin finds."""

from __future__ import annotations

from .console.pages import backfills, decisions, past_runs, queue, releases

__all__ = ["backfills", "decisions", "past_runs", "queue", "releases"]
