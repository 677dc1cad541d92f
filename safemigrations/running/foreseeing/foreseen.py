"""Finds tables on which a plan can't be carried out, before its first step.

Rows that a policy hides would count as rows that aren't there: nothing to fill, nothing that contradicts a proof. What
a trigger does isn't done for tables that inherit from the trigger's: their rows are rows of that table, too. And some
tables have rows that no UPDATE changes, so nothing could fill them.
https://www.postgresql.org/docs/current/ddl-rowsecurity.html
https://www.postgresql.org/docs/current/ddl-inherit.html#DDL-INHERIT-CAVEATS
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator

from django.db.backends.base.base import BaseDatabaseWrapper

from ...data import Data
from ...errors import StepFailed
from ...plans.claims import Kind
from ...plans.steps import Backfill, Step, tables_of
from ...plans.triggers import makes_trigger
from ...postgres.families import tables_that_inherit, tables_with_hidden_rows
from ...postgres.names import Name
from ...postgres.updates import (
    foreign_tables,
    tables_published_in_part,
    tables_with_rules,
    tables_without_identity,
    typed_tables,
)
from ...typed import server_version
from ..session import Session

OF_COLUMNS = ("ADD COLUMN", "DROP COLUMN", "RENAME COLUMN")


class _Table(Data):
    """A table as OWN_NAME of postgres/families.py names it."""

    schema: str
    name: str
    is_visible: bool

    @property
    def spellings(self) -> set[str]:
        """The ways in which a statement may write the table's name."""
        return {Name.of(self.name, self.schema), *([Name.of(self.name)] if self.is_visible else [])}

    def is_read_by(self, sql: str) -> bool:
        names = "|".join(map(re.escape, self.spellings))
        reads = rf"\b(from|join|update)\s+(only\s+)?({names})(?![.\"])"
        return bool(re.search(reads, sql, re.IGNORECASE))

    def is_named_by(self, step: Step) -> bool:
        return not self.spellings.isdisjoint(tables_of(step))


def refuse_foreseen(connection: BaseDatabaseWrapper, plan: Iterable[Step]) -> None:
    """Raises StepFailed, which says what to do. If no table has such a property, the plan isn't even built."""
    if connection.vendor != "postgresql":
        return
    session = Session(connection)
    with session.ready():
        foreseen = Foreseen(session)
    foreseen.refuse(plan)


class Foreseen:
    """The tables with such a property, looked up once for all plans."""

    def __init__(self, session: Session) -> None:
        self.found = [
            (refuse, _Table(schema, name, visible), rest)
            for query, refuse in _properties(server_version(session.connection))
            for schema, name, visible, *rest in session.rows(query)
        ]

    def refuse(self, plan: Iterable[Step]) -> None:
        for step in plan if self.found else ():
            for refuse, table, rest in self.found:
                refuse(table, step, *rest)


def _refuse_hidden(table: _Table, step: Step, policies: str, role: str, is_forced: bool) -> None:
    if table.is_read_by(step.reads):
        raise StepFailed(_hidden(policies, role, is_forced))


def _hidden(table: str, role: str, is_forced: bool) -> str:
    remedy = f", or type, for the time: ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY" if is_forced else ""
    return (
        f"Row security hides rows of {table} from the role {role}, and rows that it can't see would count as rows that "
        f"aren't there. Nothing was changed. Use a role that has BYPASSRLS{remedy}. Then run the same command again."
    )


def _refuse_family(table: _Table, step: Step, children: list[str], parents: list[str], inherited: list[str]) -> None:
    if not table.is_named_by(step):
        return
    if children and makes_trigger(step):
        raise StepFailed(
            f"{', '.join(children)} inherits from {table.name}, and triggers aren't inherited: what is written to its "
            f"rows while two releases run would be lost. Nothing was changed. Type, for the time until the contract: "
            f"{_no_inherit(children, [Name.of(table.name)])} Or use Django's own operation while nobody writes."
        )
    claims = (*step.frees, *step.takes, *step.works_on) if makes_trigger(step) else step.frees
    claimed = {claim.name for claim in claims if claim.kind is Kind.COLUMN and claim.table == table.name}
    if claimed & {*inherited}:
        column = ", ".join(sorted(claimed & {*inherited}))
        raise StepFailed(
            f"{column} of {table.name} is inherited from {', '.join(parents)}, and can be renamed or dropped nowhere "
            "else. Nothing was changed. Type, for the time until the contract: "
            f"{_no_inherit([Name.of(table.name)], parents)} Or use Django's own operation while nobody writes."
        )


