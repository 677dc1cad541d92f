"""migrate --to-release: what a release doesn't know is unapplied, in one command, or nothing is."""

from __future__ import annotations

import json
import re

import psycopg
import pytest

from tests import three_releases

THIRD = three_releases.MIGRATIONS["0003_title"]
EVERYTHING = "SELECT name FROM django_migrations ORDER BY id"


@pytest.fixture
def releases(tmp_path, at):
    """Three releases that have migrated, one after the other; no contract has run."""
    return three_releases.trees(tmp_path, at("v3"))


def steady(text):
    return re.sub(r"\d+\.\d+ s\b", "N s", re.sub(r"\([0-9a-f]{8}\)", "(MARK)", text))


def applied(project):
    return [name for (name,) in project.sql(EVERYTHING)]


def columns(project):
    found = project.sql("SELECT column_name FROM information_schema.columns WHERE table_name = 'shop_item'")
    return {name for (name,) in found}


def test_back_to_the_release_before(releases):
    _, _, new = releases
    said = new.manage("migrate", "--to-release", "v2").check().stdout
    assert steady(said).splitlines()[:3] == [
        "Going back to release v2 (MARK):",
        "  Rendering model states... DONE",
        "  Unapplying shop.0003_title...",
    ]
    assert applied(new) == ["0001_initial", "0002_size"]
    assert columns(new) == {"id", "name", "note", "size"}


def test_back_over_two_releases_in_one_command(releases):
    old, _, new = releases
    said = new.manage("migrate", "--to-release", "v1").check().stdout
    assert re.findall(r"Unapplying (\S+)\.\.\.", said) == ["shop.0003_title", "shop.0002_size"]
    assert applied(new) == ["0001_initial"]
    assert columns(new) == {"id", "name", "note"}
    assert new.sql("SELECT * FROM safemigrations_contract") == []
    old.manage("migrate", "--check").check()


def test_a_release_is_called_by_its_mark_too(releases):
    _, _, new = releases
    (mark,) = new.sql("SELECT mark FROM safemigrations_release WHERE label = 'v2'")[0]
    new.manage("migrate", "--to-release", mark).check()
    assert applied(new) == ["0001_initial", "0002_size"]


def test_the_plan_changes_nothing(releases):
    _, _, new = releases
    assert steady(new.manage("migrate", "--to-release", "v1", "--plan").check().stdout) == (
        "Going back to release v1 (MARK):\n  Would unapply shop.0003_title\n  Would unapply shop.0002_size\n"
    )
    assert len(applied(new)) == 3


def test_to_a_release_that_knows_everything(releases):
    _, _, new = releases
    assert steady(new.manage("migrate", "--to-release", "v3").check().stdout) == (
        "Going back to release v3 (MARK):\n  It knows everything that is applied.\n"
    )


def test_before_what_is_left_for_the_contract(releases):
    _, second, new = releases
    assert "Going back to release v1 " in new.manage("migrate", "--before-contract", "--plan").check().stdout
    second.manage("migrate", "shop", "0002").check()
    new.sql("UPDATE safemigrations_contract SET status = 'done', attempts = 1 WHERE migration = '0002_size'")
    assert "Going back to release v2 " in new.manage("migrate", "--before-contract").check().stdout
    assert applied(new) == ["0001_initial", "0002_size"]
    said = re.sub(r"first seen [\d: -]+", "first seen DAY", steady(new.manage("migrate", "--before-contract").stderr))
    assert said == (
        "CommandError: Nothing is left for the contract in database default, so no release is before it. These "
        "releases have migrated it:\n"
        "  release v1 (MARK), first seen DAY\n"
        "  release v2 (MARK), first seen DAY\n"
        "  release v3 (MARK), first seen DAY\n"
        "Name one: python manage.py migrate --to-release MARK\n"
    )


