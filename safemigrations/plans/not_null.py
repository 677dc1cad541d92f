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
    check = temporary_name(column.label, column.name, "not_null")
    quoted, own = Name.of(check), Name.of(object_name(column.label, column.name, "not_null"))
    already, since_18 = column_not_null(column.table, column.name), is_server(18)
    is_begun_before_18 = constraint_exists(column.table, check)
    needs_check = since_18.negated().or_(is_begun_before_18)
    begun = is_begun_before_18.or_(_forbids_null(column))
    drop = column.alter(
        f"drop the check behind {column.name} NOT NULL",
        f"DROP CONSTRAINT IF EXISTS {quoted}",
        done=constraint_missing(column.table, check),
        only_where=needs_check,
    )
    back = (drop, column.drop_not_null())
    change = f"ADD CONSTRAINT {own} NOT NULL {column.quoted} NOT VALID"
    return (
        column.alter(
            f"{column.name} can't be null from now on",
            f"ADD CONSTRAINT {quoted} CHECK ({column.quoted} IS NOT NULL) NOT VALID",
            done=already.or_(begun),
            undo=back,
            instead=Instead(when=since_18, sql=f"ALTER TABLE {column.table} {change}"),
        ),
        Online(
            why=f"{column.label}: no row has {column.name} null (checked without blocking)",
            sql=f"ALTER TABLE {column.table} VALIDATE CONSTRAINT {quoted}",
            locks={column.table: Lock.SHARE_UPDATE_EXCLUSIVE},
            done=already.or_(constraint_exists(column.table, check, validated=True)),
            on_failure=back,
            violators=f"SELECT {', '.join(column.key)} FROM {column.table} WHERE {column.quoted} IS NULL",
            works_on=(column.claim,),
            instead=Instead(
                when=since_18.unless(is_begun_before_18),
                sql=f"ALTER TABLE {column.table} VALIDATE CONSTRAINT {own}",
            ),
        ),
        Together(
            why=f"{column.label}: {column.name} NOT NULL, without a scan",
            sql=(
                f"ALTER TABLE {column.table} ALTER COLUMN {column.quoted} SET NOT NULL",
                f"ALTER TABLE {column.table} DROP CONSTRAINT IF EXISTS {quoted}",
            ),
            locks={column.table: Lock.ACCESS_EXCLUSIVE},
            done=already.unless(is_begun_before_18),
            works_on=(column.claim,),
            only_where=needs_check,
        ),
    )


def _forbids_null(column: Column) -> Probe:
    """Has it a NOT NULL that may be NOT VALID (PostgreSQL 18)?"""
    return column_forbids_null(column.table, column.name)
