"""preflight names what would stop or slow down a migrate, each with what to do, and changes nothing."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO
from uuid import uuid4

import psycopg
import pytest
from django.core.management import call_command
from django.db.backends.base.base import BaseDatabaseWrapper
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from safemigrations.contracts.table import Contract
from safemigrations.inspecting.preflight import asked, others
from safemigrations.inspecting.preflight.remark import Remark, Severity
from safemigrations.running.foreseeing.ahead import Ahead
from safemigrations.running.session import Session
from safemigrations.running.storage import ensure_table
from testproject.postgres import DEFAULT_VERSION, embedded, replica
from tests.project import Project
from tests.shared_pooler import pooler
from tests.test_pooler import LEFT

TITLE = "    title = models.CharField(max_length=20)\n"
BOOK = f"class Book(models.Model):\n{TITLE}"
WITH_NOTE = BOOK + "    note = models.TextField(null=True)\n"
WITH_PAGES = BOOK + "    pages = models.IntegerField(default=1)\n"
BY_HAND = """from django.db import migrations
class Migration(migrations.Migration):
    dependencies = [("shop", "0001_initial")]
    operations = [migrations.RunPython(migrations.RunPython.noop)]
"""


@pytest.fixture
def shop(project: Project) -> Project:
    """With a migration that is applied, and one that isn't."""
    return ready(project)


def ready(project: Project) -> Project:
    project.write_models("shop", BOOK)
    project.manage("makemigrations").check()
    project.manage("migrate").check()
    project.write_models("shop", WITH_PAGES)
    project.manage("makemigrations").check()
    return project


def remarks(project: Project, *args: str, status: int = 0) -> list[dict[str, str]]:
    result = project.manage("safemigrations", "preflight", *args, "--format", "json")
    assert result.returncode == status, result.stdout + result.stderr
    assert result.stdout, result.stderr
    found: list[dict[str, str]] = json.loads(result.stdout)
    return found


def one(project: Project, name: str, *args: str, status: int = 0) -> dict[str, str]:
    (found,) = [remark for remark in remarks(project, *args, status=status) if remark["name"] == name]
    return found


def names(found: list[dict[str, str]]) -> set[str]:
    return {remark["name"] for remark in found if remark["severity"] != "note"}


def test_where_nothing_is_in_the_way(project):
    project.write_models("shop", BOOK)
    project.manage("makemigrations").check()
    assert project.manage("safemigrations", "preflight").check().stdout == "Nothing is in the way.\n"
    ready(project)
    assert names(remarks(project)) == set()
    assert project.sql("SELECT to_regclass('safemigrations_contract')") == [(None,)], "nothing is changed"


# The session.


@pytest.mark.parametrize("accepted", [None, "session"])
def test_a_pooler_that_gives_its_sessions_to_others(tmp_path, dsn, accepted):
    """Also where POOLER says that it doesn't."""
    with pooler(dsn) as pooled:
        project = Project(tmp_path, pooled, SAFEMIGRATIONS={"POOLER": accepted})
        project.write_models("shop", BOOK)
        project.manage("makemigrations").check()
        found = [remark["found"] for remark in remarks(project, status=1) if remark["severity"] == "refuse"]
        assert found
        refused = project.manage("migrate")
        assert (refused.returncode, refused.stderr.startswith(f"StepFailed: {found[0]} Nothing was changed.")) == (
            1,
            True,
        )
        with psycopg.connect(dsn) as direct:
            assert direct.execute("SELECT to_regclass('django_migrations')").fetchone() == (None,)
            assert direct.execute(LEFT).fetchone() == (0,)


def test_a_pooler_that_keeps_sessions(tmp_path, dsn):
    with pooler(dsn, mode="session") as pooled:
        project = ready(Project(tmp_path, pooled, SAFEMIGRATIONS={"POOLER": "session"}))
        assert one(project, "pooler")["severity"] == "note"
        project.manage("migrate").check()


