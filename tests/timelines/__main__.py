from __future__ import annotations

import argparse
import os

from testproject.postgres import server

from .pages import CASE_OF


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.timelines")
    parser.add_argument("page", nargs="*", choices=[[], *CASE_OF], help="default: all")
    pages = parser.parse_args().page or list(CASE_OF)
    with server() as dsn:
        os.environ["SAFEMIGRATIONS_TEST_DSN"] = dsn
        os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
        measure(pages)


def measure(pages: list[str]) -> None:
    import django

    django.setup()
    from .drawn import keep
    from .played import WRITTEN_BY, played

    for page in pages:
        keep(page, {way: played(CASE_OF[page], way) for way in WRITTEN_BY})


if __name__ == "__main__":
    main()
