"""The pictures of docs/timelines, drawn from what was measured; they follow the colours of who looks at them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from html import escape
from itertools import groupby
from pathlib import Path
from typing import Any

from .pages import BUCKET, SIDES

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "timelines"
MEASURED = FOLDER / "measured.json"
LEFT, WIDTH, RIGHT = 126, 350, 12  # as narrow as a telephone shows it without making the words small
LANE, BAR, PANEL = 22, 15, 146  # heights: from one lane to the next, a bar, a side
LONGEST = 58  # characters of an error, above the lanes
SAYS = {"a": "answered", "w": "waits", "f": "fails"}
STYLE = """
  text { font: 13px system-ui, sans-serif; fill: #1f2328; }
  .faint { fill: #59636e; font-size: 12px; } .title { font-weight: 600; font-size: 14px; } .right { text-anchor: end; }
  .middle { text-anchor: middle; } .ground { fill: #ffffff; } .axis { stroke: #d1d9e0; }
  .a { fill: #2da44e; } .w { fill: #d4a72c; } .f { fill: #d1242f; } .span { fill: #8c959f; }
  .error { fill: #d1242f; font-size: 12px; } .ours { fill: #0969da; }
  @media (prefers-color-scheme: dark) {
    .ground { fill: #0d1117; } text { fill: #f0f6fc; } .faint { fill: #9198a1; } .axis { stroke: #3d444d; }
    .a { fill: #3fb950; } .w { fill: #d29922; } .f { fill: #f85149; } .span { fill: #656c76; }
    .error { fill: #f85149; } .ours { fill: #4493f8; }
  }
"""


def measured() -> dict[str, Any]:
    return dict(json.loads(MEASURED.read_text())) if MEASURED.exists() else {}


def keep(page: str, sides: dict[str, Any]) -> None:
    """Write down what was measured, and its picture."""
    FOLDER.mkdir(exist_ok=True)
    both = {**measured(), page: sides}
    MEASURED.write_text(json.dumps(dict(sorted(both.items())), indent=1, ensure_ascii=False) + "\n")
    draw(page)


def draw(page: str) -> None:
    (FOLDER / f"{page}.svg").write_text(picture(measured()[page]))


def sentence(side: dict[str, Any]) -> str:
    """What became of the requests of a side."""
    if side["refused"]:
        return f"migrate fails: {side['refused']}"
    failed = f"{side['failed']:,} failed" if side["failed"] else "none failed"
    return f"{side['requests']:,} requests, {failed}, longest wait {side['wait']:.2f} s"


def said(sides: dict[str, Any]) -> str:
    """What the picture shows, for who doesn't see it."""
    return " ".join(f"{_capital(SIDES[way])}: {sentence(side)}{_because(side)}." for way, side in sides.items())


def _because(side: dict[str, Any]) -> str:
    return f" ({side['error']})" if side["error"] else ""


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def picture(sides: dict[str, Any]) -> str:
    seconds = max(_seconds(side) for side in sides.values())
    height = len(sides) * PANEL + 44
    wide = LEFT + WIDTH + RIGHT
    size = f'viewBox="0 0 {wide} {height}" width="{wide}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-label="{escape(said(sides))}">',
        f"<style>{STYLE}</style>",
        _rect(0, 0, wide, height, "ground"),
        *(part for top, way in zip((0, PANEL), sides, strict=True) for part in _side(sides[way], way, top, seconds)),
        *_axis(seconds, len(sides) * PANEL + 4),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _seconds(side: dict[str, Any]) -> float:
    """Until the last request."""
    until: float = max(*(len(side[name]) * BUCKET for name in ("old", "new")), *(end for *_, end in side["spans"]))
    return until


def _side(side: dict[str, Any], way: str, top: int, seconds: float) -> Iterator[str]:
    yield _text(8, top + 22, SIDES[way], "title")
    yield _text(LEFT + WIDTH, top + 22, _shortened(sentence(side)), "faint right")
    lanes = [top + 54 + LANE * number for number in range(4)]
    for lane, name in zip(lanes, ("other transaction", "migrate", "old release", "new release"), strict=True):
        yield _text(LEFT - 8, lane + 12, name, "faint right")
    if side["error"]:
        yield _text(LEFT, top + 43, _shortened(side["error"]), "error")
    for what, began, ended in side["spans"]:
        first = what == "transaction"
        yield _bar(began, ended, lanes[0 if first else 1], seconds, "span" if first else "ours")
        if what.endswith("--contract"):
            yield _text(_x(began, seconds) - 4, lanes[1] + 12, "--contract", "faint right")
    for lane, release in zip(lanes[2:], ("old", "new"), strict=True):
        yield from _letters(side[release], lane, seconds)


def _letters(letters: str, lane: float, seconds: float) -> Iterator[str]:
    at = 0
    for letter, same in groupby(letters):
        count = len(list(same))
        if letter in SAYS:
            yield _bar(at * BUCKET, (at + count) * BUCKET, lane, seconds, letter)
        at += count


def _axis(seconds: float, y: float) -> Iterator[str]:
    yield f'<line class="axis" x1="{LEFT}" x2="{LEFT + WIDTH}" y1="{y}" y2="{y}"/>'
    for second in range(0, int(seconds) + 1, 1 if seconds < 12 else 5):
        yield _text(_x(second, seconds), y + 15, f"{second} s", "faint middle")
    for number, (letter, meaning) in enumerate(SAYS.items()):
        x = LEFT + number * 90
        yield _rect(x, y + 22, 12, 12, letter)
        yield _text(x + 17, y + 32, meaning, "faint")


def _shortened(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


def _x(second: float, seconds: float) -> float:
    return round(LEFT + second / seconds * WIDTH, 1)


def _bar(began: float, ended: float, lane: float, seconds: float, kind: str) -> str:
    left = _x(began, seconds)
    return _rect(left, lane, max(2, round(_x(ended, seconds) - left, 1)), BAR, kind)


def _rect(x: float, y: float, width: float, height: float, kind: str) -> str:
    return f'<rect class="{kind}" x="{x}" y="{y}" width="{width}" height="{height}"/>'


def _text(x: float, y: float, text: str, kind: str) -> str:
    return f'<text class="{kind}" x="{x}" y="{y}">{escape(text)}</text>'
