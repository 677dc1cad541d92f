"""What may be wrong with a database when somebody types a command: rows of another version, tables half there, roles
that may do little, sessions that somebody has set, a server that takes nobody.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from django.conf import settings
from django.db import connection, models
from django.db.migrations import AddField
from django.db.models import Q, Value
from django.test import override_settings

from safemigrations.contracts.table import Contract
from safemigrations.operations import Backfill
from safemigrations.running.backfill.progress import Progress

from .attacks.deployment import Deployment, Outcome, deployment
from .attacks.library import RENAMED, UNIQUE, library

COMMANDS = {
    "migrate": ("migrate",),
    "migrate --check": ("migrate", "--check"),
    "migrate --plan": ("migrate", "--plan"),
    "the contract": ("migrate", "shop", "0002", "--contract", "--only", "--noinput"),
    "the contract --plan": ("migrate", "shop", "0002", "--contract", "--only", "--plan"),
    "migrate --catch-up": ("migrate", "--catch-up"),
    "the way back": ("migrate", "shop", "0001"),
    "migrate --before-contract": ("migrate", "--before-contract"),
    "sqlmigrate": ("sqlmigrate", "shop", "0004"),
    "showmigrations": ("showmigrations",),
    "check": ("check", "--database", "default"),
    "check --deploy": ("check", "--deploy", "--database", "default"),
    "status": ("safemigrations", "status", "--all"),
    "plan": ("safemigrations", "plan"),
    "verify": ("safemigrations", "verify"),
    "preflight": ("safemigrations", "preflight"),
    "preflight --contract": ("safemigrations", "preflight", "--contract"),
    "history": ("safemigrations", "history"),
    "ready": ("safemigrations", "ready", "--database", "default"),
    "accept": ("safemigrations", "accept", "shop", "0001"),
    "contract postpone": ("safemigrations", "contract", "postpone", "1", "--for", "1h"),
    "contract skip": ("safemigrations", "contract", "skip", "1", "--reason", "a test"),
    "backfill status": ("safemigrations", "backfill", "status", "--all"),
    "backfill run": ("safemigrations", "backfill", "run"),
    "backfill pause": ("safemigrations", "backfill", "pause", "1"),
    "backfill pace": ("safemigrations", "backfill", "pace", "1", "--rest", "0"),
    "backfill cancel": ("safemigrations", "backfill", "cancel", "1"),
}
LOOKS = (  # change nothing, so one database is good for any number of them
    *("migrate --check", "migrate --plan", "the contract --plan", "sqlmigrate", "showmigrations", "status", "plan"),
    *("verify", "preflight", "preflight --contract", "history", "ready", "backfill status"),
)
TELL = (  # what is wrong among other things, and may end well
    *("status", "verify", "preflight", "preflight --contract", "plan", "migrate --plan", "the contract --plan"),
)
POOR = f"safemigrations_poor_{os.getpid()}"  # roles belong to the whole server
OURS = ("contract", "backfill", "backfill_section", "release", "act", "history", "history_step")
UNREADABLE = "doesn't know|can't be read"
REFUSED = "The server refused: .* What was done before stays\\. "
NOT_REACHED = r"The server can't be reached \(.*\)\. What was done before stays\. Run the same command again\.$"
OF_LOOKS = "Not ready to migrate|could not be asked|no migration was ever applied"


@dataclass(frozen=True)
class Trouble:
    """What a superuser does before the command, and what the command says of it, where it doesn't answer as always.

    `signs`: what is stored is signed as if this project had written it; `poor`: the command runs as a role that has
    nothing; `refusal`: the server's, SQLSTATE and text.
    """

    name: str
    says: str
    sql: str = ""
    signs: bool = False
    poor: bool = False
    refusal: tuple[str, str] = ("", "")


def of_plan(name: str, change: str) -> Trouble:
    return Trouble(name, UNREADABLE, f"UPDATE safemigrations_contract SET plan = {change}", signs=True)


def of_backfill(name: str, change: str) -> Trouble:
    return Trouble(name, UNREADABLE, f"UPDATE safemigrations_backfill SET {change}", signs=True)


def of_role(name: str, says: str, *grants: str) -> Trouble:
    return Trouble(name, says, "; ".join(grants).format(POOR), poor=True)


def of_session(setting: str, says: str = "a setting makes no difference") -> Trouble:
    """What this version of PostgreSQL doesn't know is no trouble."""
    name = setting.partition(" ")[0]
    sql = (
        f"DO $$BEGIN IF current_setting('{name}', true) IS NOT NULL"
        f" THEN EXECUTE format('ALTER DATABASE %I SET {setting}', current_database()); END IF; END$$"
    )
    return Trouble(setting, f"{says}|{name} is ", sql)


def of_server(sqlstate: str, text: str) -> Trouble:
    return Trouble(text, NOT_REACHED, refusal=(sqlstate, text))


