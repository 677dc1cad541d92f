"""A way in: what somebody with few rights writes is never run with the rights of who migrates."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest
from django.db import models
from django.db.migrations import AlterField, CreateModel
from django.db.models import F, Q, Value
from django.test import override_settings

from safemigrations.operations import Backfill

from .conftest import Role
from .deployment import Deployment
from .library import BIGGER, BY_FUNCTION, COMPUTED, LATER, NOT_NULL, RENAMED, TEXT, UNIQUE, library

OURS = ["safemigrations_contract", "safemigrations_backfill", "safemigrations_backfill_section"]
OPEN_TO_ALL = "ALTER DEFAULT PRIVILEGES FOR ROLE {0} IN SCHEMA public GRANT {1} ON TABLES TO {2}"
PRIVILEGES = ["SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE"]
WRITES = PRIVILEGES[1:]


@pytest.fixture
def application(role: Role) -> str:
    """The role of the application, which may write every table."""
    return role("application")


@pytest.fixture
def served(shop: Deployment, owner: str, application: str) -> Deployment:
    """A library as most deploy theirs: one role owns the tables, and another gets its rights on them by default."""
    for kind in PRIVILEGES:
        shop.sql(OPEN_TO_ALL.format(f'"{owner}"', kind, f'"{application}"'))
    with shop.as_role(owner), override_settings(SAFEMIGRATIONS=LATER):
        library(shop)
        shop.deploy(RENAMED.operation).check()
        shop.deploy(Backfill("book", {"note": F("title")}, where=Q(note=None), can_wait=True)).check()
    return shop


# Our tables.


@pytest.mark.parametrize("privilege", WRITES)
@pytest.mark.parametrize("table", OURS)
def test_tables_of_our_own_are_for_the_migrating_role_alone(served, application, table, privilege):
    assert served.sql(f"SELECT has_table_privilege('{application}', '{table}', '{privilege}')") == [False]


@pytest.mark.parametrize("privilege", WRITES)
@pytest.mark.parametrize("table", OURS[:2])
def test_where_others_may_write_them_nothing_of_them_is_run(shop, owner, application, table, privilege):
    """They were made by a version before, or somebody granted it: the message has the REVOKE to type."""
    with shop.as_role(owner), override_settings(SAFEMIGRATIONS=LATER):
        library(shop)
        shop.deploy(RENAMED.operation).check()
        shop.deploy(Backfill("book", {"note": F("title")}, where=Q(note=None), can_wait=True)).check()
        shop.sql(f'GRANT {privilege} ON {table} TO "{application}"')
        contracted, filled = shop.contract(), shop.backfill("run")
    for end in (contracted, filled):
        assert end.refused
        assert "REVOKE" in end.error
        assert table in end.error


# What is run is what the code wrote. A superuser plants it here, as if the tables stood open.

MADE = "pwned"
STATEMENT = {"kind": "Statement", "why": "planted", "sql": f"CREATE TABLE {MADE} ()", "locks": {}}
PLANTED = "UPDATE safemigrations_contract SET plan = {plan}"
PLANTS = {
    "a statement in a plan": "jsonb_build_array({step}::jsonb)",
    "a statement after the plan": "plan || jsonb_build_array({step}::jsonb)",
    "a statement in a question": "jsonb_set(plan, '{{0,done}}', to_jsonb({query}::text))",
    "a statement in what takes it back": "jsonb_set(plan, '{{0,undo}}', jsonb_build_array({step}::jsonb))",
}
CALL = "SELECT 1 FROM plant()"
PLANT = f"CREATE FUNCTION plant() RETURNS boolean LANGUAGE plpgsql AS 'BEGIN CREATE TABLE {MADE} (); RETURN FALSE; END'"


def literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


@pytest.mark.parametrize("what", list(PLANTS)[:3])
def test_the_contract_runs_no_plan_but_what_the_code_wrote(books, what):
    books.deploy(RENAMED.operation).check()
    books.sql(PLANT)
    plan = PLANTS[what].format(step=literal(json.dumps(STATEMENT)), query=literal(CALL))
    books.sql(PLANTED.format(plan=plan))
    contracted = books.contract()
    assert books.sql(f"SELECT to_regclass('{MADE}')") == [None]
    assert contracted.refused


def test_the_contract_runs_no_row_but_what_the_code_wrote(books):
    books.deploy(RENAMED.operation).check()
    books.sql(
        "INSERT INTO safemigrations_contract (app_label, migration, operation, label, database, plan, status, attempts,"
        " last_error, created_at) SELECT app_label, migration, 'planted', 'planted', database,"
        f" jsonb_build_array({literal(json.dumps(STATEMENT))}::jsonb), 'pending', 0, '', now()"
        " FROM safemigrations_contract"
    )
    books.contract()
    assert books.sql(f"SELECT to_regclass('{MADE}')") == [None]


def test_no_module_is_imported_but_what_a_migration_names(books):
    (books.directory / "planted.py").write_text("def run(book):\n    return {'note': 'planted'}\n")
    with override_settings(SAFEMIGRATIONS=LATER):
        books.deploy(Backfill("book", label_of, where=Q(note=None), can_wait=True)).check()
        path = "to_jsonb('planted:run'::text)"
        books.sql(f"UPDATE safemigrations_backfill SET step = jsonb_set(step, '{{function,path}}', {path})")
        books.backfill("run")
    assert "planted" not in sys.modules
    assert books.count("note = 'planted'") == 0


def label_of(book: Any) -> dict[str, Any]:
    return {"note": book.title}


# Sessions: a database, or a role, may set them in whatever way its own applications like.

SETTINGS = {
    "standard_conforming_strings": "off",
    "backslash_quote": "on",
    "escape_string_warning": "off",
    "DateStyle": "'SQL, DMY'",
    "IntervalStyle": "sql_standard",
    "bytea_output": "escape",
    "transform_null_equals": "on",
    "array_nulls": "off",
    "quote_all_identifiers": "on",
    "extra_float_digits": "-15",
    "session_replication_role": "replica",
    "row_security": "off",
    "default_transaction_isolation": "serializable",
    "default_transaction_deferrable": "on",
    "statement_timeout": "'20ms'",
    "lock_timeout": "'20ms'",
    "idle_in_transaction_session_timeout": "'20ms'",
    "idle_session_timeout": "'2s'",
    "check_function_bodies": "off",
    "plpgsql.extra_errors": "'all'",
    "plpgsql.variable_conflict": "use_column",
    "client_min_messages": "error",
    "xmloption": "document",
    "default_toast_compression": "pglz",
    "TimeZone": "'Pacific/Apia'",
}


@pytest.mark.parametrize("setting", SETTINGS)
def test_a_change_arrives_in_whatever_session(books, setting):
    """Changes of several kinds, one after the other."""
    books.sql(f"ALTER DATABASE {books.database} SET {setting} = {SETTINGS[setting]}")
    for change in (BIGGER, TEXT, COMPUTED, BY_FUNCTION, NOT_NULL, UNIQUE):
        expanded, contracted = books.live(change.operation)
        expanded.check()
        contracted.check()
        assert books.count(change.wrong) == 0


def test_a_database_that_is_read_only_is_left_alone(books):
    """Somebody may have frozen it for a move to another server, and what is written then is lost."""
    books.write(BIGGER.operation)
    before = books.catalog()
    books.sql(f"ALTER DATABASE {books.database} SET default_transaction_read_only = on")
    for end in (books.migrate(), books.contract(), books.backfill("run")):
        assert end.refused
        assert "read-only" in end.error
    books.assert_unchanged(before)


# Functions under names of ours.

FUNCTIONS = "SELECT format('%I(%s) RETURNS %s', proname, pg_get_function_arguments(oid), pg_get_function_result(oid))"
OF_OURS = "FROM pg_proc WHERE proname ~ '^safemig_'"


@pytest.mark.parametrize("change", [TEXT, RENAMED, BIGGER, COMPUTED], ids=str)
def test_no_function_belongs_to_who_made_one_of_that_name_before(books, role: Role, change):
    """CREATE OR REPLACE leaves it to its owner, who could change what it does for whoever writes to the table."""
    planter = role("planter")
    books.deploy(change.operation).check()
    functions = books.sql(f"{FUNCTIONS} {OF_OURS}")
    books.migrate("0001").check()
    books.sql(f'GRANT CREATE ON SCHEMA public TO "{planter}"')
    for function in functions:
        books.sql(f"CREATE FUNCTION public.{function} LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'", role=planter)
    before = books.catalog()
    end = books.migrate()
    owners = books.sql(f"SELECT DISTINCT proowner::regrole::text {OF_OURS}")
    if end.refused:
        assert planter in end.error
        assert "DROP FUNCTION" in end.error
        books.assert_unchanged(before)
    else:
        assert planter not in owners
    books.sql(f'DROP OWNED BY "{planter}" CASCADE')


# With standard_conforming_strings off a backslash takes the quote after it away.

KEYED = CreateModel(
    "Tag",
    [
        ("name", models.CharField(max_length=200, primary_key=True)),
        ("size", models.IntegerField(null=True)),
        ("state", models.CharField(max_length=20, null=True)),
    ],
)
INJECTED = [
    "\\'), (''); CREATE TABLE pwned (); --",
    "\\')) OR TRUE; CREATE TABLE pwned (); --",
    "\\'; CREATE TABLE pwned (); --",
    "x\\",
    "$$",
    "it's",
    "\\\\'",
]


@pytest.mark.parametrize("conforming", ["on", "off"])
@pytest.mark.parametrize("key", INJECTED)
def test_a_key_is_a_value_and_never_sql(shop, key, conforming):
    shop.deploy(KEYED).check()
    shop.sql("INSERT INTO shop_tag (name) SELECT n::text FROM generate_series(1, 60) n")
    shop.sql("INSERT INTO shop_tag (name) VALUES (%s)", params=[key])
    shop.sql(f"ALTER DATABASE {shop.database} SET standard_conforming_strings = {conforming}")
    filled = Backfill("tag", {"state": Value("done")}, where=~Q(state="done") | Q(state=None))
    with override_settings(SAFEMIGRATIONS={"BACKFILL_BATCH_SIZE": 20}):
        end = shop.deploy(filled)
    assert shop.sql("SELECT to_regclass('pwned')") == [None]
    end.check()
    assert shop.count("state IS DISTINCT FROM 'done'", "shop_tag") == 0


# Others' secrets.

SECRETS = {
    "a text": "SELECT 'hunter2', count(*) FROM shop_book",
    "a text with a quote": "SELECT 'it''s hunter2', count(*) FROM shop_book",
    "an escaped text": "SELECT E'pw=\\'hunter2', count(*) FROM shop_book",
    "a text in dollars": "SELECT $$hunter2$$, count(*) FROM shop_book",
    "a text in tagged dollars": "SELECT $a$hunter2$a$, count(*) FROM shop_book",
    "a unicode text": "SELECT U&'hunter2', count(*) FROM shop_book",
    "a number": "SELECT 31337, count(*) FROM shop_book",
    "a comment": "/* pw=hunter2 */ SELECT count(*) FROM shop_book",
    "a comment at the end of a line": "SELECT -- hunter2\n count(*) FROM shop_book",
    "a text that goes on": "SELECT count(*), 'hunter2" + "x" * 2000 + "' FROM shop_book",
}


@pytest.mark.parametrize("what", SECRETS)
def test_no_literal_of_others_is_told(books, connect, what):
    """Neither while a step waits for them, nor when it gives up."""
    blocker = connect()
    blocker.execute("BEGIN; LOCK TABLE shop_book IN ROW EXCLUSIVE MODE")
    blocker.execute(SECRETS[what])
    with override_settings(SAFEMIGRATIONS={"LOCK_RETRY_FOR": 0.5}):
        end = books.deploy(AlterField("book", "pages", models.BigIntegerField(null=True)))
    assert end.refused
    assert "hunter2" not in end.said
    assert "31337" not in end.said
