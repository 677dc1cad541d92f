"""The last line of a terminal: what is under way. It is written over until something else is said."""

from __future__ import annotations

import shutil
from collections.abc import Callable

from django.core.management.base import OutputWrapper

from ...data import Data

BAR = 30  # characters
LABEL = 12  # characters that the rest leaves to the label
NARROWEST = 4  # a bar of fewer characters is left out


class Moment(Data):
    """The work under way: what to say about it, and its progress from 0 to 1, if known."""

    label: str
    say: Callable[[], str]
    fraction: float | None = None


class LastLine:
    """The last line of a terminal; it is redrawn when something happens, and by no timer."""

    moves = False  # does what is drawn change by itself?

    def __init__(self, stdout: OutputWrapper, indent: int) -> None:
        self.stdout, self.indent = stdout, indent

    def draw(self, moment: Moment) -> None:
        shown = drawn(moment, self.indent, shutil.get_terminal_size().columns)
        self.stdout.write(f"\r\033[K{shown}", ending="")
        self.stdout.flush()

    def erase(self) -> None:
        self.stdout.write("\r\033[K", ending="")

    def leave(self) -> None:
        """Keep the line, and begin a new one."""
        self.stdout.write("")


class Drawn(Data):
    """The parts of a line, from left to right."""

    indent: str
    label: str
    done: str  # of a bar
    left: str
    text: str

    def __str__(self) -> str:
        bar = f"{self.done}{self.left} " if self.left or self.done else ""
        return f"{self.indent}{self.label} {bar}{self.text}"


def drawn(moment: Moment, indent: int, columns: int) -> Drawn:
    """The line, cut to the width of the terminal: a wrapped line couldn't be overwritten."""
    text = moment.say()
    room = max(0, columns - 1 - indent - len(text) - 2)
    done, left = _bar(moment.fraction, min(BAR, room - min(len(moment.label), max(LABEL, room * 2 // 3))))
    label = _shortened(moment.label, max(LABEL, room - len(done + left)))
    at = indent + len(label) + 1 + (len(done + left) + 1 if done or left else 0)
    return Drawn(" " * indent, label, done, left, _shortened(text, columns - 1 - at))


def _bar(fraction: float | None, width: int) -> tuple[str, str]:
    if fraction is None or width < NARROWEST:
        return "", ""
    done = round(fraction * width)
    return "█" * done, "░" * (width - done)


def _shortened(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: max(0, width - 1)]}…"