def _no_inherit(children: Iterable[str], parents: Iterable[str]) -> str:
    return " ".join(f"ALTER TABLE {child} NO INHERIT {parent};" for child in children for parent in parents)


def _refuse_rules(table: _Table, step: Step, ruled: str, rules: list[str]) -> None:
    if isinstance(step, Backfill) and table.is_named_by(step):
        names, do = (f"rules {', '.join(rules)}", "do") if rules[1:] else (f"rule {rules[0]}", "does")
        disable = " ".join(f"ALTER TABLE {ruled} DISABLE RULE {rule};" for rule in rules)
        raise StepFailed(
            f"The {names} of {ruled} {do} something else in the place of an UPDATE, so nothing can fill its rows. "
            f"Nothing was changed. Type, for the time until the contract: {disable} Then run the same command again. "
            "Meanwhile each UPDATE of your application changes the rows that it is about."
        )


def _refuse_without_identity(table: _Table, step: Step, lacking: str, publications: list[str], has_key: bool) -> None:
    if isinstance(step, Backfill) and table.is_named_by(step):
        raise StepFailed(
            f"{lacking} is published by {', '.join(publications)} and has no replica identity, so PostgreSQL refuses "
            "each UPDATE of it, and nothing can fill its rows. Nothing was changed. Type: ALTER TABLE "
            f"{lacking} REPLICA IDENTITY {'DEFAULT' if has_key else 'FULL'}; Then run the same command again."
        )


def _refuse_published_in_part(
    table: _Table, step: Step, published: str, publication: str, read: list[str], left_out: list[str]
) -> None:
    if not (isinstance(step, Backfill) and table.is_named_by(step)):
        return
    refuses = "so PostgreSQL refuses each UPDATE of it, and nothing can fill its rows. Nothing was changed."
    if read:
        raise StepFailed(
            f"The publication {publication} chooses rows of {published} by {', '.join(read)}, which its replica "
            f"identity lacks, {refuses} Type: ALTER TABLE {published} REPLICA IDENTITY FULL; Then run the same command "
            "again."
        )
    raise StepFailed(
        f"The publication {publication} leaves out {', '.join(left_out)} of {published}, a part of its replica "
        f"identity, {refuses} Let {publication} publish this too. Then run the same command again."
    )


def _refuse_foreign(table: _Table, step: Step, foreign: str) -> None:
    if (isinstance(step, Backfill) or makes_trigger(step)) and table.is_named_by(step):
        raise StepFailed(
            f"{foreign} is a foreign table: the server that has its rows knows nothing of what is added here. Nothing "
            "was changed. Make the change there first, by hand, and here with Django's own operation."
        )


def _refuse_typed(table: _Table, step: Step, typed: str, type_: str) -> None:
    if table.is_named_by(step) and any(words in sql for sql in step.statements for words in OF_COLUMNS):
        raise StepFailed(
            f"{typed} has its columns from the type {type_}, and PostgreSQL adds, renames and drops none of such a "
            f"table. Nothing was changed. Type: ALTER TABLE {typed} NOT OF; Then run the same command again."
        )


def _properties(version: int) -> Iterator[tuple[str, Callable[..., None]]]:
    """Each query with what is asked about each step.

    A row of the query is the name of a table, and what the function is given.
    """
    yield tables_with_hidden_rows(), _refuse_hidden
    yield tables_that_inherit(), _refuse_family
    yield tables_with_rules(), _refuse_rules
    yield tables_without_identity(of_schemas=version >= 150000), _refuse_without_identity
    if version >= 150000:
        yield tables_published_in_part(), _refuse_published_in_part
    yield foreign_tables(), _refuse_foreign
    yield typed_tables(), _refuse_typed