def test_what_is_contracted_is_refused(releases):
    _, _, new = releases
    new.sql("UPDATE safemigrations_contract SET status = 'done', attempts = 1 WHERE migration = '0002_size'")
    assert steady(new.manage("migrate", "--to-release", "v1").stderr) == (
        "CommandError: The contract has run, so release v1 (MARK) can't be gone back to without a loss. Nothing was "
        "changed. These rows have run:\n"
        "     1  done     shop.0002_size  drop the database default of size of shop_item\n"
        "     2  done     shop.0002_size  drop note of shop_item\n"
        "A new release that goes forward is nearly always better. What reversing one of them does: "
        "python manage.py sqlmigrate APP MIGRATION --backwards\n"
    )
    assert len(applied(new)) == 3
    new.manage("migrate", "--to-release", "v2").check()


def test_an_old_release_can_not_go_back_from_what_it_does_not_know(releases):
    _, second, _ = releases
    assert steady(second.manage("migrate", "--to-release", "v1").stderr) == (
        "CommandError: shop.0003_title: applied, unknown to release v1 (MARK), and unknown to this code too. "
        "Nothing was changed. Go back with the code of the newest release.\n"
    )


def test_a_release_that_nobody_knows(releases):
    _, _, new = releases
    said = new.manage("migrate", "--to-release", "v0").stderr
    assert re.fullmatch(
        r"CommandError: No release v0 has migrated database default\. These have:\n"
        r"(  release v[123] \([0-9a-f]{8}\), first seen \d{4}-\d\d-\d\d \d\d:\d\d\n){3}",
        said,
    )


def test_two_releases_of_one_name(releases):
    _, _, new = releases
    new.sql("UPDATE safemigrations_release SET label = 'v1'")
    said = new.manage("migrate", "--to-release", "v1").stderr
    assert said.startswith("CommandError: 3 releases are called v1. Say which one, by its mark:\n  release v1 (")


def test_what_has_no_way_back_is_said_before_anything_is_changed(releases):
    _, _, new = releases
    operation = "migrations.RunSQL('SELECT 1'),"
    new.write_migration("shop", "0004_report", three_releases.migration(operation, "0003_title"))
    new.manage("migrate").check()
    assert new.manage("migrate", "--to-release", "v1").stderr == (
        "CommandError: These have no way back, and nothing was changed:\n  shop.0004_report  Raw SQL operation\n"
    )
    assert len(applied(new)) == 4


def test_it_goes_alone(releases):
    _, _, new = releases
    assert new.manage("migrate", "shop", "--to-release", "v1").stderr == (
        "CommandError: --to-release and --before-contract take no app and no other way to migrate beside them.\n"
    )


def squashed(releases, names, **more):
    """A tree in which these migrations are one, for all that it does not say more."""
    _, _, new = releases
    operations = "".join(three_releases.MIGRATIONS[name] for name in names)
    before = three_releases.NAMES[three_releases.NAMES.index(names[0]) - 1]
    for name in names:
        (new.folder / "shop" / "migrations" / f"{name}.py").unlink()
    replaces = [("shop", name) for name in names]
    new.write_migration("shop", "0002_squash", three_releases.migration(operations, before, replaces=replaces))
    new.set(SAFEMIGRATIONS={"RELEASE": "v4"})
    new.manage("migrate").check()
    return new


def test_a_squash_is_unapplied_as_a_whole(releases):
    new = squashed(releases, three_releases.NAMES[1:])
    new.manage("migrate", "--to-release", "v1").check()
    assert applied(new) == ["0001_initial"]
    assert columns(new) == {"id", "name", "note"}


def test_a_squash_is_not_unapplied_in_part(releases):
    new = squashed(releases, three_releases.NAMES[1:])
    assert steady(new.manage("migrate", "--to-release", "v2").stderr) == (
        "CommandError: shop.0002_squash was squashed from migrations of which release v2 (MARK) has only some, so it "
        "can't be unapplied in part. Do it with the code from before the squash.\n"
    )


def test_a_squash_of_what_the_release_has_stays(releases):
    new = squashed(releases, three_releases.NAMES[1:])
    assert "  It knows everything that is applied." in new.manage("migrate", "--to-release", "v3").check().stdout


