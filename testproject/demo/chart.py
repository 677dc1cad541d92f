"""The course of a deploy as two charts for the terminal: waits, and below them errors on a scale of their own."""

from __future__ import annotations

import plotext

from testproject.demo.deploy import Course
from testproject.demo.measure import BUCKET, buckets

TALL, SHORT = 14, 9
MARGIN = 5  # characters of a label beside the axis, so that both charts begin in the same column


def chart(course: Course, *, highest: float, most: int, end: float, width: int) -> str:
    """Draw the waits in blue and the errors in red; phases are named where they begin."""
    data = buckets(course.answers)
    moments = {phase.start: phase.name for phase in course.phases if phase.name != "report"}
    waits = _drawn(
        f"{course.side}: worst wait in seconds", data.times, data.worst, "blue+", TALL, highest, end, width, moments
    )
    if not any(data.errors):
        return waits
    title = f"{course.side}: errors of {BUCKET} s"
    return waits + _drawn(title, data.times, [*map(float, data.errors)], "red+", SHORT, most, end, width, moments)


def _drawn(
    title: str,
    times: list[float],
    values: list[float],
    color: str,
    height: int,
    highest: float,
    end: float,
    width: int,
    moments: dict[float, str],
) -> str:
    plotext.terminal.limit(False, False)
    figure = plotext.figure
    figure.clear()
    figure.theme("colorless")
    figure.plot_size(width, height)
    figure.title(title)
    figure.ruler("y").lim(0, highest)
    figure.ruler("y").ticks([0, highest], [f"{value:{MARGIN}.1f}" for value in (0, highest)])
    figure.ruler("x").lim(0, end)
    figure.ruler("x", "upper").lim(0, end)
    figure.ruler("x", "upper").ticks(list(moments), list(moments.values()))
    figure.draw(figure.signal(times, values, marker=plotext.marker("hd", color)).fillx())
    for start in moments:
        figure.line(start, orientation="v", pixel=plotext.pixel("orange+"))
    return str(figure.build().string())
