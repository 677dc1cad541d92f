"""safemigrations verify: what it prints, how it ends, and how far a role comes that may only read."""

from __future__ import annotations

import json
from uuid import uuid4

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from .project import Project

ORDER = "class Order(models.Model):\n    total = models.IntegerField()\n"
NOTE = "    note = models.CharField(max_length=10, default='')\n"
OPEN = "BEGIN; SET LOCAL lock_timeout = '200ms'; SET LOCAL statement_timeout = '2s'; "


@pytest.fixture
def shop(project: Project) -> Project:
    project.write_models("shop", ORDER)
    project.manage("makemigrations", "shop").check()
    project.manage("migrate").check()
    return project


def test_a_difference_is_said_with_its_repair(shop, connect):
    nothing = shop.manage("safemigrations", "verify").check()
    assert nothing.stdout == "No drift in database default: 1 table compared.\n"
    connect().execute("ALTER TABLE shop_order ALTER total SET DEFAULT 1")
    text = "column total has default 1, where the migrations say no default"
    sql = f'{OPEN}ALTER TABLE "shop_order" ALTER COLUMN "total" DROP DEFAULT; COMMIT'
    said = shop.manage("safemigrations", "verify")
    assert said.returncode == 1
    assert said.stdout == f"shop_order: {text}\n  {sql};\n"
    assert said.stderr == "CommandError: 1 difference in database 'default'.\n"
    assert shop.manage("safemigrations", "verify", "--sql").stdout == f"-- shop_order: {text}\n{sql};\n"
    (line,) = json.loads(shop.manage("safemigrations", "verify", "--format", "json").stdout)["drift"]
    assert (line["kind"], line["table"], line["name"]) == ("column_default", "shop_order", "total")
    assert (line["text"], line["repair"]) == (text, [sql])
    shop.manage("safemigrations", "verify", "--ignore", "*.total").check()
    shop.set(SAFEMIGRATIONS={"VERIFY_IGNORE": ["shop_*"]})
    shop.manage("safemigrations", "verify").check()


def test_what_is_left_over_and_what_waits_for_long(shop, connect):
    shop.write_models("shop", ORDER + NOTE)
    shop.manage("makemigrations", "shop", "--name", "note").check()
    shop.manage("migrate").check()
    shop.manage("safemigrations", "verify").check()
    old = shop.manage("safemigrations", "verify", "--older-than", "0s")
    assert old.lines[1] == "  python manage.py migrate shop 0002_note --contract --only"
    connect().execute("ALTER TABLE shop_order ADD safemig_note text")
    connect().execute("CREATE SCHEMA another CREATE TABLE django_migrations () CREATE TABLE its (safemig_note text)")
    left = shop.manage("safemigrations", "verify")
    assert left.lines == [
        "public.shop_order: column safemig_note is left over: nothing needs it any more",
        f'  {OPEN}ALTER TABLE public.shop_order DROP COLUMN "safemig_note"; COMMIT;',
    ]


@pytest.mark.parametrize(
    ("harm", "lacks"),
    [
        ("DROP TABLE safemigrations_contract", "is missing"),
        ("DELETE FROM safemigrations_contract", "has no row of shop.0002_order_total"),
    ],
)
def test_what_an_open_contract_may_need_is_not_left_over(shop, connect, harm, lacks):
    """A restore has left out the table that says what it is for, or its rows."""
    shop.write_models("shop", ORDER.replace("Integer", "BigInteger"))
    shop.manage("makemigrations", "shop", "--name", "order_total").check()
    shop.manage("migrate").check()
    connect().execute(f"{harm}; ALTER TABLE shop_order ADD safemig_note text")
    said = shop.manage("safemigrations", "verify")
    assert said.lines == [
        (
            f"safemigrations_contract: the table {lacks}, and nobody else knows whether the contract of "
            "shop.0002_order_total has run. It may still need safemig_total_old, "
            "zzz_safemig_5_shop_order_safemig_total_old_follow"
        ),
        (
            "  -- Restore its rows from the backup. Or take the migration back and apply it again: python manage.py "
            "migrate shop 0001_initial and python manage.py migrate;"
        ),
        "public.shop_order: column safemig_note is left over: nothing needs it any more",
        f'  {OPEN}ALTER TABLE public.shop_order DROP COLUMN "safemig_note"; COMMIT;',
    ]
    connect().execute("ALTER TABLE shop_order DROP safemig_note")
    shop.manage("migrate", "shop", "0001").check()
    shop.manage("migrate").check()
    shop.manage("safemigrations", "verify").check()
    shop.manage("migrate", "--contract", "--noinput").check()
    connect().execute("ALTER TABLE shop_order ADD safemig_total_old integer")
    assert "column safemig_total_old is left over" in shop.manage("safemigrations", "verify").stdout


