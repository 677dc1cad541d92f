"""Finds rights that a plan needs and the role lacks, before its first step.

Only the owner of a table may alter it. Who makes an index, a function or a view needs CREATE on its schema. And the
owner may have revoked from himself what it takes to fill rows and to make a trigger.
https://www.postgresql.org/docs/current/ddl-priv.html
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

from ...errors import StepFailed
from ...plans.claims import Kind
from ...plans.indexes import AddUnique, BuildIndex, DropIndex
from ...plans.steps import Backfill, Online, Question, Statement, Step, Together, tables_of
from ...plans.triggers import makes_trigger
from ...postgres.names import Name
from ...postgres.privileges import (
    closed_schema,
    closed_to_own_tables,
    function_of_another,
    own_tables_of_another,
    owners_of_others,
    privileges_lacking,
)
from ..session import Session

OF_OWNERS = (AddUnique, BuildIndex, DropIndex, Online, Statement, Together)
MAKES = (
    r"(?s)^\s*CREATE (?!(OR REPLACE )?(CONSTRAINT )?TRIGGER)|^\s*DO .*\bCREATE |\bRENAME TO\b|\bAS IDENTITY\b"
    r'|\bADD (CONSTRAINT "([^"]|"")+" )?(UNIQUE|EXCLUDE|PRIMARY KEY)\b(?! USING INDEX)'
)
NAMED = r'(?:(?:"(?:[^"]|"")+"\.)?"(?:[^"]|"")+")'
ALTERS = rf"\b(?:ALTER TABLE (?:IF EXISTS )?(?:ONLY )?|DROP TRIGGER (?:IF EXISTS )?{NAMED} ON )({NAMED})"
DROPS_FUNCTION = rf"^DROP FUNCTION (?:IF EXISTS )?({NAMED}\(\))"
FUNCTION = r"^\s*CREATE OR REPLACE FUNCTION "
DJANGO_MIGRATIONS = "django_migrations"


class Rights:
    """Asks each question once: rights don't change during a run."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.asked: dict[str, list[tuple[Any, ...]]] = {}

    def lacking(self, step: Step) -> Iterator[str]:
        """A sentence for each right that the step needs and the role hasn't."""
        owned = _altered(step) if isinstance(step, OF_OWNERS) else ()
        lacking = [_not_owned(*row) for table in owned for row in self._rows(owners_of_others(table))]
        lacking += [_closed(*row) for name in _made_beside(step) for row in self._rows(closed_schema(name))]
        for table, needed in _used(step):
            lacking += [_not_granted(*row) for row in self._rows(privileges_lacking(table, needed))]
        lacking += [_not_its_function(*row) for name in _dropped(step) for row in self._rows(function_of_another(name))]
        if lacking and step.is_needed(self.session):
            yield from lacking

    def lacking_for_own(self, tables: Iterable[str]) -> Iterator[str]:
        """The same for tables of ours that are made when they are first used."""
        query = closed_to_own_tables(tables, DJANGO_MIGRATIONS)
        yield from (_closed(*row) for row in self._rows(query))
        yield from (_not_written(*row) for row in self._rows(own_tables_of_another(tables, DJANGO_MIGRATIONS)))

    def _rows(self, query: str) -> list[tuple[Any, ...]]:
        if query not in self.asked:
            self.asked[query] = self.session.rows(query)
        return self.asked[query]


def refuse_without_rights(session: Session, plan: Iterable[Step]) -> None:
    """Raise StepFailed, which says what to grant."""
    rights = Rights(session)
    if refusals := dict.fromkeys(text for step in plan for text in rights.lacking(step)):
        raise StepFailed("\n".join(refusals))


def _altered(step: Step) -> dict[str, None]:
    """The tables that only their owner may alter.

    A table at which foreign keys point isn't among them.
    """
    claims = [claim for claim in (*step.takes, *step.frees, *step.works_on) if claim.kind is not Kind.KEY]
    claimed = {claim.quoted_table for claim in claims if claim.table}
    named = (found for sql in step.statements for found in re.findall(ALTERS, sql))
    return dict.fromkeys([*sorted(claimed), *filter(None, [getattr(step, "table", "")]), *named])


def _used(step: Step) -> Iterator[tuple[str, tuple[str, ...]]]:
    """The tables on which even their owner needs privileges, with these."""
    if isinstance(step, Backfill):
        yield step.table, ("SELECT", "UPDATE")
    elif makes_trigger(step):
        yield from ((table, ("TRIGGER",)) for table in tables_of(step))


def _dropped(step: Step) -> Iterator[str]:
    """Functions of triggers, which have no arguments."""
    yield from (found for sql in step.statements for found in re.findall(DROPS_FUNCTION, sql))


def _made_beside(step: Step) -> Iterator[str]:
    """The tables in whose schemas it makes something; a function is made in the first of the search_path.

    A question tries indexes, or comes to making or renaming some.
    """
    if isinstance(step, Question):
        yield from _altered(step)
    statements = [sql for sql in step.statements if re.search(MAKES, sql)]
    if any(re.match(FUNCTION, sql) for sql in statements):
        yield ""
    if any(not re.match(FUNCTION, sql) for sql in statements):
        yield from _altered(step)


def _not_owned(table: str, role: str, owner: str) -> str:
    return (
        f"The table {table} belongs to the role {owner}, which {role} isn't a member of, and only its owner "
        f"may alter it. Nothing was changed. Migrate as {owner}, or let an administrator type: "
        f"GRANT {Name.of(owner)} TO {Name.of(role)}"
    )


def _not_granted(table: str, role: str, lacks: str) -> str:
    return (
        f"The role {role} lacks {lacks} on the table {table}. Nothing was changed. Let its owner type: GRANT "
        f"{lacks} ON {table} TO {Name.of(role)}"
    )


def _not_its_function(function: str, role: str, owner: str) -> str:
    return (
        f"The function {function} belongs to the role {owner}, which {role} isn't a member of, and only its owner may "
        f"drop it. Nothing was changed. Migrate as {owner}, or let somebody type: GRANT {Name.of(owner)} TO "
        f"{Name.of(role)}"
    )


def _not_written(table: str, role: str, owner: str) -> str:
    return (
        f"The role {role} may not write the table {table}, which is for {owner} alone, as what it holds decides what "
        f"is run. Nothing was changed. Migrate as {owner}, or let somebody type: GRANT {Name.of(owner)} TO "
        f"{Name.of(role)}"
    )


def _closed(role: str, schema: str) -> str:
    return (
        f"The role {role} may not create anything in the schema {schema}, where indexes, functions or tables are to be "
        f"made. Nothing was changed. Let an administrator type: GRANT CREATE ON SCHEMA {Name.of(schema)} "
        f"TO {Name.of(role)}"
    )
