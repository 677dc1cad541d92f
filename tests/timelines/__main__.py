from __future__ import annotations

import argparse
import os

from testproject.postgres import server

from .drawn import draw, keep
from .pages import PAGES, SIDES


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.timelines")
    parser.add_argument("page", nargs="*", choices=[[], *PAGES], help="default: all")
    parser.add_argument("--draw", action="store_true", help="draw again what was measured")
    options = parser.parse_args()
    pages = options.page or PAGES
    if options.draw:
        for page in pages:
            draw(page)
        return
    with server() as dsn:
        os.environ["SAFEMIGRATIONS_TEST_DSN"] = dsn
        os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
        measure(pages)


def measure(pages: list[str]) -> None:
    import django

    django.setup()
    from .played import played

    for page in pages:
        keep(page, {side: played(page, side) for side in SIDES})


if __name__ == "__main__":
    main()
