"""What people decide about rows of the contract: done at once, kept for ever, and shown."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db.migrations.recorder import MigrationRecorder
from django.utils.timezone import now

from safemigrations.contracts import deciding, queue
from safemigrations.contracts.acts import kept
from safemigrations.contracts.table import Status
from safemigrations.durations import shown_moment
from safemigrations.plans.steps import Statement
from tests import three_releases

STEP = Statement(why="nothing", sql="SELECT 1", locks={})
WHO = r"by \S+@\S+ as postgres"


@pytest.fixture
def rows(database):
    """Two rows of the contract queue."""
    for number in (1, 2):
        queue.put(
            database,
            app_label="shop",
            migration=f"000{number}",
            operation=f"Change({number})",
            label=f"change {number}",
            plan=(STEP,),
        )
    return lambda: list(queue.rows(database))


def command(capsys, *args):
    call_command("safemigrations", *args, no_color=True)
    return capsys.readouterr().out


NOBODY = "this code has no such migration. If it is of a newer release, run the contract with the code of that release."
UNKNOWN = f"        not now: {NOBODY} No release that has it was noted\n"


def status(capsys, *args):
    """What status prints, without its first line, times and names of users."""
    text = command(capsys, "status", *args).partition("\n")[2]
    text = re.sub(r"\d{4}-\d\d-\d\dT[\d:.+]+", "THEN", text)
    return re.sub(WHO, "by WHO", re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d", "THEN", text))


def test_a_row_is_postponed_for_some_time(rows, capsys):
    assert re.fullmatch(
        r"1  postponed until \d{4}-\d\d-\d\d \d\d:\d\d: shop\.0001  change 1\n",
        command(capsys, "contract", "postpone", "1", "--for", "7d", "--reason", "the sale"),
    )
    first, second = rows()
    assert (first.status, first.reason, second.status) == (Status.POSTPONED, "the sale", Status.PENDING)
    assert timedelta(days=6, hours=23) < first.until - now() <= timedelta(days=7)
    assert status(capsys) == (
        "     1  postponed     0 s  shop.0001  change 1\n"
        "        THEN  postpone, until THEN, by WHO: the sale\n"
        f"     2  pending       0 s  shop.0002  change 2\n{UNKNOWN}"
    )


def test_a_row_is_postponed_until_a_moment_or_somebody_resumes_it(rows, capsys):
    command(capsys, "contract", "postpone", "1", "--until", "2126-12-01T08:00")
    assert command(capsys, "contract", "postpone", "2") == (
        "2  postponed until somebody resumes it: shop.0002  change 2\n"
    )
    first, second = rows()
    assert (f"{first.until:%Y-%m-%d}", second.until) == ("2126-12-01", None)


def test_a_row_is_skipped_with_a_reason(rows, capsys):
    assert command(capsys, "contract", "skip", "1", "2", "--reason", "a report reads it") == (
        "1  skipped: shop.0001  change 1\n2  skipped: shop.0002  change 2\n"
    )
    assert [(row.status, row.reason) for row in rows()] == [(Status.SKIPPED, "a report reads it")] * 2
    with pytest.raises(CommandError, match="the following arguments are required: --reason"):
        command(capsys, "contract", "skip", "1")


def test_a_row_is_resumed_as_it_was(rows, database, capsys):
    queue.rows(database, pk=2).update(status=Status.FAILED, attempts=1, last_error="no")
    command(capsys, "contract", "skip", "1", "2", "--reason", "a report reads it")
    assert command(capsys, "contract", "resume", "1", "2", "--reason", "it is gone") == (
        "1  resumed: shop.0001  change 1\n2  resumed: shop.0002  change 2\n"
    )
    first, second = rows()
    assert (first.status, first.reason, first.until) == (Status.PENDING, "", None)
    assert (second.status, second.last_error) == (Status.FAILED, "no")
    assert status(capsys).startswith(
        f"     1  pending       0 s  shop.0001  change 1\n{UNKNOWN}"
        "        THEN  skip, by WHO: a report reads it\n"
        "        THEN  resume, by WHO: it is gone\n"
    )


def test_all_rows_or_none(rows, database):
    with pytest.raises(CommandError) as caught:
        deciding.skip(database, [1, 7], reason="why not")
    assert str(caught.value) == (
        "No row 7 is left for the contract in database default. Look with: python manage.py safemigrations status"
    )
    with pytest.raises(CommandError, match="Row 1 is neither postponed nor skipped"):
        deciding.resume(database, [1], reason="")
    assert [row.status for row in rows()] == [Status.PENDING] * 2
    assert not kept(database)


def test_what_is_done_is_not_decided_about(rows, database):
    queue.rows(database, pk=1).update(status=Status.DONE)
    with pytest.raises(CommandError, match="No row 1 is left"):
        deciding.postpone(database, [1], until=None, reason="")


def test_acts_outlive_their_row(rows, database):
    deciding.skip(database, [1], reason="why not")
    queue.rows(database).delete()
    (act,) = kept(database)
    assert (act.act, act.migration, act.label, act.reason) == ("skip", "0001", "change 1", "why not")
    assert act.database_role == "postgres"
    assert re.fullmatch(r"\S+@\S+", act.os_user)


# status for scripts.


def test_status_as_json(rows, capsys):
    command(capsys, "contract", "postpone", "1", "--until", "2126-12-01T08:00", "--reason", "the sale")
    found = json.loads(command(capsys, "status", "--format", "json"))
    first, second = found["rows"]
    assert found["database"] == "default"
    assert {
        name: second[name] for name in ("number", "app", "migration", "label", "status", "until", "waits_for", "acts")
    } == {
        "number": 2,
        "app": "shop",
        "migration": "0002",
        "label": "change 2",
        "status": "pending",
        "until": None,
        "waits_for": UNKNOWN.partition("not now: ")[2].strip(),
        "acts": [],
    }
    (act,) = first["acts"]
    assert (act["act"], act["reason"], act["role"]) == ("postpone", "the sale", "postgres")
    assert datetime.fromisoformat(act["until"]) == datetime.fromisoformat(first["until"])


def test_status_shows_what_is_finished_when_it_is_asked(rows, database, capsys):
    queue.rows(database, pk=1).update(status=Status.DONE, finished_at=datetime(2026, 11, 1, 8, tzinfo=UTC))
    said = command(capsys, "status")
    assert said.startswith("Left for the contract in database default: 1\n")
    assert "change 1" not in said
    finished = shown_moment(datetime(2026, 11, 1, 8, tzinfo=UTC))  # in the time zone of the project
    assert command(capsys, "status", "--all") == f"{said}Finished: 1\n     1  {finished}  shop.0001  change 1\n"
    assert "finished" not in json.loads(command(capsys, "status", "--format", "json"))
    (finished,) = json.loads(command(capsys, "status", "--all", "--format", "json"))["finished"]
    assert (finished["number"], finished["migration"]) == (1, "0001")


def test_forgotten_rows_fail_until_somebody_decides(rows, database, capsys):
    queue.rows(database).update(created_at=now() - timedelta(days=8))
    command(capsys, "status", "--older-than", "9d")
    with pytest.raises(CommandError, match=r"^Forgotten: 1, 2\. Run migrate --contract, or decide about each: "):
        command(capsys, "status", "--older-than", "7d")
    deciding.skip(database, [1], reason="a report reads it")
    deciding.postpone(database, [2], until=now() + timedelta(hours=1), reason="")
    command(capsys, "status", "--older-than", "7d")
    queue.rows(database, pk=2).update(until=now())
    with pytest.raises(CommandError, match=r"^Forgotten: 2\."):
        command(capsys, "status", "--older-than", "7d")


@pytest.mark.parametrize("span", ["7", "d", "7 days", "-7d", "7y"])
def test_a_span_that_is_none(span, capsys):
    with pytest.raises(CommandError, match="is no span of time; write a number and s, m, h, d or w, such as 7d"):
        command(capsys, "status", f"--older-than={span}")


@pytest.mark.parametrize("moment", ["tomorrow", "2026-13-01", "08:00"])
def test_a_moment_that_is_none(moment, capsys):
    with pytest.raises(CommandError, match="is no time; write one such as 2026-12-01 or 2026-12-01T08:00"):
        command(capsys, "contract", "postpone", "1", f"--until={moment}")


# Adopted.


def test_a_row_of_a_squash_that_was_pruned_too_early_is_adopted(tmp_path, at):
    new = three_releases.squash(three_releases.tree(tmp_path, at("v2"), 2), replaces=False)
    new.manage("migrate", "--fake").check()
    adopt = ["safemigrations", "contract", "adopt", "1", "2", "--reason", "pruned"]
    assert new.manage(*adopt, "--as", "shop.0001_squash").check().stdout.splitlines() == [
        "1  adopted: shop.0001_squash  drop the database default of size of shop_item",
        "2  adopted: shop.0001_squash  drop note of shop_item",
    ]
    assert "adopt, migration shop.0001_squash, by " in new.manage("safemigrations", "status").check().stdout
    new.manage("migrate", "--contract", "--noinput").check()
    assert new.sql("SELECT status FROM safemigrations_contract") == [("done",)] * 2


def test_a_row_of_a_newer_release_is_not_adopted_by_an_old_one(tmp_path, at):
    old = three_releases.tree(tmp_path, at("v2"), 1)
    said = old.manage("safemigrations", "contract", "adopt", "1", "--as", "shop.0001_initial", "--reason", "no")
    assert re.fullmatch(
        r"CommandError: shop\.0002_size belongs to release v2 \([0-9a-f]{8}\), which is newer than this code\. "
        r"Run migrate --contract with that release, or a later one\.\n",
        said.stderr,
    )


def test_what_adopts_is_known_and_applied(rows, database):
    with pytest.raises(CommandError, match=r"^This code has no migration shop\.0009\. Write it as showmigrations does"):
        deciding.adopt(database, [1], migration="shop.0009", reason="")
    with pytest.raises(CommandError, match=r"^contenttypes\.0001_initial isn't applied in database default"):
        deciding.adopt(database, [1], migration="contenttypes.0001_initial", reason="")


def test_what_is_not_lost_is_not_adopted(rows, database):
    MigrationRecorder(database).record_applied("contenttypes", "0001_initial")
    queue.rows(database, pk=1).update(app_label="contenttypes", migration="0001_initial")
    with pytest.raises(CommandError, match=r"^This code has contenttypes\.0001_initial, so row 1 needs nobody"):
        deciding.adopt(database, [1], migration="contenttypes.0001_initial", reason="")


def test_two_rows_that_do_the_same_are_not_made_one(rows, database):
    MigrationRecorder(database).ensure_schema()
    MigrationRecorder(database).record_applied("contenttypes", "0001_initial")
    queue.rows(database, pk=2).update(app_label="contenttypes", migration="0001_initial", operation="Change(1)")
    with pytest.raises(CommandError, match=r"has left the same for the contract itself: change 1\. Skip row 1 instead"):
        deciding.adopt(database, [1], migration="contenttypes.0001_initial", reason="")