ALL = "GRANT ALL ON ALL TABLES IN SCHEMA public TO {0}"
HALF_THERE = "ALTER TABLE safemigrations_{0} RENAME TO other; CREATE VIEW safemigrations_{0} AS SELECT 1 AS id"
WAITS = ("idle_in_transaction_session", "idle_session", "lock", "statement", "transaction")
NOT_OURS = [f"REVOKE ALL ON safemigrations_{table} FROM {{0}}" for table in OURS]
DENIED = f"may not (read|use|write)|{REFUSED}|wasn't accepted"
_ALL = (
    of_plan("a step of a newer version", """jsonb_set(plan, '{-1,kind}', '"Newer"')"""),
    of_plan("a step without its reason", "plan #- '{-1,why}'"),
    of_plan("a claim of a newer version", """jsonb_set(plan, '{-1,frees}', '["newer thing"]')"""),
    of_plan("a plan that is a text", """'"newer"'"""),
    of_plan("a plan that is null", "'null'"),
    Trouble("a status of a newer version", UNREADABLE, "UPDATE safemigrations_contract SET status = 'newer'"),
    of_backfill("a backfill of a newer version", """step = jsonb_set(step, '{kind}', '"Newer"')"""),
    of_backfill("a backfill without its table", "step = step #- '{table}'"),
    of_backfill("a backfill that is a proof", "step = (SELECT plan -> 0 FROM safemigrations_contract)"),
    of_backfill("a status of a newer backfill", "status = 'newer'"),
    of_backfill("parts of a newer version", "parts = '[{}]'"),
    Trouble("a release of a newer version", UNREADABLE, "UPDATE safemigrations_release SET migrations = '[]'"),
    Trouble(
        "a decision of a newer version",
        UNREADABLE,
        "INSERT INTO safemigrations_act (app_label, migration, operation, label, details, at, act, reason, os_user,"
        " database_role, mark) SELECT app_label, migration, operation, label, '[]', now(), 'newer', '', '', '', ''"
        " FROM safemigrations_contract",
    ),
    Trouble("no sections", "Restore both together", "DROP TABLE safemigrations_backfill_section"),
    *(Trouble(f"half a {table}", "could not add that", HALF_THERE.format(table)) for table in ("contract", "release")),
    of_role("a role with nothing", DENIED),
    of_role(
        "a role without the schema", "may not use the schema public", ALL, "REVOKE ALL ON SCHEMA public FROM PUBLIC"
    ),
    of_role("a role that may read", DENIED, "GRANT SELECT ON ALL TABLES IN SCHEMA public TO {0}"),
    of_role("a role without our tables", DENIED, ALL, *NOT_OURS),
    of_role("a role that owns nothing", f"{DENIED}|belongs to the role|may not create|written by others", ALL),
    of_session("default_transaction_read_only = on", f"are read-only|wasn't accepted|{REFUSED}"),
    of_session("search_path = nowhere", "No schema is there"),
    *map(of_session, ("standard_conforming_strings = off", "DateStyle = German", "transform_null_equals = on")),
    *(of_session(f"{what}_timeout = 20", "connection to the server was lost|statement_timeout") for what in WAITS),
    *map(of_session, ("default_transaction_isolation = serializable", "session_replication_role = replica")),
    of_server("57P03", "the database system is starting up"),
    of_server("53300", "sorry, too many clients already"),
    of_server("3D000", 'database "nowhere" does not exist'),
)
TROUBLES = {one.name: one for one in _ALL}


@contextmanager
def deployed(folder: Path, dsn: str) -> Iterator[Deployment]:
    """A library with a contract that is open, a backfill that nobody has begun, and a migration that isn't applied."""
    apps = ["django.contrib.contenttypes", "django.contrib.auth"]
    with deployment(folder, dsn) as made, override_settings(INSTALLED_APPS=[*apps, *settings.INSTALLED_APPS]):
        made.manage("migrate").check()
        library(made, rows=30)
        made.deploy(RENAMED.operation).check()
        with override_settings(SAFEMIGRATIONS={"GATE_WATCH": 0, "BACKFILL_INLINE_ROWS": 0}):
            made.deploy(Backfill("author", {"name": Value("x")}, where=~Q(name="x"), can_wait=True)).check()
        made.write(AddField("book", "extra", models.IntegerField(default=7)), UNIQUE.operation)
        yield made


def make(trouble: Trouble, dsn: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as superuser:
        if trouble.sql:
            superuser.execute(trouble.sql)
    for model in (Contract, Progress) if trouble.signs else ():
        _sign(model)
    connection.close()


def _sign(model: Any) -> None:
    """By way of its parent, which reads rows whatever they hold."""
    for values in model._base_manager.values("pk", *model.signed):
        row = model(**values)
        row.sign()
        model._base_manager.filter(pk=row.pk).update(signature=row.signature)


NUMBER = re.compile(r"[-\d:.,]*\d( ms| s| kB| MB| GB)?( to)?")


def answer(end: Outcome) -> str:
    """What a command says, without what differs from one time to the next."""
    said = re.sub(r"safemigrations_[0-9a-f]{32}|[0-9a-f]{8}\b|\(role \w+\)", "X", end.said)
    return re.sub(r"\s+", " ", NUMBER.sub("N", said))
