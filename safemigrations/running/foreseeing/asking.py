"""Finds what is going to stop plans, before the first step of any of them.

A question is asked early only where the steps before it change nothing that it reads: one about a column that an
earlier step adds or fills is asked when its turn has come. Where an earlier plan only gives a table another name, or a
column another name or another type, the rows are asked by the table and the column as they are now.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import cached_property

from django.db import DatabaseError, transaction

from ...errors import StepFailed
from ...plans.carried import Carried, Renamed
from ...plans.claims import PARTS_OF_A_TABLE, Claim, Claims, Kind
from ...plans.duplicates import duplicates
from ...plans.indexes import BuildIndex
from ...plans.steps import Backfill, Online, Plan, Proof, Question, Step, Trial, tables_of, texts_of
from ...postgres.names import Name
from ..backfill.table import columns_set
from ..lost import raise_lost
from ..own_tables import OF_BACKFILLS, refuse_others
from ..proofs import contradictions, proof, trial
from ..run import sending
from ..session import Session
from .ahead import Ahead
from .current_names import CurrentNames
from .foreseen import Foreseen
from .future_columns import FutureColumns
from .planted import refuse_planted
from .rights import Rights

OF_FOREIGN_KEYS = ("REFERENCES", "ON DELETE", "DROP CONSTRAINT")


class Asking:
    """Asks one plan after another, in the order in which they will be run."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.rights = Rights(session)
        self.ahead = Ahead()
        self.refusals: list[str] = []
        self.changed: list[Claim] = []  # what earlier steps create, remove or fill
        self.current = CurrentNames()
        self.future = FutureColumns()
        self.exchanged: set[str] = set()  # tables whose foreign keys earlier steps add, drop or exchange; raw
        self.knows_writers = False
        self.after_unknown_code = False  # has code or SQL of people come before? Nobody knows what it changes
        self.asks_for_duplicates = False  # on the way back no proof of the plan comes before a unique index

    def ask(
        self,
        plan: Iterable[Step],
        *,
        carries: Iterable[Carried] = (),
        renames: Iterable[Renamed] = (),
        left: Iterable[Backfill] = (),
        later: Iterable[Step] = (),
    ) -> None:
        """`left`: backfills of the plan that this run leaves for later, so its rows stay as they are.

        `later`: the steps of its contract, for which the tables have to be fit by now.
        """
        steps, before = self.current.of(tuple(plan)), tuple(self.changed)
        with self.session.ready():
            foreseen = self._foreseen  # asks the catalog alone: an error there isn't one of the plan's
            self._collect(lambda: foreseen.refuse((*steps, *self.current.of(tuple(later)))))
            self._ask_steps(steps, self.current.of(tuple(left)))
        if any(isinstance(step, Backfill) for step in steps):
            self.ask_for_own(*OF_BACKFILLS)
            self.ask_for_writers()
        self._follow(before, carries, renames)

    def note_others(self, claims: Iterable[Claim], *, carries: Iterable[Carried], renames: Iterable[Renamed]) -> None:
        """Remember what Django's own operations change, and what they call by another name."""
        before = tuple(self.changed)
        self.change(claim for claim in claims if claim.kind is not Kind.VIEW)  # it has no rows of its own
        self._follow(before, carries, renames)

    def _follow(self, before: Claims, carries: Iterable[Carried], renames: Iterable[Renamed]) -> None:
        self._rename(renames, before)
        for each in carries:
            self._carry(self.current.of(each), before)

    def _ask_steps(self, steps: Plan, left: Plan) -> None:
        for step in steps:
            self._ask_step(step)
            if step not in left:
                self._remember(step)

    @cached_property
    def _foreseen(self) -> Foreseen:
        return Foreseen(self.session)

    def _carry(self, one: Carried, before: Claims) -> None:
        """The values of the column can be foretold, unless the original itself changes earlier in the run."""
        if not one.original.goes_with(before):
            known = (one.column, one.column.twin)
            self.changed = [claim for claim in self.changed if not claim.is_in(known)]
            self.future.add(one)

    def _rename(self, renames: Iterable[Renamed], before: Claims) -> None:
        """The rows of the table can be foretold, unless the run itself creates the table."""
        for one in renames:
            old = self.current.of(one.old)
            if not old.is_in(before):
                self.changed = [claim for claim in self.changed if not claim.is_in((old, one.new))]
                self.current.add(one)

    def ask_for_rights(self, steps: Iterable[Step]) -> None:
        """Ask whether the role has the rights that these steps need, whoever sends them."""
        for step in steps:
            self.ahead.add(step)
            for refusal in self.rights.lacking(step):
                self.refuse(refusal)

    def ask_for_own(self, *tables: str) -> None:
        """Ask whether the run may create these tables of ours."""
        for refusal in self.rights.lacking_for_own(tables):
            self.refuse(refusal)

    def ask_for_writers(self) -> None:
        """May nobody else write what a contract or a backfill runs?"""
        if not self.knows_writers:
            self.knows_writers = True
            self._collect(lambda: refuse_others(self.session.connection))

    def refuse(self, text: str) -> None:
        if text not in self.refusals:
            self.refusals.append(text)

    def change(self, claims: Iterable[Claim]) -> None:
        self.changed += map(self.current.of, claims)

    # One step.

    def _ask_step(self, step: Step) -> None:
        self.ask_for_rights([step])
        self._collect(lambda: refuse_planted(self.session, step))
        text = self._text(step)
        if (
            text
            and not self.after_unknown_code
            and not self._has_changed(text)
            and self._can_be_asked_ahead(step, text)
        ):
            self._collect(lambda: self._answer(step))

    def _can_be_asked_ahead(self, step: Step, text: str) -> bool:
        """Is the question about rows? Nobody knows yet what the catalog will say about a column that isn't there."""
        is_of_rows = isinstance(step, Proof | Online) and "pg_" not in text
        return is_of_rows or not any(_is_named(claim, text) for claim in self.future.columns)

    def _has_changed(self, text: str) -> bool:
        """May an earlier step change the answer?"""
        uses = "pg_" in text and any(_is_in(text, table) for table in self.exchanged)
        return uses or any(_is_named(claim, text) for claim in self.changed)

    def _text(self, step: Step) -> str:
        """The text of the step's question; empty if it has none."""
        match step:
            case Proof():
                return f"{step.query} {step.pages_of}"
            case Online():
                return step.violators
            case Trial() | Question():
                return " ".join(texts_of(step))
            case BuildIndex(unique=True) if self.asks_for_duplicates:
                return f"{step.table} {step.definition}"
        return ""

    def _answer(self, step: Step) -> None:
        if not step.is_needed(self.session) or (step.done and self.session.rows(step.done)):
            return
        match step:
            case Proof():
                step = replace(step, query=self.future.of(self.session, step.query))
                proof(self.session, step, given=step.given)
            case Trial():
                trial(self.session, step)
            case Online():
                query = self.future.of(self.session, step.violators)
                self._ask_for_rows(query, f"{step.why}: that is going to fail for the rows {{}}")
            case BuildIndex():
                query = duplicates(self.session, step)
                self._ask_for_rows(query, f"{step.why}: several rows have the same key {{}}")
            case Question() if not step.is_too_early(self.session):
                answer = step.discover(self.session)
                for each in (answer,) if isinstance(answer, Step) else answer:
                    self._ask_step(each)

    def _ask_for_rows(self, query: str, text: str) -> None:
        if found := contradictions(self.session, query):
            # Not format(): a name in the text may have braces of its own.
            refusal = text.replace("{}", found)
            raise StepFailed(f"{refusal}. Nothing was changed. Fix them and run the same command again.")

    def _collect(self, ask: Callable[[], None]) -> None:
        """Ask, and collect the refusal. A question about a table or column that isn't there yet is asked later."""
        connection = self.session.connection
        inside = transaction.atomic(using=connection.alias) if connection.in_atomic_block else contextlib.nullcontext()
        try:
            with sending(), inside:
                ask()
        except StepFailed as error:
            raise_lost(error)
            self.refuse(str(error))
        except DatabaseError as error:
            raise_lost(error)

    # What comes before.

    def _remember(self, step: Step) -> None:
        self.change(claim for claim in (*step.takes, *step.frees) if claim.kind is not Kind.INDEX)
        if any(word in sql for sql in step.statements for word in OF_FOREIGN_KEYS):
            self.exchanged |= {Name(table).raw for table in tables_of(step)}
        if isinstance(step, Backfill):
            table = Name(step.table)
            columns = columns_set(step)
            self.change(Claim(Kind.COLUMN, table.raw, column, table.schema) for column in columns)
            if not columns:  # a function says which
                self.change([Claim(Kind.TABLE, table.raw, schema=table.schema)])


def _is_named(claim: Claim, text: str) -> bool:
    return _is_in(text, claim.table) and (claim.kind not in PARTS_OF_A_TABLE or _is_in(text, claim.name))


def _is_in(text: str, name: str) -> bool:
    """Does the text contain the name? Quotes don't count, as identifiers and literals double them."""
    return bool(re.search(rf"(?<!\w){re.escape(_without_quotes(name))}(?!\w)", _without_quotes(text)))


def _without_quotes(text: str) -> str:
    return text.replace('"', "").replace("'", "")
