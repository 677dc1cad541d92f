"""The course of a deploy as a chart for the terminal."""

from __future__ import annotations

import plotext

from testproject.demo.deploy import Course
from testproject.demo.measure import buckets

HEIGHT = 14


def chart(course: Course, *, highest: float, end: float, width: int) -> str:
    """Draw the waits in blue, above them in red when requests failed; phases are named where they begin."""
    data = buckets(course.answers)
    failed = [time for time, errors in zip(data.times, data.errors, strict=True) if errors]
    moments = {phase.start: phase.name for phase in course.phases if phase.name != "report"}
    plotext.terminal.limit(False, False)
    figure = plotext.figure
    figure.clear()
    figure.theme("colorless")
    figure.plot_size(width, HEIGHT)
    figure.title(f"{course.side}: worst wait, and errors (red)")
    figure.label("seconds", axis="x")
    figure.ruler("y").lim(0, highest)
    figure.ruler("x").lim(0, end)
    figure.ruler("x", "upper").lim(0, end)
    figure.ruler("x", "upper").ticks(list(moments), list(moments.values()))
    figure.draw(figure.signal(data.times, data.worst, marker=plotext.marker("hd", "blue+")).fillx())
    figure.draw(figure.signal(failed, [highest] * len(failed), marker=plotext.marker("x", "red+")))
    for start in moments:
        figure.line(start, orientation="v", pixel=plotext.pixel("orange+"))
    return str(figure.build().string())
