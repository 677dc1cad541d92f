"""The sentences about functions: the harm, who is hurt, and the replacement."""

from __future__ import annotations

import ast

from ..hazard import Hazard, written_out
from . import instead
from .chains import Chain

LIVE = "safemigrations.E300"
ROWS = "safemigrations.E301"
MEMORY = "safemigrations.W302"
OUTSIDE = "safemigrations.E303"
SCHEMA = "safemigrations.E304"
AGAIN = "safemigrations.W306"
ALIAS = "safemigrations.I307"
HELD = "safemigrations.E210"

BATCHES = "Work in batches, each in a transaction of its own: atomic = False on the migration, and ranges of the key."


def live_model(found: Chain) -> Hazard:
    return Hazard(
        LIVE,
        f"{found.model} is the class of the running code, with the fields of today: once a later migration adds a "
        "field, this one fails on every new database.",
        f'Use {found.model} = apps.get_model("{found.app_label or "app_label"}", "{found.model}"): it has the fields '
        "of this migration.",
    )


def fixture(how: str) -> Hazard:
    return Hazard(
        LIVE,
        f"{how} reads rows with the models of today's code: once a later migration adds a field, this one fails on "
        "every new database.",
        "Create the rows with apps.get_model. Or load the file with a management command after migrate.",
    )


def saved_in_a_loop(found: Chain, loop: ast.For, elsewhere: str = "") -> Hazard:
    """`elsewhere`: the label of the app that the model belongs to, if that isn't the migration's."""
    return Hazard(
        ROWS,
        f"This loop saves every row of {found.model} that it finds in one transaction: each stays locked until the "
        "migration ends, and whoever writes it waits. When it is killed, all of it was in vain.",
        written_out(instead.of_loop(found, loop), elsewhere),
    )


def locked_for_update(found: Chain) -> Hazard:
    return Hazard(
        ROWS,
        f"select_for_update() locks every row of {found.model} that it finds until the transaction ends, and whoever "
        "writes these rows waits.",
        BATCHES,
    )


def one_by_one(found: Chain) -> Hazard:
    return Hazard(
        ROWS,
        f"Row by row, all of {found.model} that the loop finds is changed in one transaction: each row stays locked "
        "until the migration ends.",
        BATCHES,
    )


def many_at_once(found: Chain, elsewhere: str = "") -> Hazard:
    """The hazard of update() and of delete(), which change many rows in one statement."""
    few = "; nothing here says that these are few" if found.is_filtered else ""
    return Hazard(
        ROWS,
        f"{found.last}() locks every row of {found.model} that it finds until its transaction ends, and whoever writes "
        f"these rows waits{few}.",
        written_out(instead.of_update(found), elsewhere) if found.last == "update" else BATCHES,
        "warning" if found.is_filtered else "error",
    )


def bulk_update(found: Chain) -> Hazard:
    return Hazard(
        ROWS, f"bulk_update() of {found.model} keeps every row that it writes locked until the migration ends.", BATCHES
    )


def bulk_update_of_all(found: Chain) -> Hazard:
    return Hazard(
        ROWS,
        f"bulk_update() is one transaction, whatever its batch_size is: each row of {found.model} that it is given "
        "stays locked until the last of them is written.",
        "Call it once for each batch of rows, or let Backfill fill them.",
    )


def batches_of_one_transaction(found: Chain) -> Hazard:
    return Hazard(
        ROWS,
        f"The batches of {found.model} are one transaction: each row stays locked until the last of them.",
        BATCHES,
        "warning",
    )


def in_memory(found: Chain) -> Hazard:
    return Hazard(
        MEMORY,
        f"All rows of {found.model} that this finds are in memory at once, however many there are.",
        "Add .iterator(chunk_size=2000), or let Backfill go over the rows.",
        "note" if found.is_filtered else "warning",
    )


def waits(what: str, *, in_transaction: bool) -> Hazard:
    harm = "keeps its transaction and its locks open meanwhile" if in_transaction else "stops meanwhile"
    return Hazard(
        OUTSIDE,
        f"{what} waits for something that isn't the database, and the migration {harm}.",
        "Do it outside of migrations, in a management command or a task.",
        "error" if in_transaction else "warning",
    )


def schema(method: str) -> Hazard:
    return Hazard(
        SCHEMA,
        f"schema_editor.{method} changes the schema where no rule sees it, and Django's state of the models doesn't "
        "know.",
        "Write the operation for it into a migration of its own.",
    )


def twice(what: str) -> Hazard:
    return Hazard(
        AGAIN,
        f"{what}, and atomic = False keeps what is done when the migration is killed: the next run does it twice.",
        "Use get_or_create, ignore_conflicts=True, or a filter for what isn't done yet.",
    )


def lock_is_held(function: str, held: tuple[str, str, str]) -> Hazard:
    table, lock, by = held
    return Hazard(
        HELD,
        f"{function} works on rows, and until it ends {by} keeps its {lock} lock on {table}: everybody who uses "
        f"{table} waits.",
        "Put it into a migration of its own.",
    )


def which_database(function: str) -> Hazard:
    return Hazard(
        ALIAS,
        f"{function} doesn't say which database: whichever migrate works on, it changes rows of the one that the "
        "router gives.",
        "Use .using(schema_editor.connection.alias).",
    )
