"""The picture: for each side its phases, the worst waits and the errors over time."""

from __future__ import annotations

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from testproject.demo.deploy import Course
from testproject.demo.measure import BUCKET, buckets, figures

INK, FAINT, WAIT, ERROR = "#22333b", "#dfe3e6", "#2f6690", "#c1121f"
# The label of a phase, its colour, and the row of the strip in which it stands.
PHASES = {
    "report": ("an unrelated report", "#c5ccd3", 1),
    "migrate": ("migrate", "#f4c06a", 0),
    "migrate failed": ("migrate: failed", "#f08c78", 0),
    "both releases": ("both releases", "#a7c98f", 0),
    "second release": ("second release", "#d8b4a0", 0),
    "second release failed": ("second release: failed", "#f08c78", 0),
    "contract": ("migrate --contract", "#c3aee0", 0),
    "contract failed": ("migrate --contract: failed", "#f08c78", 0),
}


def draw(courses: list[Course], file: Path) -> None:
    figure = Figure(figsize=(11, 0.3 + 3.1 * len(courses)), layout="constrained", facecolor="white")
    highest = 1.05 * max(answer.seconds for course in courses for answer in course.answers)
    most = max(1, *(error for course in courses for error in buckets(course.answers).errors))
    end = max(course.end for course in courses)
    sides = figure.subfigures(len(courses), squeeze=False)
    for course, side in zip(courses, sides.flat, strict=True):
        strip, waits, errors = side.subplots(3, sharex=True, height_ratios=[0.55, 2, 0.55])
        strip.set_xlim(0, end)
        _title(strip, course)
        _draw_phases(strip, course)
        _draw_waits(waits, course, highest)
        _draw_errors(errors, course, most)
    errors.set_xlabel("seconds; each bar stands for the requests that arrived within 0.1 s", color=INK)
    figure.savefig(file, dpi=160)


def _title(axes: Axes, course: Course) -> None:
    result = figures(course.answers)
    failed = result.errors.total()
    said = f"{failed:,} of {result.requests:,} requests failed, the worst wait was {result.worst:.2f} s"
    axes.set_title(course.side, loc="left", fontsize=13, fontweight="bold", color=INK)
    axes.set_title(said, loc="right", fontsize=11, color=ERROR if failed else INK)


def _draw_phases(axes: Axes, course: Course) -> None:
    for phase in course.phases:
        label, color, row = PHASES[phase.name]
        axes.barh(row, phase.end - phase.start, left=phase.start, height=0.84, color=color)
        axes.text(phase.start + 0.1, row, label, va="center", fontsize=8.5, color=INK)
    axes.set_ylim(-0.5, 1.5)
    axes.axis("off")


def _draw_waits(axes: Axes, course: Course, highest: float) -> None:
    data = buckets(course.answers)
    axes.bar(data.times, data.worst, width=BUCKET, align="edge", color=WAIT)
    axes.set_ylabel("worst wait (s)", color=WAIT)
    axes.set_ylim(0, highest)
    _tidy(axes)


def _draw_errors(axes: Axes, course: Course, most: int) -> None:
    data = buckets(course.answers)
    axes.bar(data.times, data.errors, width=BUCKET, align="edge", color=ERROR)
    axes.set_ylabel("errors", color=ERROR)
    axes.set_ylim(0, most)
    _tidy(axes)


def _tidy(axes: Axes) -> None:
    axes.grid(axis="y", color=FAINT)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(INK)
    axes.tick_params(length=0, labelsize=9, labelcolor=INK)
