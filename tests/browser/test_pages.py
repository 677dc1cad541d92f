"""The pages of Django's admin in a real browser, while a real backfill runs.

`tox -e browser` runs this; it needs Chromium, such as that of the distribution's packages. Where
SAFEMIGRATIONS_TEST_DRAW is 1 it also takes the pictures of docs/admin.md.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect, sync_playwright

from ..admin_site import with_admin, with_users
from ..project import Project

os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"  # playwright has a loop of its own

PICTURES = Path(__file__).resolve().parents[2] / "docs" / "pictures"
DRAW = os.environ.get("SAFEMIGRATIONS_TEST_DRAW") == "1"
TOP: Any = {"x": 0, "y": 0, "width": 1280, "height": 470}  # of a page
OURS = {"exclude": [[".breadcrumbs"]]}  # Django's own links there differ from text by colour alone
ROWS = 60_000
RATE = 500  # rows a second
PATIENCE = 60_000  # milliseconds
PAGES = {
    "queue": "contractrow/",
    "row": "contractrow/1/change/",
    "backfills": "backfill/",
    "backfill": "backfill/1/change/",
    "releases": "knownrelease/",
    "history": "pastrun/",
    "decisions": "decision/",
}
VIEWS = [("light", 1280), ("dark", 1280), ("light", 420), ("dark", 420)]
FIRST = """class Item(models.Model):
    name = models.CharField(max_length=10)
    note = models.TextField()
"""
SECOND = """class Item(models.Model):
    name = models.CharField(max_length=10)
"""
THIRD = """class Item(models.Model):
    title = models.CharField(max_length=10)
"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    assert chromium, "Install Chromium: apt install chromium"
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield started
        started.close()


class Site:
    """The admin of a project whose backfill is under way."""

    def __init__(self, browser: Browser, project: Project, port: int) -> None:
        self.browser, self.project, self.address = browser, project, f"http://localhost:{port}/admin/"

    @contextmanager
    def page(self, user: str = "root", **options: Any) -> Iterator[Page]:
        """Logged in; the console of the browser has said nothing when the block ends."""
        said: list[str] = []
        with closing(self.browser.new_context(**options)) as context:
            page = context.new_page()
            page.set_default_timeout(PATIENCE)
            page.on("console", lambda message: said.append(f"{message.text} {message.location}"))
            page.on("pageerror", lambda error: said.append(str(error)))
            page.goto(self.address)
            page.fill("#id_username", user)
            page.fill("#id_password", user)
            page.click("input[type=submit]")
            yield page
        assert [line for line in said if "favicon" not in line] == []

    def open(self, page: Page, path: str) -> None:
        page.goto(f"{self.address}safemigrations/{path}")

    def ask(self, page: Page, path: str) -> int:
        """The status, apart from the page: a browser complains of a page that it may not see."""
        return int(page.request.get(f"{self.address}safemigrations/{path}").status)


@pytest.fixture
def site(browser: Browser, project: Project) -> Iterator[Site]:
    with_admin(project).set(SAFEMIGRATIONS={"BACKFILL_RATE": RATE})
    for models in (FIRST, SECOND):
        project.write_models("shop", models)
        project.manage("makemigrations", "shop").check()
        project.manage("migrate").check()
    with_users(project)
    project.sql(f"INSERT INTO shop_item (name) SELECT n::text FROM generate_series(1, {ROWS}) n")
    project.write_models("shop", THIRD)
    project.manage("makemigrations", "shop", "--name", "title", input="y\n").check()
    migrate = project.start("migrate")
    with _server(project) as port:
        _until(lambda: project.sql("SELECT 1 FROM pg_class WHERE relname = 'safemigrations_backfill'"))
        _until(lambda: project.sql("SELECT 1 FROM safemigrations_backfill WHERE status = 'running'"))
        yield Site(browser, project, port)
    migrate.kill()


@contextmanager
def _server(project: Project) -> Iterator[int]:
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        port = int(probe.getsockname()[1])
    command = [sys.executable, "manage.py", "runserver", "--noreload", str(port)]
    quiet: Any = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    server = subprocess.Popen(command, cwd=project.folder, env=project._environment(), **quiet)
    try:
        _until(lambda: _answers(port))
        yield port
    finally:
        server.kill()
        server.wait()


def _answers(port: int) -> bool:
    with socket.create_connection(("localhost", port), 1):
        return True


def _until(happens: Any) -> None:
    for _ in range(600):
        try:
            if happens():
                return
        except OSError:
            pass
        time.sleep(0.1)
    raise AssertionError("It never happens.")


def share(page: Page) -> float:
    return float(page.locator("progress").first.get_attribute("value") or 0)


def test_progress_moves_by_itself_and_a_click_pauses_and_resumes_it(site):
    with site.page() as page:
        site.open(page, "backfill/")
        first = share(page)
        page.wait_for_function("first => +document.querySelector('progress').value > first", arg=first)
        site.open(page, "backfill/1/change/")
        page.get_by_role("button", name="Pause").click()
        expect(page.locator("li.success")).to_contain_text("Paused")
        _until(lambda: site.project.sql("SELECT 1 FROM safemigrations_backfill WHERE status = 'paused'"))
        site.open(page, "backfill/")
        expect(page.locator("#result_list")).to_contain_text("somebody has paused it")
        site.open(page, "backfill/1/change/")
        page.get_by_role("button", name="Resume").click()
        _until(lambda: not site.project.sql("SELECT 1 FROM safemigrations_backfill WHERE status = 'paused'"))


def test_without_javascript_a_page_says_the_same_and_its_buttons_work(site):
    with site.page(java_script_enabled=False) as page:
        site.open(page, "backfill/1/change/")
        before = share(page)
        _until(lambda: page.reload() and share(page) > before)
        page.get_by_role("button", name="Pause").click()
        expect(page.locator("li.success")).to_contain_text("Paused")


def test_a_page_that_somebody_may_not_see_is_forbidden(site):
    with site.page("nobody") as page:
        for path in PAGES.values():
            assert site.ask(page, path) == 403
    with site.page("seer") as page:
        assert site.ask(page, "backfill/1/change/") == 200
        site.open(page, "backfill/1/change/")
        expect(page.get_by_role("button", name="Pause")).to_have_count(0)


@pytest.mark.parametrize(("scheme", "width"), VIEWS)
def test_axe_finds_nothing_and_nothing_is_cut_off(site, scheme, width):
    found = {}
    view = {"color_scheme": scheme, "viewport": {"width": width, "height": 900}}
    with site.page(**view, bypass_csp=True) as page:  # for axe, which brings styles of its own
        for name, path in PAGES.items():
            site.open(page, path)
            if DRAW and width == VIEWS[0][1] and name in ("queue", "backfills"):
                page.screenshot(path=PICTURES / f"admin_{name}_{scheme}.png", clip=TOP)
            found[name] = told(Axe().run(page, context=OURS).response["violations"])
            assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert found == {name: [] for name in PAGES}


def told(violations: list[Any]) -> list[str]:
    return [f"{one['id']}: {node['html']}" for one in violations for node in one["nodes"]]


def test_a_keyboard_is_enough(site):
    with site.page() as page:
        site.open(page, "backfill/1/change/")
        page.get_by_role("button", name="Pause").focus()
        page.keyboard.press("Enter")
        expect(page.locator("li.success")).to_contain_text("Paused")
        page.locator("summary", has_text="Cancel").focus()
        page.keyboard.press("Enter")
        page.keyboard.press("Tab")
        page.keyboard.type("nobody needs it any more")
        page.keyboard.press("Enter")
        expect(page.locator("li.success").last).to_contain_text("Cancelled")
