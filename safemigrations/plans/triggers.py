"""Triggers that keep both releases right while two of them run, compiled with django-pgtrigger.

Some fill a column, and the sync triggers keep a twin equal to its original: one for a column of two names, one for a
column of two types, one for a column that gets a new type.

Their names begin with a prefix of ours: `pgtrigger prune` drops unknown triggers that are named pgtrigger_... They are
never part of the migration state. BEFORE triggers fire in the order of their names. Ours have to see what the project's
own triggers did, so their names sort last.
https://www.postgresql.org/docs/current/trigger-definition.html
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from ..data import Data
from ..postgres.lock import Lock
from ..postgres.names import LAST, Name, temporary_name
from ..postgres.probe import NEVER
from ..postgres.triggers import trigger_between, trigger_missing, trigger_works
from ..postgres.values import differ, dollar_quoted, literal
from .casts import Cast
from .column import Column
from .steps import Step, Together

# Insufficient privilege is also what a policy gives that hides a row from a function with row_security = off.
NO_VALUE = (
    "data_exception OR cardinality_violation OR integrity_constraint_violation OR raise_exception"
    " OR insufficient_privilege"
)
INSERT_OR_UPDATE = "INSERT OR UPDATE"

# What makes no value of another type: also the check of a domain, and the grammar of a tsquery or an ltree.
NO_SUCH_VALUE = "data_exception OR integrity_constraint_violation OR syntax_error"

# What decides how a value becomes text, and back: whoever writes gets the same as the backfill.
AS_TEXT = ("DateStyle", "IntervalStyle", "bytea_output", "extra_float_digits")


def as_here(*names: str) -> str:
    """Clauses by which a function has these settings of the session that makes it."""
    return "".join(f" SET {name} FROM CURRENT" for name in names)


# The order in which triggers of one table fire. First each column of two types gets its value from the other. Then null
# is filled, and the value goes to the other name of the column. Then a new column is computed from the others. Last the
# twin of a column that gets a new type is made from that.
SYNCS_TWO_TYPES, FILLS_NULL, SYNCS_TWO_NAMES, FILLS_NEW, SYNCS_NEW_TYPE = "1", "2", "3", "4", "5"


class _Trigger(Data):
    """A trigger that sets `column` before a row is written, and its function.

    `original`: the column is a twin of it. Then the trigger also fires for replication and loaders.

    `computes`: with all rows in sight, and in the words of the session that makes the trigger.

    `names_columns`: the body has a query with bare names, which PL/pgSQL could take for a variable of its own.
    """

    column: Column
    why: str
    role: str
    rank: str
    operation: str
    condition: str
    body: str
    original: Column | None = None
    computes: bool = False
    names_columns: bool = False

    @property
    def name(self) -> str:
        return temporary_name(self.rank, self.column.label, self.column.name, self.role, prefix=LAST)

    @property
    def function(self) -> str:
        # Each table has its own names of triggers, but functions share those of a schema: "_" would give the same name
        # for order_item.code and order.item_code.
        return f"{_function(self.column, self.role)}()"

    @property
    def source(self) -> str:
        first = "\n#variable_conflict use_column\n" if self.names_columns else " "
        return f"{first}BEGIN {self.body} RETURN NEW; END; "

    def create(self) -> Together:
        column, original = self.column, self.original
        works = trigger_works(column.table, self.name, self.source, always=original is not None)
        is_done = trigger_between(column.table, self.name, original.quoted, column.quoted) if original else NEVER
        return Together(
            why=f"{column.label}: a trigger {self.why}",
            sql=self._sql(),
            locks={column.table: Lock.SHARE_ROW_EXCLUSIVE},
            done=is_done,
            undo=(self._drop(),),
            lost=column.exists.unless(works),
        )

    def _sql(self) -> tuple[str, ...]:
        # Not at the top: without libpq it can't be imported, and on SQLite it takes 57 ms with psycopg.
        from .trigger_sql import FunctionSql, TriggerSql

        table, trigger = self.column.table, Name.of(self.name)
        sees = f" SET row_security TO off{as_here('TimeZone', *AS_TEXT)}" if self.computes else ""
        compiled = {
            "pgid": trigger,
            "table": table,
            "when": "BEFORE",
            "operation": self.operation,
            "condition": self.condition,
            "func": dollar_quoted(self.source) + sees,
            "execute": self.function,
        }
        enable = (f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER {trigger}",) if self.original else ()
        return (str(FunctionSql(**compiled)), str(TriggerSql(**compiled)), *enable)

    def _drop(self) -> Together:
        table = self.column.table
        return Together(
            why=f"{self.column.label}: drop the trigger that {self.why}",
            sql=(
                f"DROP TRIGGER IF EXISTS {Name.of(self.name)} ON {table}",
                f"DROP FUNCTION IF EXISTS {self.function}",
            ),
            locks={table: Lock.ACCESS_EXCLUSIVE},
            done=trigger_missing(table, self.name),
        )


def fill_null(
    column: Column, value: str, *, on_update: bool = False, marker: Name | None = None, may_fail: bool = False
) -> Together:
    """Rows that the old release writes get a value; `marker`, a column, remembers which rows they are.

    Where there is no value for a row (`may_fail`), the row stays as it is: the value is too long, there are two of
    them, or the writer may not read what it is computed from. The backfill fills such a row. The old release knows
    nothing of the column, and its writes must not fail because of it. The contract names the rows that stay without a
    value.
    """
    also = f" NEW.{marker} := TRUE;" if marker else ""
    fill = f"NEW.{column.quoted} := {value};{also}"
    is_checked = may_fail and bool(column.check_condition)
    if is_checked:
        check = f"SELECT {column.check_condition} FROM (SELECT NEW.*) AS safemig_row"
        fill += f" IF ({check}) IS FALSE THEN NEW.{column.quoted} := NULL; END IF;"
    trigger = _Trigger(
        column,
        why=f"fills {column.name} of rows that the old release {'writes' if on_update else 'inserts'}",
        role="fill",
        rank=FILLS_NULL if on_update else FILLS_NEW,
        operation=INSERT_OR_UPDATE if on_update else "INSERT",
        condition=f"NEW.{column.quoted} IS NULL",
        body=f"BEGIN {fill} EXCEPTION WHEN {NO_VALUE} THEN NULL; END;" if may_fail else fill,
        computes=may_fail,
        names_columns=is_checked,
    )
    return trigger.create()


def unmark_on_update(column: Column, marker: Name) -> Together:
    """Forgets that a row has a value that stands in, when the new release gives it a value of its own."""
    trigger = _Trigger(
        column,
        why=f"notes that the new release has set {column.name}",
        role="unmark",
        rank=FILLS_NEW,
        operation="UPDATE",
        condition=f"OLD.{marker} AND NEW.{column.quoted} IS DISTINCT FROM OLD.{column.quoted}",
        body=f"NEW.{marker} := NULL;",
    )
    return trigger.create()


def sync_two_names(original: Column, twin: Column, *, default: str = "") -> Together:
    """Whatever either release writes under its name stands under the other name too.

    `default` is that of both columns: in a new row, the value that isn't the default is the one that somebody gave.
    Without a default that is the value that isn't null. BEFORE triggers run before NOT NULL, checks, foreign keys and
    ON CONFLICT look at the row.

    ENABLE ALWAYS: what replication and loaders write under session_replication_role = replica has to be equal too, as
    the contract drops one of the two columns. Where both arrive equal, the condition keeps the trigger still.

    Where the two differ, because somebody wrote while the trigger was off, an UPDATE that changes neither leaves both
    alone: nobody knows which of them was written last. The contract names such rows.
    """
    new_a, old_a = f"NEW.{original.quoted}", f"OLD.{original.quoted}"
    new_b, old_b = f"NEW.{twin.quoted}", f"OLD.{twin.quoted}"
    from_original, from_twin = f"{new_b} := {new_a};", f"{new_a} := {new_b};"
    trigger = _Trigger(
        twin,
        why=f"keeps {original.name} and {twin.name} equal while two releases run",
        role="sync",
        rank=SYNCS_TWO_NAMES,
        operation=INSERT_OR_UPDATE,
        condition=differ(new_a, new_b),
        body=(
            f"IF TG_OP = 'INSERT' THEN IF {_given(new_b, default)} THEN {from_twin} ELSE {from_original} END IF;"
            f" ELSIF {differ(new_b, old_b)} THEN {from_twin}"
            f" ELSIF {differ(new_a, old_a)} THEN {from_original} END IF;"
        ),
        original=original,
    )
    return trigger.create()


def _given(value: str, default: str) -> str:
    return differ(value, default) if default else f"{value} IS DISTINCT FROM NULL"


def sync_two_types(
    original: Column,
    twin: Column,
    *,
    to_twin: Callable[[str], str],
    to_original: Callable[[str], str],
    default: str = "",
) -> Together:
    """Whatever either release writes, the other finds in its own type; sync_two_names() does that for one type.

    `to_twin` and `to_original` give SQL for a value of the one column from SQL for a value of the other, NULL where
    there is none. So the two may stay different, and an UPDATE that changes neither must leave both alone.
    """
    new_a, old_a = f"NEW.{original.quoted}", f"OLD.{original.quoted}"
    new_b, old_b = f"NEW.{twin.quoted}", f"OLD.{twin.quoted}"
    from_original, from_twin = f"{new_b} := {to_twin(new_a)};", f"{new_a} := {to_original(new_b)};"
    trigger = _Trigger(
        twin,
        why=f"keeps {original.name} and {twin.name} the same in two types while two releases run",
        role="convert",
        rank=SYNCS_TWO_TYPES,
        operation=INSERT_OR_UPDATE,
        condition=differ(to_twin(new_a), new_b),
        body=(
            f"IF TG_OP = 'INSERT' THEN IF {_given(new_b, default)} THEN {from_twin} ELSE {from_original} END IF;"
            f" ELSIF {differ(new_b, old_b)} THEN {from_twin}"
            f" ELSIF {differ(new_a, old_a)} THEN {from_original} END IF;"
        ),
        original=original,
    )
    return trigger.create()


def conversion(
    one: Column, other: Column, *, misfit: str, using: str, timezone: str, by_hand: bool = False
) -> Together:
    """A function that makes a value of the other column's type from a value of the first, and NULL where there is none.

    It assigns the value: then a longer text is an error, which CAST would cut. Whoever writes to the table calls the
    function. What somebody wrote `by_hand` may read what the writer may not: then there is no value, either.
    https://www.postgresql.org/docs/current/plpgsql-statements.html#PLPGSQL-STATEMENTS-ASSIGNMENT
    """
    function = f"{conversion_name(one, other)}({one.type})"
    none = f"IF {misfit.replace('{}', 'given')} THEN RETURN NULL; END IF; " if misfit else ""
    body = (
        f" DECLARE made {other.type}; BEGIN {none}made := {using.replace('{}', 'given')}; RETURN made;"
        f" EXCEPTION WHEN {NO_SUCH_VALUE}{' OR insufficient_privilege' if by_hand else ''} THEN RETURN NULL; END; "
    )
    sees_all = " SET row_security TO off" if by_hand else ""
    create = (
        f"CREATE OR REPLACE FUNCTION {conversion_name(one, other)}(given {one.type}) RETURNS {other.type}"
        f" LANGUAGE plpgsql STABLE SET search_path FROM CURRENT SET timezone TO {literal(timezone)}"
        f"{as_here(*AS_TEXT)}{sees_all}"
        f" AS {dollar_quoted(body)}"
    )
    return Together(
        why=f"{one.label}: a function that makes a {other.name} ({other.type}) from a {one.name} ({one.type})",
        # Called once: only then PostgreSQL says that one type can't be converted to the other at all.
        sql=(create, f"GRANT EXECUTE ON FUNCTION {function} TO PUBLIC", f"SELECT {conversion_name(one, other)}(NULL)"),
        locks={},
        undo=(
            Together(
                why=f"{one.label}: drop the function that makes a {other.name} from a {one.name}",
                sql=(f"DROP FUNCTION IF EXISTS {function}",),
                locks={},
            ),
        ),
    )


def conversion_name(one: Column, other: Column) -> Name:
    return _function(one, other.name)


def _function(column: Column, role: str) -> Name:
    """The function's name, with the table's schema in it: the function is in the first schema of the search_path."""
    table = ".".join(filter(None, (column.table.schema, column.table.raw)))
    return Name.of(temporary_name(table, column.name, role, between="."))


def sync_new_type(original: Column, twin: Column, cast: Cast) -> Together:
    """Whatever is written to the original stands in the twin too, as NULL where its type has no such value.

    ENABLE ALWAYS for the same reason as in sync_two_names().
    """
    value = cast.or_null.replace("{}", f"NEW.{original.quoted}")
    trigger = _Trigger(
        twin,
        why=f"keeps {twin.name} what {original.name} is while two releases run",
        role="follow",
        rank=SYNCS_NEW_TYPE,
        operation=INSERT_OR_UPDATE,
        condition=differ(value, f"NEW.{twin.quoted}"),
        body=f"NEW.{twin.quoted} := {value};",
        original=original,
    )
    return trigger.create()


class Kept(Data):
    """A trigger that has to be there from the expand to the contract, and the columns that it is about."""

    trigger: Together
    column: Column  # the one that the new release uses
    former: Column | None = None  # the one that the contract drops
    adds: bool = True  # does the migration add `column`?


def makes_trigger(step: Step) -> bool:
    return isinstance(step, Together) and any(sql.startswith("CREATE OR REPLACE TRIGGER") for sql in step.sql)


def put_back(trigger: Together, *, may_be_over: bool) -> Together:
    """The trigger once more, where somebody dropped, disabled or changed it, or its function.

    `may_be_over`: a contract has begun, so that a trigger which isn't there may have done its work.
    """
    lost = trigger.lost.unless(drop_of(trigger).done) if may_be_over else trigger.lost
    return replace(trigger, why=f"put back, as somebody changed it: {trigger.why}", only_where=lost, done=NEVER)


def drop_of(trigger: Together) -> Together:
    (drop,) = trigger.undo
    assert isinstance(drop, Together)
    return drop
