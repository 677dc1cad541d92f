"""What watches a deploy: metrics that are scraped and pushed, spans, and the receiver of the docs."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from types import SimpleNamespace
from typing import Any

import pytest
from django.core.exceptions import PermissionDenied
from django.core.management import call_command
from django.dispatch import Signal
from django.test import RequestFactory, override_settings
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prometheus_client.parser import text_string_to_metric_families

from safemigrations import celery_tasks, django_tasks, signals
from safemigrations.console import pushing, views
from safemigrations.console.client import NO_CLIENT
from safemigrations.console.metrics import scraped
from safemigrations.console.views import metrics
from safemigrations.contracts import carrying_out
from safemigrations.errors import NotNow, StepFailed
from safemigrations.running import ledger, noting
from safemigrations.running.a_run import a_run
from safemigrations.running.backfill import progress
from safemigrations.running.backfill.progress import Status
from safemigrations.running.run import Report
from safemigrations.running.runner import Runner

from .test_backfill_command import FILL
from .test_events import FINE, WRONG, behind_a_reader, heard, left

DOCS = Path(__file__).parents[1] / "docs"


class Received(BaseHTTPRequestHandler):
    """Keeps what it is sent."""

    kept: list[tuple[str, str]]

    def _keep(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.kept.append((self.path, body))
        self.send_response(200)
        self.end_headers()

    do_POST = do_PUT = _keep

    def log_message(self, *args: Any) -> None: ...


@contextmanager
def receiver_of() -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """The URL of a server on this machine, and what it is sent."""
    handler = type("Handler", (Received,), {"kept": []})
    server = HTTPServer(("127.0.0.1", 0), handler)
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", handler.kept  # type: ignore[attr-defined]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def values(text: str) -> dict[str, float]:
    """Each sample by its name and its labels."""
    return {
        " ".join([sample.name.removeprefix("safemigrations_"), *(f"{k}={v}" for k, v in sample.labels.items())]): value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        for value in [sample.value]
    }


# Metrics.


def test_metrics_say_what_is_open_how_far_backfills_are_and_what_failed(database):
    with database.cursor() as cursor:
        cursor.execute("CREATE TABLE item (id bigint PRIMARY KEY, price int, twin int)")
        cursor.execute("INSERT INTO item SELECT n, n FROM generate_series(1, 100) n")
    left(database, WRONG)
    with database.cursor() as cursor:
        cursor.execute("UPDATE safemigrations_contract SET created_at = now() - interval '2 hours'")
    known = progress.begin(database, FILL, app_label="", migration="", status=Status.RUNNING)
    half = {"estimate": 200, "visited": 100, "filled": 50, "status": Status.PAUSED}
    progress.rows(database, pk=known.pk).update(**half)
    with pytest.raises(StepFailed):
        carrying_out.contract(database, Report())
    found = values(scraped().decode())
    backfill = f"backfill={known.pk} database=default label={known.label} status=paused"
    assert found["up database=default"] == 1
    assert found["contract_open_rows database=default status=failed"] == 1
    assert found["contract_open_rows database=default status=pending"] == 0
    assert 7200 <= found["contract_oldest_age_seconds database=default"] < 7300
    assert found[f"backfill_progress_ratio {backfill}"] == 0.5
    assert found[f"backfill_filled_rows {backfill}"] == 50
    assert found[f"backfill_rows_per_second {backfill}"] > 0
    assert found["failures_total database=default direction=contract"] == 1
    assert found["failures_total database=default direction=forwards"] == 0


def test_metrics_say_how_long_was_waited(database):
    about = ledger.About("shop", "0002_note", ledger.Direction.FORWARDS)
    for seconds in (1.5, 2.25):
        with ledger.entered(database, about):
            noting.waited(seconds)
            noting.note(FINE, 3)
    assert values(scraped().decode())["lock_wait_seconds_total database=default"] == 3.75


def test_metrics_of_an_untouched_database_make_no_table(database):
    found = values(scraped().decode())
    assert (found["up database=default"], found["contract_open_rows database=default status=pending"]) == (1, 0)
    with database.cursor() as cursor:
        cursor.execute("SELECT relname FROM pg_class WHERE relname LIKE 'safemig%'")
        assert cursor.fetchall() == []


def test_a_database_that_is_down_is_said_to_be(database, caplog):
    database.close()
    with pytest.MonkeyPatch.context() as patch:  # ends before the fixture that gave the name
        patch.setitem(database.settings_dict, "NAME", "no_such_database")
        assert values(scraped().decode())["up database=default"] == 0
    assert "The metrics of database default can't be read" in caplog.text


def asked(token: str = "", user: Any = None) -> Any:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    request = RequestFactory().get("/", headers=headers)
    if user is not None:
        request.user = user
    return metrics(request)


def user(*, staff: bool, may: bool) -> Any:
    return SimpleNamespace(is_active=True, is_staff=staff, has_perm=lambda name: may and "view_contractrow" in name)


def test_the_view_answers_whoever_has_the_token_and_staff_who_may(database):
    with override_settings(SAFEMIGRATIONS={"METRICS_TOKEN": "long-and-random"}):
        answer = asked("long-and-random")
        assert values(answer.content.decode())["up database=default"] == 1
        assert answer["Content-Type"].startswith("text/plain; version=0.0.4")
        for wrong in ("", "long", "long-and-randomly"):
            with pytest.raises(PermissionDenied):
                asked(wrong)
    assert asked(user=user(staff=True, may=True)).status_code == 200
    for who in (user(staff=False, may=True), user(staff=True, may=False), None):
        with pytest.raises(PermissionDenied):
            asked(user=who)
    for nothing in ("", "None"):
        with pytest.raises(PermissionDenied):
            asked(nothing)


@pytest.fixture
def with_gateway() -> Iterator[None]:
    """As in a project whose settings name one when it starts."""
    pushing.install()
    yield
    signals.run_ended.disconnect(dispatch_uid="safemigrations.console.pushing")


def refused_contract() -> None:
    with pytest.raises(NotNow):  # no code here knows the migration of the row
        call_command("migrate", "--contract")


@pytest.mark.parametrize(
    "run",
    [
        refused_contract,
        lambda: call_command("safemigrations", "backfill", "run"),
        lambda: celery_tasks.work_on_backfills("default"),
        lambda: django_tasks.work_on_backfills.func("default"),
    ],
    ids=["migrate", "backfill run", "celery", "django.tasks"],
)
def test_a_run_pushes_its_metrics_when_it_ends(database, run, with_gateway):
    left(database)
    with (
        receiver_of() as (url, kept),
        override_settings(SAFEMIGRATIONS={"METRICS_GATEWAY": url, "GATE_WATCH": 0}),
    ):
        run()
    ((path, body),) = kept
    assert path == "/metrics/job/safemigrations/database/default"
    assert values(body)["contract_open_rows database=default status=pending"] == 1


def test_a_project_whose_settings_name_a_gateway_pushes(project):
    with receiver_of() as (url, kept):
        project.set(SAFEMIGRATIONS={"METRICS_GATEWAY": url})
        project.manage("migrate").check()
    ((_, body),) = kept
    assert values(body)["up database=default"] == 1


@pytest.mark.parametrize("gateway", ["http://127.0.0.1:1", "nonsense"])
def test_a_gateway_that_is_down_fails_nothing(database, caplog, gateway, with_gateway):
    with override_settings(SAFEMIGRATIONS={"METRICS_GATEWAY": gateway}), a_run(Report(), "default", "migrate"):
        pass
    assert "The metrics could not be pushed" in caplog.text


def test_without_the_client_the_view_and_the_log_say_what_to_install(monkeypatch, caplog, with_gateway):
    for module in (pushing, views):
        monkeypatch.setattr(module, "HAS_CLIENT", False)
    with override_settings(SAFEMIGRATIONS={"METRICS_TOKEN": "long", "METRICS_GATEWAY": "http://gateway"}):
        answer = asked("long")
        with a_run(Report(), "default", "migrate"):
            pass
    assert (answer.status_code, answer.content.decode()) == (501, NO_CLIENT)
    assert f"{NO_CLIENT}, for METRICS_GATEWAY" in caplog.text


# Spans.


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemorySpanExporter]:
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "get_tracer", provider.get_tracer)
    yield exporter
    provider.shutdown()


def tree(exporter: InMemorySpanExporter) -> set[tuple[str, str | None]]:
    """Each span, with the one in which it stands."""
    found = {span.context.span_id: span for span in exporter.get_finished_spans() if span.context}
    return {(span.name, found[span.parent.span_id].name if span.parent else None) for span in found.values()}


def test_a_run_is_a_span_with_its_rows_and_their_steps(database, spans):
    left(database)
    with a_run(Report(), "default", "migrate --contract"):
        carrying_out.contract(database, Report())
    assert tree(spans) == {
        ("migrate --contract", None),
        ("contract shop.0002_note", "migrate --contract"),
        ("step Statement", "contract shop.0002_note"),
    }
    assert not trace.get_current_span().is_recording()


def test_what_fails_is_said_by_its_span_and_by_those_around_it(database, spans):
    with pytest.raises(StepFailed), a_run(Report(), "default", "migrate"):
        Runner(database, Report()).run((FINE, WRONG))
    fine, wrong, run = spans.get_finished_spans()
    assert [span.status.is_ok for span in (fine, wrong, run)] == [True, False, False]
    assert wrong.attributes
    assert wrong.attributes["safemigrations.label"] == "item: wrong"
    assert not trace.get_current_span().is_recording()


def test_a_wait_is_an_event_of_its_step(database, connect, spans):
    with heard("step_waiting") as found:
        behind_a_reader(database, connect, lambda: found)
    (step,) = (span for span in spans.get_finished_spans() if span.name == "step Statement")
    waiting = next(event for event in step.events if event.name == "safemigrations.step_waiting")
    assert waiting.attributes
    assert len(waiting.attributes["safemigrations.pids"]) == 1
    assert "SELECT" not in str(dict(waiting.attributes))


# The receiver of the docs.


@contextmanager
def connected(source: str) -> Iterator[None]:
    """Run a block of the docs; afterwards no signal has its receivers."""
    found = [one for one in vars(signals).values() if isinstance(one, Signal)]
    before = [list(one.receivers) for one in found]
    namespace: dict[str, Any] = {}
    exec(compile(source, "docs", "exec"), namespace)
    try:
        yield
    finally:
        for one, receivers in zip(found, before, strict=True):
            one.receivers = receivers
            one.sender_receivers_cache.clear()


def block(page: str, containing: str) -> str:
    blocks = re.findall(r"```python\n(.*?)```", (DOCS / page).read_text(), re.DOTALL)
    (found,) = (text for text in blocks if containing in text)
    return str(found)


def runs() -> None:
    with a_run(Report(), "default", "migrate"):
        pass
    with pytest.raises(NotNow), a_run(Report(), "default", "migrate --contract"):
        raise NotNow("later")


def test_the_webhook_of_the_docs_posts(database):
    with (
        receiver_of() as (url, kept),
        override_settings(DEPLOY_WEBHOOK=url),
        connected(block("observing.md", "DEPLOY_WEBHOOK")),
    ):
        runs()
    assert [json.loads(body)["text"] for _, body in kept] == [
        "migrate on default: done",
        "migrate --contract on default: not_now",
    ]


def test_a_chat_that_is_down_fails_no_run(database, caplog):
    with override_settings(DEPLOY_WEBHOOK="http://127.0.0.1:1"), connected(block("observing.md", "DEPLOY_WEBHOOK")):
        runs()
    assert caplog.text.count("Connection refused") >= 2


def test_the_receivers_of_the_page_of_events_print(database, capsys):
    with connected(block("events.md", "step_waiting")), a_run(Report(), "default", "migrate"):
        pass
    assert capsys.readouterr().out == "migrate: done\n"


def test_the_logging_of_the_docs_logs():
    """In a process of its own: who configures logging closes the handlers of others."""
    code = block("observing.md", "LOGGING") + (
        "import logging.config\nlogging.config.dictConfig(LOGGING)\n"
        "logging.getLogger('safemigrations.run').info('migrate began')\n"
        "logging.getLogger('safemigrations.step').debug('a step')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == "migrate began\n"