def test_a_standby(tmp_path):
    """And what replicas and slots of the primary are behind."""
    with embedded(DEFAULT_VERSION, "wal_level = replica\nmax_wal_senders = 4\n") as dsn, replica(dsn) as standby:
        primary = ready(Project(tmp_path / "primary", dsn))
        wait_for(standby, "SELECT to_regclass('shop_book') IS NOT NULL")
        project = Project(tmp_path / "standby", standby)
        assert one(project, "writable", status=1) == {
            "name": "writable",
            "severity": "refuse",
            "found": "The server of database 'default' is a standby, which takes no writes.",
            "do": "Migrate the primary.",
        }
        standby_is = "The server of database 'default' is a standby, which takes no writes. Nothing was changed. "
        for line, cure in (
            ("migrate --contract", "Migrate the primary."),
            ("safemigrations contract skip 1 --reason why", "Type the same for the primary."),
            ("safemigrations backfill pause", "Type the same for the primary."),
        ):
            refused = project.manage(*line.split())
            assert (refused.returncode, refused.stderr) == (1, f"StepFailed: {standby_is}{cure}\n"), line
        assert project.manage("safemigrations", "status").check().lines == [
            "Left for the contract in database default: 0"
        ]
        primary.sql("SELECT pg_create_physical_replication_slot('left_over', true)")
        slot = one(primary, "replication_slot")
        assert slot["found"].startswith("Nobody reads the replication slot left_over, which retains ")
        assert slot["do"].endswith("type: SELECT pg_drop_replication_slot('left_over');")
        primary.sql(slot["do"].partition("type: ")[2])
        assert "replication_slot" not in names(remarks(primary))


def wait_for(dsn: str, query: str) -> None:
    end = time.monotonic() + 30
    with psycopg.connect(dsn, autocommit=True) as connection:
        while connection.execute(query).fetchone() != (True,):
            assert time.monotonic() < end
            time.sleep(0.05)


@contextmanager
def role(dsn: str, grants: str) -> Iterator[tuple[str, str]]:
    """A new role, and the connection string with which it connects."""
    name = f"poor_{uuid4().hex[:8]}"
    with psycopg.connect(dsn, autocommit=True) as admin:
        admin.execute(f"CREATE ROLE {name} LOGIN")
        for grant in filter(None, grants.split(";")):
            admin.execute(grant.format(name))
        yield name, make_conninfo(dsn, user=name)
        admin.execute(f"REASSIGN OWNED BY {name} TO CURRENT_USER; DROP OWNED BY {name}; DROP ROLE {name}")


def as_role(project: Project, dsn: str) -> Project:
    """The same project, connected in another way."""
    migrations = {name: project.read_migration("shop", name) for name in project.migration_files("shop")}
    other = Project(project.folder, dsn)
    for name, text in migrations.items():
        other.write_migration("shop", name, text)
    return other


def test_a_role_that_may_do_nothing(shop, dsn):
    with role(dsn, "") as (name, conninfo):
        project = as_role(shop, conninfo)
        found = one(project, "writable", status=1)
        assert found["found"] == f"The role {name} may not use the table django_migrations."
        assert found["do"].endswith(f'type: GRANT SELECT, INSERT, DELETE ON django_migrations TO "{name}"')
        assert project.manage("migrate").stderr == f"StepFailed: {found['found']} Nothing was changed. {found['do']}\n"


def test_a_role_that_owns_nothing_and_may_not_create(shop, dsn):
    with role(dsn, "GRANT ALL ON ALL TABLES IN SCHEMA public TO {}") as (name, conninfo):
        project = as_role(shop, conninfo)
        found = [remark for remark in remarks(project, status=1) if remark["severity"] == "refuse"]
        assert {remark["do"].rpartition("type: ")[2] for remark in found} == {
            f'GRANT "{conninfo_to_dict(dsn)["user"]}" TO "{name}"',
            f'GRANT CREATE ON SCHEMA "public" TO "{name}"',
        }
        refused = project.manage("migrate").stderr
        assert all(remark["found"] in refused and remark["do"] in refused for remark in found)


def test_connections_that_are_few(shop, dsn):
    with role_with_two_connections(dsn) as (name, conninfo):
        few = one(as_role(shop, conninfo), "connections")
        assert few["found"].startswith("1 connection of 2 are free by the limit of the role")
        assert few["do"] == f'ALTER ROLE "{name}" CONNECTION LIMIT 5;'
        shop.sql(few["do"])
        assert "connections" not in names(remarks(as_role(shop, conninfo)))


def test_no_second_connection(shop, dsn):
    with role_with_two_connections(dsn) as (_, conninfo), psycopg.connect(conninfo):
        second = one(as_role(shop, conninfo), "second_connection", status=1)
        assert second["found"].startswith("migrate needs a second connection")


@contextmanager
def role_with_two_connections(dsn: str) -> Iterator[tuple[str, str]]:
    """A new one: connections count until the server has ended them, which is later than when they are closed."""
    owner = conninfo_to_dict(dsn)["user"]
    with role(dsn, f"GRANT {owner} TO {{}};ALTER ROLE {{}} CONNECTION LIMIT 2") as found:
        yield found


