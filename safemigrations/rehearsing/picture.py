"""The picture of a rehearsal: requests, errors and longest waits over time, with the phases marked.

A hand-written SVG that follows the colours of who looks at it. Times at which no request was sent are left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from html import escape

from ..data import Data
from .requests import BUCKET
from .result import Bucket, Phase, Rehearsal
from .text import sentence

LEFT, WIDTH, TOP, PANEL, GAP, LINE = 70, 820, 56, 90, 26, 19
NARROWEST = 22  # of a phase, so that its number can be read
STYLE = """
  text { font: 13px system-ui, sans-serif; fill: #1f2328; }
  .faint { fill: #59636e; font-size: 12px; }
  .title { font-size: 16px; font-weight: 600; }
  .number { text-anchor: middle; font-weight: 600; }
  .right { text-anchor: end; }
  .ground { fill: #ffffff; }
  .even { fill: #f6f8fa; } .odd { fill: #eaeef2; } .axis { stroke: #d1d9e0; }
  .requests { fill: #8250df; } .wait { fill: #0969da; } .error { fill: #d1242f; }
  @media (prefers-color-scheme: dark) {
    .ground { fill: #0d1117; } text { fill: #f0f6fc; } .faint { fill: #9198a1; }
    .even { fill: #151b23; } .odd { fill: #212830; }
    .axis { stroke: #3d444d; } .requests { fill: #a371f7; } .wait { fill: #4493f8; } .error { fill: #f85149; }
  }
"""


class Column(Data):
    """A phase as it is drawn: its part of the axis of time."""

    phase: Phase
    number: int
    left: float
    width: float
    began: float
    seconds: float

    def x(self, time: float) -> float:
        return self.left + (time - self.began) / self.seconds * self.width


Value = Callable[[Bucket], float]
# What a panel shows of a bucket, its class, and how its highest value is said.
PANELS: list[tuple[str, Value, Callable[[float], str]]] = [
    ("requests", lambda bucket: bucket[1] / BUCKET, lambda value: f"{value:,.0f} requests/s"),
    ("error", lambda bucket: bucket[2] / BUCKET, lambda value: f"{value:,.0f} errors/s"),
    ("wait", lambda bucket: bucket[3] * 1000, lambda value: f"{value:,.0f} ms wait"),
]


def picture(rehearsal: Rehearsal) -> str:
    columns = _columns([phase for phase in rehearsal.phases if phase.series])
    bottom = TOP + LINE + len(PANELS) * (PANEL + GAP)
    height = bottom + LINE * (len(columns) + 1)
    title = f"Rehearsal of {', '.join(rehearsal.migrations)}"
    wide = LEFT + WIDTH + 20
    said = escape(f"{title}. {sentence(rehearsal)}")
    size = f'viewBox="0 0 {wide} {height}" width="{wide}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-label="{said}">',
        f"<style>{STYLE}</style>",
        _rect(0, 0, wide, height, "ground"),
        _text(LEFT, 22, title, "title"),
        _text(LEFT, 42, f"{sentence(rehearsal)} Old: {rehearsal.old}. New: {rehearsal.new}.", "faint"),
        *(part for column in columns for part in _strip(column, bottom)),
        *(part for index, panel in enumerate(PANELS) for part in _panel(columns, index, *panel)),
        *(part for column in columns for part in _legend(column, bottom + LINE * column.number)),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _columns(phases: Sequence[Phase]) -> list[Column]:
    """The columns, as wide as their phases are long, in the room that the narrowest ones leave."""
    times = [(min(when for when, *_ in phase.series), _end(phase)) for phase in phases]
    room = WIDTH - NARROWEST * len(phases)
    scale = room / (sum(end - began for began, end in times) or 1)
    columns: list[Column] = []
    left = float(LEFT)
    for number, (phase, (began, end)) in enumerate(zip(phases, times, strict=True), 1):
        width = NARROWEST + (end - began) * scale
        columns.append(Column(phase, number, left, width, began, end - began))
        left += width
    return columns


def _end(phase: Phase) -> float:
    return max(when for when, *_ in phase.series) + BUCKET


def _strip(column: Column, bottom: float) -> Iterator[str]:
    kind = "odd" if column.number % 2 else "even"
    middle = column.left + column.width / 2
    yield _rect(column.left, TOP, column.width, bottom - TOP - GAP + 8, kind)
    yield _text(middle, TOP + 15, str(column.number), "number")


def _panel(
    columns: Sequence[Column], index: int, kind: str, value: Value, say: Callable[[float], str]
) -> Iterator[str]:
    base = TOP + LINE + PANEL + index * (PANEL + GAP)
    highest = max((value(bucket) for column in columns for bucket in column.phase.series), default=0)
    yield f'<line class="axis" x1="{LEFT}" x2="{LEFT + WIDTH}" y1="{base}" y2="{base}"/>'
    yield _text(LEFT - 8, base, "0", "faint right")
    yield _text(LEFT + 4, base - PANEL + 12, f"at most {say(highest)}", "faint")
    for column in columns:
        for bucket in column.phase.series:
            if tall := value(bucket) / (highest or 1) * (PANEL - 18):
                wide = max(1.0, column.x(bucket[0] + BUCKET) - column.x(bucket[0]) - 0.4)
                yield _rect(column.x(bucket[0]), base - tall, wide, tall, kind)


def _legend(column: Column, y: float) -> Iterator[str]:
    phase = column.phase
    yield _text(LEFT - 8, y, str(column.number), "right")
    yield _text(LEFT, y, phase.name, "")
    lost = f", {phase.lost:,} lost" if phase.lost else ""
    said = f"{phase.requests:,} requests, {phase.errors:,} errors{lost}, worst wait {phase.worst_wait * 1000:,.0f} ms"
    yield _text(LEFT + WIDTH, y, said, "right")


def _text(x: float, y: float, text: str, kind: str) -> str:
    return f'<text class="{kind}" x="{x:.0f}" y="{y:.0f}">{escape(text)}</text>'


def _rect(x: float, y: float, width: float, height: float, kind: str) -> str:
    return f'<rect class="{kind}" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}"/>'
