"""The output: a terminal, whose last line can be overwritten, or something that keeps every line."""

from __future__ import annotations

import os
import sys

from django.core.management.base import OutputWrapper

from .last_line import LastLine

HAS_RICH = sys.stdout is not None and sys.stdout.isatty()
if HAS_RICH:  # on a terminal alone: it takes 18 ms, and in a pipe nobody sees what it draws
    try:
        from .rich_line import RichLine
    except ImportError:
        HAS_RICH = False


def last_line(stdout: OutputWrapper, indent: int, *, colored: bool) -> LastLine | None:
    """None if a line can't be overwritten, or if its copies would fill a log, as in a pipe and in CI."""
    if not stdout.isatty() or os.environ.get("TERM") == "dumb" or _is_ci():
        return None
    return RichLine(stdout, indent, colored=colored) if HAS_RICH else LastLine(stdout, indent)


def _is_ci() -> bool:
    """GitHub, GitLab and most others set the variable; some give their jobs a terminal."""
    return os.environ.get("CI", "").lower() not in ("", "0", "false")
