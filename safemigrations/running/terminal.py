"""The output: a terminal, whose last line can be overwritten, or something that keeps every line."""

from __future__ import annotations

import os

from django.core.management.base import OutputWrapper

from .last_line import LastLine


def last_line(stdout: OutputWrapper, indent: int, *, colored: bool) -> LastLine | None:
    """None if a line can't be overwritten, or if its copies would fill a log, as in a pipe and in CI."""
    if not stdout.isatty() or os.environ.get("TERM") == "dumb" or _is_ci():
        return None
    try:
        from .rich_line import RichLine  # rich takes 50 ms, and `check` loads what reports
    except ImportError:
        return LastLine(stdout, indent)
    return RichLine(stdout, indent, colored=colored)


def _is_ci() -> bool:
    """GitHub, GitLab and most others set the variable; some give their jobs a terminal."""
    return os.environ.get("CI", "").lower() not in ("", "0", "false")