def test_a_squash_that_was_pruned_since_is_still_known(tmp_path, at):
    second = three_releases.tree(tmp_path, at("v2 contracted"), 2)
    for replaces in (True, False):
        pruned = three_releases.squash(second, replaces=replaces)
        pruned.manage("migrate").check()
    pruned.set(SAFEMIGRATIONS={"RELEASE": "next"})
    pruned.write_migration("shop", "0002_title", three_releases.migration(THIRD, "0001_squash"))
    pruned.manage("migrate").check()
    pruned.manage("migrate", "--to-release", "pruned").check()
    assert applied(pruned) == ["0001_initial", "0002_size", "0001_squash"]


# Nothing goes under a release that needs it.


def test_an_old_release_reverses_nothing_under_what_it_does_not_know(releases):
    _, second, _ = releases
    said = second.manage("migrate", "shop", "0001")
    assert said.returncode == 1
    assert steady(said.stderr) == (
        "CommandError: shop.0003_title is applied, which this code doesn't know, and may need what would be unapplied "
        "(shop.0002_size). Nothing was changed. Go back with the code of release v3 (MARK), or a later one. "
        "--force goes on all the same.\n"
    )
    assert len(applied(second)) == 3


@pytest.fixture
def web(releases):
    """A session of the third release, and its process id."""
    _, _, new = releases
    (mark,) = new.sql("SELECT mark FROM safemigrations_release WHERE label = 'v3'")[0]
    with psycopg.connect(new.dsn, application_name=f"web safemig:{mark}") as session:
        yield session


def not_now(pid):
    return (
        "NotNow: sessions of a release that needs what would be unapplied (shop.0003_title):\n"
        f"  pid {pid}  web  release v3 (MARK)\n"
        "Nothing was changed. When they have gone, run the same command again. --force goes on without waiting.\n"
    )


@pytest.mark.parametrize("way", [["--to-release", "v2"], ["shop", "0002"]], ids=["to-release", "by name"])
def test_a_release_that_is_still_there_keeps_what_it_needs(releases, web, way):
    _, _, new = releases
    said = new.manage("migrate", *way)
    assert (steady(said.stderr), said.returncode) == (not_now(web.info.backend_pid), 75)
    assert len(applied(new)) == 3
    new.manage("migrate", *way, "--force").check()
    assert applied(new) == ["0001_initial", "0002_size"]


def test_the_release_that_is_gone_back_to_may_be_there(releases):
    _, _, new = releases
    (mark,) = new.sql("SELECT mark FROM safemigrations_release WHERE label = 'v2'")[0]
    with psycopg.connect(new.dsn, application_name=f"safemig:{mark}"), psycopg.connect(new.dsn):
        new.manage("migrate", "--to-release", "v2").check()


def test_a_strict_gate_waits_for_sessions_without_a_mark(releases):
    _, _, new = releases
    new.set(SAFEMIGRATIONS={"GATE": "strict"})
    with psycopg.connect(new.dsn, application_name="report") as session:
        said = new.manage("migrate", "--to-release", "v2")
        assert f"  pid {session.info.backend_pid}  report  without a mark\n" in said.stderr
        assert said.returncode == 75
    with psycopg.connect(new.dsn, application_name="psql"):
        new.manage("migrate", "--to-release", "v2").check()


def test_the_way_back_is_told_as_events(releases):
    _, _, new = releases
    told = [json.loads(line) for line in new.manage("migrate", "--to-release", "v2", "--format", "json").check().lines]
    assert [one["event"] for one in told if not one["event"].startswith("step_")] == [
        "run_started",
        "migration_expanding",
        "migration_expanded",
        "run_ended",
    ]
    assert (told[0]["command"], told[-1]["outcome"]) == ("migrate --to-release", "done")
    assert {(one["migration"], one["direction"]) for one in told[1:-1]} == {("shop.0003_title", "backwards")}
    assert len({one["run"] for one in told}) == 1
