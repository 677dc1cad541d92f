"""Looks whether the built site leads anywhere, and whether it needs another host.

python -m tests.site FOLDER
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from urllib.parse import unquote, urldefrag


def dead(folder: Path) -> list[str]:
    """The links and pictures of its pages that aren't there."""
    pages = {page.resolve(): page.read_text() for page in folder.rglob("*.html")}
    return [
        f"{page.relative_to(folder.resolve())}: {target}"
        for page, text in pages.items()
        for target in re.findall(r'(?:href|src)="([^"]+)"', text)
        if not re.match(r"[a-z]+:", target) and not _leads_somewhere(page, target, pages)
    ]


def dead_for_assistants(folder: Path) -> list[str]:
    """What llms.txt names and the site doesn't have."""
    targets = re.findall(r"\]\(([^)]+)\)", (folder / "llms.txt").read_text())
    return [f"llms.txt: {target}" for target in targets if not (folder / target).exists()]


def _leads_somewhere(page: Path, target: str, pages: dict[Path, str]) -> bool:
    path, anchor = urldefrag(target)
    name = unquote(path.partition("?")[0])
    other = (page.parent / name).resolve() if name else page
    return other.exists() and (not anchor or other not in pages or f'id="{anchor}"' in pages[other])


def foreign(folder: Path) -> list[str]:
    """Scripts, styles and pictures of another host, which aren't there without a network."""
    loads = re.compile(r'<(?:script|img|link rel="stylesheet")[^>]*(?:src|href)="(https?:[^"]+)"')
    return [found for page in folder.rglob("*.html") for found in loads.findall(page.read_text())]


if __name__ == "__main__":
    site = Path(sys.argv[1])
    if found := dead(site) + dead_for_assistants(site) + foreign(site):
        sys.exit("\n".join(found))