def test_timeouts_of_the_role(shop, dsn):
    """Steps of ours are not ended by them, so they are a note; RunPython is, so they are a warning."""
    owner = conninfo_to_dict(dsn)["user"]
    limits = [f"ALTER ROLE {{0}} SET {name} = '5s'" for name in ("statement_timeout", "lock_timeout")]
    grants = ";".join([f"GRANT {owner} TO {{0}}", *limits])
    with role(dsn, grants) as (_, conninfo):
        project = as_role(shop, conninfo)
        assert {remark["severity"] for remark in remarks(project) if remark["name"] == "timeout"} == {"note"}
        project.write_migration(
            "shop", "0003_by_hand", BY_HAND.replace("0001_initial", project.migration_files("shop")[1])
        )
        (warned,) = [remark for remark in remarks(project) if remark["severity"] == "warn"]
        assert warned["found"] == (
            "statement_timeout is 5s (set for the role): it counts for statements of shop.0003_by_hand, and not for "
            "our steps."
        )
        shop.sql(warned["do"].rpartition("types: ")[2])
        assert names(remarks(project)) == set()


def test_a_session_that_is_read_only(shop):
    shop.sql(
        "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET default_transaction_read_only = on', current_database());"
        " END $$"
    )
    assert "(default_transaction_read_only is on)" in one(shop, "writable", status=1)["found"]


# Others.


def test_transactions_that_are_old_or_prepared(shop, connect, monkeypatch):
    session = connect()
    session.execute("BEGIN; SELECT FROM shop_book")
    with connect() as other:
        other.execute("BEGIN; INSERT INTO shop_book (title) VALUES ('x'); PREPARE TRANSACTION 'of a bank''s'")
    prepared = one(shop, "prepared_transaction")
    shop.sql(prepared["do"].rpartition("type: ")[2])
    assert "prepared_transaction" not in names(remarks(shop))


def test_old_transactions_are_named(database, connect):
    session = connect()
    session.execute("BEGIN; SELECT pg_sleep(0.01)")
    ours = Session(database)
    assert list(others.transactions(ours)) == [], "not older than a minute"
    (found,) = others.transactions(ours, older_than=0.0)
    assert found.do == f"Wait until it has ended, or type: SELECT pg_terminate_backend({session.info.backend_pid});"
    session.execute("ROLLBACK")
    assert list(others.transactions(ours, older_than=0.0)) == []


def test_event_triggers(shop):
    shop.sql("CREATE FUNCTION watch() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END'")
    shop.sql("CREATE EVENT TRIGGER watch ON ddl_command_end EXECUTE FUNCTION watch()")
    found = one(shop, "event_trigger")
    assert (found["severity"], found["found"].partition(",")[0]) == (
        "note",
        "The event trigger watch runs watch() at ddl_command_end",
    )


# Replication.


def test_a_subscriber_needs_the_column_first(shop, two_databases, dsn):
    """What is to be typed there is typed there."""
    _, other = two_databases
    shop.sql("SET client_min_messages = error; CREATE PUBLICATION everything FOR ALL TABLES")
    with other.cursor() as cursor:
        cursor.execute("CREATE TABLE shop_book (id bigint PRIMARY KEY, title varchar(20) NOT NULL)")
        warned = one(shop, "publication")
        assert warned["found"].startswith("shop_book is published by everything, and gets columns.")
        cursor.execute(warned["do"].rpartition("first: ")[2])
        cursor.execute(
            "SELECT string_agg(attname, ' ' ORDER BY attnum) FROM pg_attribute WHERE attnum > 0"
            " AND attrelid = 'shop_book'::regclass"
        )
        assert cursor.fetchone() == ("id title pages",)
    said = shop.manage("migrate").check().stdout
    assert f"Before the first step: {warned['found']}\n" in said
    assert "What to do: python manage.py safemigrations preflight\n" in said