def test_a_column_that_an_open_contract_needs_is_missed(shop, connect):
    """Adding it would not be enough: it is kept equal to another one, and filled from that."""
    shop.write_models("shop", ORDER.replace("total", "amount"))
    shop.manage("makemigrations", "shop", input="y\n").check()
    shop.manage("migrate").check()
    connect().execute("ALTER TABLE shop_order DROP COLUMN amount CASCADE")
    said = shop.manage("safemigrations", "verify")
    assert said.lines == [
        "shop_order: column amount is missing, which a contract that is open, or a backfill, needs",
        "  -- Take the migration back with migrate, and apply it again: that adds the column, and fills it;",
    ]
    shop.manage("migrate", "shop", "0001").check()
    shop.manage("migrate").check()
    shop.manage("safemigrations", "verify").check()


def test_an_edited_migration_is_named(shop):
    text = shop.read_migration("shop", "0001_initial")
    shop.write_migration("shop", "0001_initial", text + "# by hand\n")
    shop.manage("safemigrations", "verify").check()
    edited = text.replace("models.IntegerField()", "models.IntegerField(help_text='in cents')")
    shop.write_migration("shop", "0001_initial", edited)
    said = shop.manage("safemigrations", "verify")
    assert said.returncode == 1
    assert "was changed since it was applied here" in said.lines[0]


def test_a_role_that_may_only_read_says_how_far_it_got(shop, dsn, connect):
    role, name = f"reader_{uuid4().hex[:8]}", psycopg.conninfo.conninfo_to_dict(dsn)["dbname"]
    owner = connect()
    owner.execute(f"CREATE ROLE {role} LOGIN; REVOKE TEMPORARY ON DATABASE {name} FROM PUBLIC")
    owner.execute(f"GRANT SELECT ON django_migrations TO {role}")
    owner.execute("ALTER TABLE shop_order ALTER total DROP NOT NULL; ALTER TABLE shop_order ALTER total SET DEFAULT 1")
    reader = Project(shop.folder, make_conninfo(dsn, user=role))
    reader.write_models("shop", ORDER)
    said = reader.manage("safemigrations", "verify")
    owner.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")
    assert said.returncode == 1, said
    assert said.lines[0] == "shop_order: column total may be null, where the migrations say NOT NULL"
    notes = [line for line in said.lines if line.startswith("Note: ")]
    assert "may make no temporary tables" in " ".join(notes)
    assert "whether sequences are behind" in " ".join(notes)


def test_a_role_that_may_not_read_our_tables_is_told_which(shop, dsn, connect):
    """By all that only prints; with what it says somebody typed, they print."""
    role, owner = f"Reader {uuid4().hex[:8]}", connect()
    owner.execute(f'CREATE ROLE "{role}" LOGIN; GRANT SELECT ON django_migrations TO "{role}"')
    reader = Project(shop.folder, make_conninfo(dsn, user=role))
    reader.write_models("shop", ORDER)
    commands = ["safemigrations plan", "safemigrations history", "safemigrations status", "migrate --plan"]
    said = {reader.manage(*command.split()).stderr for command in [*commands, "migrate --contract --plan"]}
    (refusal,) = said
    assert refusal.startswith(f"StepFailed: The role {role} may not read safemigrations_act, ")
    assert "safemigrations_history, " in refusal
    owner.execute(refusal.partition("type: ")[2].encode())
    for command in commands:
        reader.manage(*command.split()).check()
    owner.execute(f'DROP OWNED BY "{role}"; DROP ROLE "{role}"')
