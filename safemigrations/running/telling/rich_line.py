"""The last line as rich draws it: in color, and moving while nothing happens."""

from __future__ import annotations

from typing import Any, cast

from django.core.management.base import OutputWrapper
from rich.console import Console
from rich.live import Live
from rich.spinner import Spinner
from rich.text import Text

from .last_line import LastLine, Moment, drawn

A_SECOND = 4  # times that it is drawn


class RichLine(LastLine):
    """What others print meanwhile, such as a function of a migration, stands above it."""

    moves = True

    def __init__(self, stdout: OutputWrapper, indent: int, *, colored: bool) -> None:
        super().__init__(stdout, indent)
        self.console = Console(file=cast(Any, stdout)._out, no_color=not colored, highlight=False)
        self.moment = Moment("", str)
        self.spinner = Spinner("dots")
        self.live = Live(console=self.console, refresh_per_second=A_SECOND, transient=True, get_renderable=self._text)

    def draw(self, moment: Moment) -> None:
        """Soon, and again and again: what lasts less than a quarter of a second is never seen."""
        self.moment = moment
        self.live.start()

    def erase(self) -> None:
        self.live.stop()

    def leave(self) -> None:
        self.live.transient = False
        self.live.stop()
        self.live.transient = True

    def _text(self) -> Text:
        found = drawn(self.moment, self.indent, self.console.width)
        text = Text(no_wrap=True).append(found.indent[2:])
        text.append_text(cast(Text, self.spinner.render(self.console.get_time()))).append(f" {found.label} ")
        if found.done or found.left:
            text.append(found.done, "green").append(found.left, "dim").append(" ")
        return text.append(found.text)