def test_replication_goes_on_where_what_is_said_is_typed_there(tmp_path):
    """On two servers: a column comes, and another may be null and goes."""
    logical = "wal_level = logical\nmax_wal_senders = 4\n"
    with embedded(DEFAULT_VERSION, logical) as dsn, embedded(DEFAULT_VERSION) as there:
        project = ready(Project(tmp_path, dsn))
        project.sql("CREATE PUBLICATION books FOR TABLE shop_book")
        with psycopg.connect(there, autocommit=True) as subscriber:
            subscriber.execute("CREATE TABLE shop_book (id bigint PRIMARY KEY, title varchar(20) NOT NULL)")
            subscriber.execute(f"CREATE SUBSCRIPTION books CONNECTION '{dsn}' PUBLICATION books")
            arrives(project, there, "INSERT INTO shop_book (title) VALUES ('before')")
            follow(project, subscriber, "migrate")
            arrives(project, there, "INSERT INTO shop_book (title, pages) VALUES ('with pages', 7)")
            project.write_models("shop", WITH_PAGES.replace(TITLE, ""))
            project.manage("makemigrations").check()
            follow(project, subscriber, "migrate")
            arrives(project, there, "INSERT INTO shop_book (pages) VALUES (8)")
            follow(project, subscriber, "migrate", "--contract")
            arrives(project, there, "INSERT INTO shop_book (pages) VALUES (9)")
            subscriber.execute("DROP SUBSCRIPTION books")


def follow(project: Project, subscriber: psycopg.Connection, *command: str) -> None:
    """Type there what preflight says, and run the command here."""
    said = one(project, "publication", *command[1:])
    if said["severity"] == "warn":
        subscriber.execute(said["do"].rpartition("first: ")[2].encode())
    project.manage(*command).check()


def arrives(project: Project, there: str, insert: str) -> None:
    """Who has subscribed gets the row."""
    ((number,),) = project.sql(f"{insert} RETURNING id")
    wait_for(there, f"SELECT EXISTS (SELECT FROM shop_book WHERE id = {number})")


def test_a_column_of_a_stock_operation_too(shop):
    shop.write_models("shop", WITH_PAGES + "    note = models.TextField(null=True)\n")
    shop.manage("makemigrations").check()
    shop.sql("SET client_min_messages = error; CREATE PUBLICATION books FOR TABLE shop_book")
    assert 'ADD COLUMN "note" text NULL;' in one(shop, "publication")["do"]


def test_a_publication_of_some_columns_has_no_new_one(shop):
    shop.sql("SET client_min_messages = error; CREATE PUBLICATION titles FOR TABLE shop_book (id, title)")
    assert "publication" not in {remark["name"] for remark in remarks(shop)}


# The contract, and disks.


def test_before_a_contract(shop):
    shop.manage("migrate").check()
    assert names(remarks(shop, "--contract")) == set()
    shop.sql("SET client_min_messages = error; CREATE PUBLICATION books FOR TABLE shop_book")
    assert one(shop, "publication", "--contract")["severity"] == "note"
    assert "publication" not in {remark["name"] for remark in remarks(shop, "shop", "0001", "--contract")}


def test_room_on_the_disk(shop):
    assert "are free on the disk of the data directory" in one(shop, "disk")["found"]


def test_a_role_that_may_not_know_where_the_data_is(shop, dsn):
    with role(dsn, "GRANT ALL ON ALL TABLES IN SCHEMA public TO {}") as (_, conninfo):
        assert "can't be asked from here" in one(as_role(shop, conninfo), "disk", status=1)["found"]


def test_nothing_is_asked_where_nothing_is_to_be_migrated(database, monkeypatch):
    asked_about, really = list[Ahead](), asked.warnings

    def noted(connection: BaseDatabaseWrapper, ahead: Ahead) -> list[Remark]:
        asked_about.append(ahead)
        return really(connection, ahead)

    monkeypatch.setattr(asked, "warnings", noted)
    call_command("migrate", stdout=StringIO())
    call_command("migrate", stdout=StringIO())
    assert asked_about == [], "the first migrate spares nobody, and the second has nothing to do"
    call_command("migrate", "auth", "0011", stdout=StringIO())
    assert len(asked_about) == 1


# Our own tables.


def test_who_may_write_our_tables(database, other_connection):
    ensure_table(database, Contract)
    other_connection.execute("GRANT INSERT, SELECT ON safemigrations_contract TO pg_monitor")
    for found in (asked.of_plan(database, Ahead()), asked.warnings(database, Ahead())):
        (remark,) = [one for one in found if one.name == "own_tables"]
        assert remark.severity == Severity.WARN
        assert remark.do.endswith("type: REVOKE INSERT ON safemigrations_contract FROM pg_monitor;")
    other_connection.execute("REVOKE INSERT ON safemigrations_contract FROM pg_monitor")
    assert not [one for one in asked.warnings(database, Ahead()) if one.name == "own_tables"]
