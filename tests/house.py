"""The picture of the rooms in docs/how_it_works.md, drawn from what the modules import.

    python -m tests.house

writes docs/house.svg anew; tests/test_imports.py says when that is needed.
"""

from __future__ import annotations

import ast
import textwrap
from collections import Counter
from collections.abc import Iterator
from html import escape
from pathlib import Path

import safemigrations

PACKAGE = Path(safemigrations.__file__).parent
PICTURE = PACKAGE.parent / "docs" / "house.svg"
# From the ground up: a room imports only from those before it. Modules that are in no folder stand together.
ROOMS = [
    ("", "conf", "errors", "data", "typed", "durations", "signals"),
    ("postgres",),
    ("plans",),
    ("running",),
    ("contracts",),
    ("operations",),
    ("checking",),
    ("hooks",),
    ("rewriting",),
    ("inspecting",),
    ("rehearsing",),
    ("console",),
    ("management",),
    ("apps", "models", "admin", "tasks", "django_tasks", "celery_tasks", "testing", "pytest_plugin"),
]
GROUND, TOP = "Settings, errors, values.", "What Django, task systems and tests look for by its name."


def modules() -> list[Path]:
    return sorted(path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py"))


def dotted(path: Path) -> str:
    """The module's name; a package's own, for its __init__."""
    return ".".join(part for part in ("safemigrations", *path.with_suffix("").parts) if part != "__init__")


MODULES = {dotted(path): path for path in modules()}


def room(module: str) -> str:
    """The room of a module: "operations" for safemigrations.operations.base."""
    return module.removeprefix("safemigrations").strip(".").partition(".")[0]


def floor(module: str) -> int:
    (number,) = (number for number, names in enumerate(ROOMS) if room(module) in names)
    return number


def imports(path: Path) -> Iterator[str]:
    """Every module of ours that this one imports, inside functions too."""
    package = ["safemigrations", *path.parent.parts]
    for node in ast.walk(ast.parse((PACKAGE / path).read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.startswith("safemigrations"))
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            module = ".".join(filter(None, [base, node.module]))
            if module.partition(".")[0] == "safemigrations":
                named = [f"{module}.{alias.name}" for alias in node.names]
                yield from (name if name in MODULES else module for name in named)


def arrows() -> Counter[tuple[int, int]]:
    """How many modules of one floor import from another one, by the two floors."""
    pairs = {(floor(module), floor(other), module) for module, path in MODULES.items() for other in imports(path)}
    return Counter((upper, lower) for upper, lower, _ in pairs if upper != lower)


# The picture.

LEFT, WIDTH, TITLE, LINE, GAP, LANE = 10, 720, 46, 18, 14, 16
STYLE = """
  text { font: 13px system-ui, sans-serif; fill: #1f2328; }
  .name { font-weight: 600; font-size: 15px; }
  .modules { font: 12px ui-monospace, monospace; fill: #59636e; white-space: pre; }
  rect { fill: #f6f8fa; stroke: #d1d9e0; }
  path { fill: none; stroke: #0969da; stroke-width: 1.2; opacity: .55; }
  @media (prefers-color-scheme: dark) {
    text { fill: #f0f6fc; } .modules { fill: #9198a1; } rect { fill: #151b23; stroke: #3d444d; }
    path { stroke: #4493f8; }
  }
"""


def purpose(names: tuple[str, ...]) -> str:
    """The first sentences of the folder's docstring."""
    if len(names) > 1:
        return TOP if "apps" in names else GROUND
    text = ast.get_docstring(ast.parse((PACKAGE / names[0] / "__init__.py").read_text())) or ""
    return f"{text.partition(chr(10))[0].partition('. ')[0].rstrip('.')}."


def inside(names: tuple[str, ...]) -> list[str]:
    """The modules of a folder, in lines; those of each folder in it begin a line."""
    if len(names) > 1:
        return []
    found = [module for module in MODULES if room(module) in names and module not in ("safemigrations", *FOLDERS)]
    folders: dict[str, list[str]] = {"": []}
    for module in found:
        folder, _, name = module.removeprefix(f"safemigrations.{room(module)}.").rpartition(".")
        folders.setdefault(folder, []).append(name)
    texts = ["  ".join([*([f"{folder}/"] if folder else []), *modules]) for folder, modules in folders.items()]
    return [line for text in texts for line in _wrapped(text)]


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, 94, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)


FOLDERS = {module for module, path in MODULES.items() if path.name == "__init__.py"}


def drawn() -> str:
    """The picture as SVG: the ground floor at the bottom, an arrow from each floor to those it imports from."""
    boxes, top = [], GAP
    middles: dict[int, float] = {}
    for number, names in reversed(list(enumerate(ROOMS))):
        lines = inside(names)
        height = TITLE + LINE * len(lines)
        middles[number] = top + height / 2
        boxes.append(_box(top, height, " ".join(filter(None, names)), purpose(names), lines))
        top += height + GAP
    lanes = max((upper - lower for upper, lower in arrows()), default=0)
    width = LEFT + WIDTH + LANE * (lanes + 2)
    lines_between = [_arrow(middles[upper], middles[lower], upper, lower) for upper, lower in sorted(arrows())]
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {top}" width="{width}" role="img"'
        ' aria-label="The rooms of the package; each imports only from those below it">'
    )
    marker = (
        '<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="6" markerHeight="6" orient="auto">'
        '<path d="M0 0L8 4L0 8" style="opacity:1"/></marker></defs>'
    )
    return "\n".join([head, f"<style>{STYLE}</style>", marker, *boxes, *lines_between, "</svg>", ""])


def _box(top: float, height: float, name: str, what: str, lines: list[str]) -> str:
    texts = [
        f'<text class="modules" x="{LEFT + 12}" y="{top + TITLE + 10 + LINE * number}">{escape(line)}</text>'
        for number, line in enumerate(lines)
    ]
    return "\n".join(
        [
            f'<rect x="{LEFT}" y="{top}" width="{WIDTH}" height="{height}" rx="6"/>',
            f'<text class="name" x="{LEFT + 12}" y="{top + 21}">{escape(name)}</text>',
            f'<text x="{LEFT + 12}" y="{top + 39}">{escape(what)}</text>',
            *texts,
        ]
    )


def _arrow(start: float, end: float, upper: int, lower: int) -> str:
    """What leaves a floor leaves it below its middle, and what arrives arrives above it."""
    right, bulge = LEFT + WIDTH, LEFT + WIDTH + LANE * (upper - lower + 1)
    start, end = start + 3 + lower % 3, end - 3 - upper % 3
    curve = f"M{right} {start:.0f}C{bulge} {start:.0f} {bulge} {end:.0f} {right + 2} {end:.0f}"
    return f'<path d="{curve}" marker-end="url(#head)"/>'


if __name__ == "__main__":
    PICTURE.write_text(drawn())
