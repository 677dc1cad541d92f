"""What the demo prints."""

from __future__ import annotations

import difflib
from collections.abc import Callable

from rich.console import Console
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text

from testproject.demo.chart import chart
from testproject.demo.deploy import Course
from testproject.demo.measure import Figures, buckets, figures


class Screen:
    def __init__(self, console: Console) -> None:
        self.console = console

    def heading(self, text: str) -> None:
        self.console.print()
        self.console.rule(f"[bold]{text}")

    def say(self, text: str) -> None:
        self.console.print(text)

    def command(self, *arguments: str) -> None:
        self.console.print(Text(f"$ python manage.py {' '.join(arguments)}", "bold"))

    def output(self, line: str) -> None:
        self.console.print(Text(f"  {line}", "dim"))

    def event(self, at: float, text: str) -> None:
        """Print a line that belongs to a time of the deploy."""
        line = Table.grid(padding=(0, 2))
        line.add_column(width=7, justify="right", style="cyan")
        line.add_column(style="bold" if text.startswith("$") else "")
        line.add_row(f"{at:.1f} s", Text(text))
        self.console.print(line)

    def code(self, source: str) -> None:
        self._highlight(source.strip(), "python")

    def difference(self, before: str, after: str) -> None:
        lines = difflib.unified_diff(before.splitlines(), after.splitlines(), n=1, lineterm="")
        self._highlight("\n".join(list(lines)[2:]), "diff")  # without the two lines for file names

    def charts(self, courses: list[Course]) -> None:
        """Draw them with the same axes, so that one can compare them."""
        highest = max(answer.seconds for course in courses for answer in course.answers)
        most = max(1, *(errors for course in courses for errors in buckets(course.answers).errors))
        end = max(course.end for course in courses)
        for course in courses:
            drawn = chart(course, highest=highest, most=most, end=end, width=self.console.width)
            self.console.print(Text.from_ansi(drawn))

    def _highlight(self, source: str, language: str) -> None:
        code = Syntax(source, language, theme="ansi_dark", background_color="default", word_wrap=True)
        self.console.print(code)

    def table(self, courses: list[Course]) -> None:
        sides = {course.side: figures(course.answers) for course in courses}
        table = Table()
        table.add_column()
        for side in sides:
            table.add_column(side, justify="right")
        for label, show in ROWS.items():
            table.add_row(label, *(show(side) for side in sides.values()))
        table.add_row("releases", *(str(course.releases) for course in courses))
        table.add_row("lines of migrations by hand", *(str(course.by_hand) for course in courses))
        for kind in sorted({kind for side in sides.values() for kind in side.errors}):
            counts = [f"{side.errors[kind]:,}" for side in sides.values()]
            table.add_row(Text(f"  {kind}"), *counts, style="red")
        self.console.print(table)


def _duration(seconds: float) -> str:
    return f"{seconds:,.2f} s" if seconds >= 1 else f"{seconds * 1000:,.1f} ms"


ROWS: dict[str, Callable[[Figures], str]] = {
    "requests": lambda figures: f"{figures.requests:,}",
    "median wait": lambda figures: _duration(figures.median),
    "99 % waited at most": lambda figures: _duration(figures.p99),
    "worst wait": lambda figures: _duration(figures.worst),
    "longest time without a success": lambda figures: _duration(figures.gap),
    "errors": lambda figures: f"[{'red' if figures.errors else 'green'}]{figures.errors.total():,}",
}
