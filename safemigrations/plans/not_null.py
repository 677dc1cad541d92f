"""Plans that forbid nulls in a column that has rows, and that allow them again."""

from __future__ import annotations

from ..postgres.columns import column_forbids_null, column_not_null
from ..postgres.constraints import constraint_exists, constraint_missing
from ..postgres.lock import Lock
from ..postgres.names import Name, object_name, temporary_name
from ..postgres.probe import Probe
from ..postgres.tables import is_server
from .column import Column
from .steps import Instead, Online, Plan, Proof, Statement, Together


def may_be_null(column: Column) -> Statement:
    """DROP NOT NULL, with a way back that asks first."""
    keys = ", ".join(column.key)
    has_value = Proof(
        why=f"{column.label}: every row has {column.name}",
        query=f"SELECT {keys} FROM {column.table} WHERE {column.quoted} IS NULL",
        failure=(
            f"Rows of {column.label} have no {column.name}, which can't be null in the release that you go back "
            f"to: {keys} {{rows}}. The new release, or the contract, left them so. The column is there and may "
            f"be null: fill it (UPDATE {column.table} SET {column.quoted} = ... WHERE {column.quoted} IS NULL), "
            "then run the same command again."
        ),
        pages_of=column.table,
        done=column_not_null(column.table, column.name),
        works_on=(column.claim,),
    )
    # Taken back from the last to the first: the proof comes before NOT NULL.
    return column.drop_not_null(undo=(has_value, *not_null(column)))


def not_null(column: Column) -> Plan:
    """NOT NULL without a scan under the lock: a CHECK that is validated online proves it.

    Two statements in the last step, because an ALTER TABLE that drops the check too would scan. PostgreSQL 18 has
    NOT NULL ... NOT VALID, which is validated likewise and needs no check, and so one strong lock less.
    https://www.postgresql.org/docs/current/sql-altertable.html#SQL-ALTERTABLE-DESC-SET-DROP-NOT-NULL
    """
    return (_forbid_new(column), _validate(column), _set(column))


def _forbid_new(column: Column) -> Statement:
    begun = _is_begun_before_18(column).or_(_forbids_null(column))
    change = f"ADD CONSTRAINT {_own(column)} NOT NULL {column.quoted} NOT VALID"
    return column.alter(
        f"{column.name} can't be null from now on",
        f"ADD CONSTRAINT {Name.of(_check(column))} CHECK ({column.quoted} IS NOT NULL) NOT VALID",
        done=_is_set(column).or_(begun),
        undo=_back(column),
        instead=Instead(when=is_server(18), sql=f"ALTER TABLE {column.table} {change}"),
    )


def _validate(column: Column) -> Online:
    check = _check(column)
    return Online(
        why=f"{column.label}: no row has {column.name} null (checked without blocking)",
        sql=f"ALTER TABLE {column.table} VALIDATE CONSTRAINT {Name.of(check)}",
        locks={column.table: Lock.SHARE_UPDATE_EXCLUSIVE},
        done=_is_set(column).or_(constraint_exists(column.table, check, validated=True)),
        on_failure=_back(column),
        violators=f"SELECT {', '.join(column.key)} FROM {column.table} WHERE {column.quoted} IS NULL",
        works_on=(column.claim,),
        instead=Instead(
            when=is_server(18).unless(_is_begun_before_18(column)),
            sql=f"ALTER TABLE {column.table} VALIDATE CONSTRAINT {_own(column)}",
        ),
    )


def _set(column: Column) -> Together:
    return Together(
        why=f"{column.label}: {column.name} NOT NULL, without a scan",
        sql=(
            f"ALTER TABLE {column.table} ALTER COLUMN {column.quoted} SET NOT NULL",
            f"ALTER TABLE {column.table} DROP CONSTRAINT IF EXISTS {Name.of(_check(column))}",
        ),
        locks={column.table: Lock.ACCESS_EXCLUSIVE},
        done=_is_set(column).unless(_is_begun_before_18(column)),
        works_on=(column.claim,),
        only_where=_needs_check(column),
    )


def _back(column: Column) -> tuple[Statement, Statement]:
    check = _check(column)
    drop = column.alter(
        f"drop the check behind {column.name} NOT NULL",
        f"DROP CONSTRAINT IF EXISTS {Name.of(check)}",
        done=constraint_missing(column.table, check),
        only_where=_needs_check(column),
    )
    return drop, column.drop_not_null()


def _check(column: Column) -> str:
    return temporary_name(column.label, column.name, "not_null")


def _own(column: Column) -> Name:
    """The constraint that stays, on PostgreSQL 18."""
    return Name.of(object_name(column.label, column.name, "not_null"))


def _is_set(column: Column) -> Probe:
    return column_not_null(column.table, column.name)


def _is_begun_before_18(column: Column) -> Probe:
    return constraint_exists(column.table, _check(column))


def _needs_check(column: Column) -> Probe:
    return is_server(18).negated().or_(_is_begun_before_18(column))


def _forbids_null(column: Column) -> Probe:
    """Has it a NOT NULL that may be NOT VALID (PostgreSQL 18)?"""
    return column_forbids_null(column.table, column.name)
