"""Executes plans. Nothing else in this package sends DDL.

For each step the runner decides: is it already done, how to take its locks, with which timeouts, whether to try
again, and what to tell. Every step can be run twice: after a crash the same command goes on where it stopped.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import singledispatchmethod
from typing import Any

from django.apps.registry import Apps
from django.db import DatabaseError, DataError, IntegrityError, NotSupportedError, ProgrammingError, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from ..data import Data
from ..errors import NeedsAutocommit, StepFailed
from ..plans.copies import BuildCounterparts, CopyIndexes, MoveAdditions, TryTypes
from ..plans.indexes import AddUnique, BuildIndex, DropIndex
from ..plans.steps import Backfill, Online, Plan, Proof, Statement, Step, Together, reverse
from ..postgres import catalog
from ..postgres.lock import Lock
from ..postgres.probe import NEVER
from . import locks
from .backfill.fill import fill
from .locks import Blocker
from .run import Report, explain, sending
from .session import Session

ROWS_NAMED = 5  # how many of the rows that contradict a proof are named
INVALID_INDEX_POLL = 0.5  # seconds between looks at an index that somebody else is building
SHAPE = f"{catalog.PREFIX}shape"  # a table that no other session ever sees
PAGES = 10_000  # of a table, read under one snapshot
PROGRESS_AFTER = 2.0  # seconds before the progress of a long statement is shown


class Runner:
    """Executes steps on one connection; `apps` are the models of the migration that is being applied."""

    def __init__(self, connection: BaseDatabaseWrapper, report: Report | None = None, apps: Apps | None = None) -> None:
        self.session = Session(connection, report, apps)

    def run(self, plan: Plan) -> None:
        """Do every step that isn't done. Raises StepFailed or LockNotAcquired; both leave a state to go on from."""
        for step in plan:
            if self.is_done(step):
                if step.statements:  # without any it is for partitioned tables alone
                    self.session.report.skip(step)
                continue
            self._refuse_inside_transaction(step)
            began = time.monotonic()
            self.session.report.begin(step)
            try:
                with sending():
                    detail = self.execute(step)
            except DatabaseError as error:
                raise StepFailed(explain(step, error)) from error
            self.session.report.done(step, time.monotonic() - began, detail or "")

    def undo(self, plan: Plan) -> None:
        self.run(reverse(plan))

    def is_done(self, step: Step) -> bool:
        return bool(step.done) and bool(self.session.rows(step.done))

    def _refuse_inside_transaction(self, step: Step) -> None:
        if self.session.connection.in_atomic_block and not step.transactional:
            raise NeedsAutocommit(
                f"{step.why}: this can't be done inside a transaction (set atomic = False on the migration)."
            )

    # One method a kind of step; each returns what there is to tell about it.

    @singledispatchmethod
    def execute(self, step: Step) -> str:
        raise TypeError(f"No way to execute {type(step).__name__}.")

    @execute.register
    def _statement(self, step: Statement) -> str:
        return self._in_short_transaction(step, step.locks, (self._sql_of(step),))

    def _sql_of(self, step: Statement | Online) -> str:
        instead = step.instead
        return instead.sql if instead and self.session.rows(instead.when) else step.sql

    @execute.register
    def _together(self, step: Together) -> str:
        return self._in_short_transaction(step, step.locks, step.statements)

    def _in_short_transaction(self, step: Step, wanted: Mapping[str, Lock], statements: Sequence[str]) -> str:
        if self.session.connection.in_atomic_block:
            # Somebody's transaction: it can't be tried again from here.
            for sql in statements:
                self.session.send(sql)
            return ""
        waits = _Waits(step, self.session.report)
        for attempt in locks.attempts(self.session.connection, wanted, waits):
            try:
                with transaction.atomic(using=self.session.connection.alias):
                    locks.acquire(self.session.connection, wanted, attempt)
                    for sql in statements:
                        self.session.send(sql)
                break
            except DatabaseError as error:
                if not locks.is_retried(error):
                    raise
        return waits.summary()

    @execute.register
    def _online(self, step: Online) -> str:
        try:
            return self._without_timeouts(step, self._sql_of(step), step.locks)
        except IntegrityError as error:
            found = self._contradictions(step.violators) if step.violators else ""
            self.run(step.on_failure)
            if found:
                raise StepFailed(
                    f"{step.why} failed for the rows {found}. Mend them and run the same command again; what "
                    "was done before stays, and nothing was left that rejects a write."
                ) from error
            raise

    def _without_timeouts(self, step: Step, sql: str, wanted: Mapping[str, Lock]) -> str:
        """A lock_timeout would leave an INVALID index; statement_timeout is meant for requests.

        The locks are waited for beforehand and given back: who waits for a lock inside the statement holds a snapshot,
        and a CREATE INDEX CONCURRENTLY that has the lock waits for that snapshot, until one of the two is ended.
        """
        waits, sent = _Waits(step, self.session.report), False
        for attempt in locks.attempts(self.session.connection, wanted, waits):
            try:
                with transaction.atomic(using=self.session.connection.alias):
                    locks.acquire(self.session.connection, wanted, attempt)
                self._tell_old_snapshots(step)
                with (
                    self.session.settings(lock_timeout=0, statement_timeout=0),
                    _Progress(self.session.connection, self.session.report, step),
                ):
                    sent = True
                    self.session.send(sql)
                break
            except DatabaseError as error:
                # An index that was begun has to be cleared away first.
                if not locks.is_retried(error) or (sent and isinstance(step, BuildIndex)):
                    raise
        return waits.summary()

    def _tell_old_snapshots(self, step: Step) -> None:
        """CONCURRENTLY waits until every older snapshot is gone; say whose."""
        old = self.session.rows(
            "SELECT pid, application_name, backend_type, coalesce(state, ''),"
            " extract(epoch FROM clock_timestamp() - xact_start)::float, query FROM pg_stat_activity"
            " WHERE backend_xmin IS NOT NULL AND pid <> pg_backend_pid() AND datname = current_database()"
            " AND backend_type <> 'autovacuum worker'"
            f" AND xact_start < clock_timestamp() - interval '{locks.LONG_TRANSACTION} s'"
        )
        names = ("pid", "application", "backend", "state", "age", "query")
        if blockers := [Blocker(**dict(zip(names, row, strict=True))) for row in old]:
            self.session.report.waiting(step, blockers, 0)

    @execute.register
    def _build_index(self, step: BuildIndex) -> str:
        state = self._wait_for_builder(step)
        if state.partitioned and step.for_constraint:
            return "with the constraint, partition by partition"
        if state.partitioned:
            return self._build_partitioned(step)
        if state.valid:
            self._analyze(step)
            return "was there already"
        self._drop_invalid(step, state)
        try:
            detail = self._without_timeouts(step, step.statements[0], _online_lock(step.table))
        except DatabaseError as error:
            if not self.session.connection.is_usable():
                raise
            state = self._wait_for_builder(step)  # somebody else may have begun in the same moment
            self._drop_invalid(step, state)  # an INVALID unique index still refuses duplicates
            if state.valid or locks.is_retried(error):
                return self._build_index(step)
            raise
        self._analyze(step)
        return detail

    def _wait_for_builder(self, step: BuildIndex) -> _IndexState:
        """The state of an index that nobody is building."""
        told = None
        while builder := (state := self._index_state(step.table, step.name)).builder:
            if builder != told:
                self.session.report.progress(step, f"pid {builder} is building this index already; waiting for it")
                told = builder
            time.sleep(INVALID_INDEX_POLL)
        return state

    def _analyze(self, step: BuildIndex) -> None:
        for sql in step.statements[1:]:
            self._without_timeouts(step, sql, _online_lock(step.table))

    def _index_state(self, table: str, name: str) -> _IndexState:
        rows = self.session.rows(catalog.index_state(table, name))
        if not rows:
            raise StepFailed(_missing_table(table, self.session.connection))
        kind, index, valid, builder = rows[0]
        return _IndexState(partitioned=kind == "p", index=index, valid=bool(valid), builder=builder)

    def _drop_invalid(self, step: BuildIndex, state: _IndexState) -> None:
        if state.index and not state.valid:
            self.session.report.progress(step, f"{state.index} is an INVALID leftover; dropping it")
            drop = f"DROP INDEX CONCURRENTLY IF EXISTS {state.index}"
            self._without_timeouts(step, drop, _online_lock(step.table))

    def _build_partitioned(self, step: BuildIndex) -> str:
        """ON ONLY the parent, each partition CONCURRENTLY, then ATTACH: the parent's index becomes valid.

        https://www.postgresql.org/docs/current/sql-createindex.html
        """
        unique = "UNIQUE " if step.unique else ""
        parent = Statement(
            why=f"{step.why}: the partitioned table's own, empty until its partitions are attached",
            sql=f'CREATE {unique}INDEX "{step.name}" ON ONLY {step.table} {step.definition}',
            locks={step.table: Lock.SHARE},
            done=catalog.index_exists(step.table, step.name),
        )
        self.run((parent,))
        try:
            self._build_partitions(step)
        except StepFailed as error:
            if step.unique and isinstance(error.__cause__, IntegrityError):
                # The partitions that are done would refuse duplicates that were no error before.
                self._drop_partitioned(step)
            raise
        return ""

    def _build_partitions(self, step: BuildIndex) -> None:
        parent = str(self._index_state(step.table, step.name).index)
        for partition, bare, schema in self._partitions_without(parent, step.table):
            wanted = catalog.temporary_name(bare, step.name).removeprefix(catalog.PREFIX)
            name = self._free_name(schema, wanted, partition)
            child = BuildIndex(
                why=f"{step.why}: partition {bare}",
                table=partition,
                name=name,
                definition=step.definition,
                unique=step.unique,
                analyze=step.analyze,
            )
            self.run((child,))
            self._attach(step, parent, bare, f'"{schema}"."{name}"')

    def _partitions_without(self, parent: str, table: str) -> Iterator[tuple[str, str, str]]:
        """The partitions that have no index of this parent: not those that were made since it is there."""
        for partition, bare, _, schema in self.session.rows(catalog.partitions(table)):
            if not self.session.rows(catalog.index_of_partition(parent, partition)):
                yield partition, bare, schema

    def _attach(self, step: Step, parent: str, partition: str, index: str) -> None:
        attach = Statement(
            why=f"{step.why}: attach partition {partition}",
            sql=f"ALTER INDEX {parent} ATTACH PARTITION {index}",
            locks={},
            done=catalog.index_attached(parent, index),
        )
        self.run((attach,))

    def _free_name(self, schema: str, wanted: str, partition: str) -> str:
        """The first of name, name1, name2 that nothing has but, after a crash, the index that is to be attached."""
        names = (catalog.numbered(wanted, number) for number in itertools.count())
        return next(name for name in names if not self.session.rows(catalog.name_taken(schema, name, partition)))

    @execute.register
    def _add_unique(self, step: AddUnique) -> str:
        if not self._index_state(step.table, step.name).partitioned:
            return self._in_short_transaction(step, {step.table: Lock.ACCESS_EXCLUSIVE}, step.statements)
        # First, because it refuses columns that don't include the partition key before anything is built.
        parent = Statement(
            why=f"{step.why}: the partitioned table's own, empty until its partitions are attached",
            sql=step.of_the_whole,
            locks={step.table: Lock.ACCESS_EXCLUSIVE},
            done=catalog.constraint_exists(step.table, step.name),
        )
        self.run((parent,))
        try:
            self._add_unique_to_partitions(step)
        except StepFailed as error:
            if isinstance(error.__cause__, IntegrityError):
                # The partitions that are done would refuse duplicates that were no error before.
                drop = f'ALTER TABLE {step.table} DROP CONSTRAINT IF EXISTS "{step.name}"'
                self._in_short_transaction(step, {step.table: Lock.ACCESS_EXCLUSIVE}, (drop,))
            raise
        return ""

    def _add_unique_to_partitions(self, step: AddUnique) -> None:
        parent = str(self._index_state(step.table, step.name).index)
        columns = "_".join(column.strip('"') for column in step.columns)
        for partition, bare, schema in self._partitions_without(parent, step.table):
            name = self._free_name(schema, catalog.object_name(bare, columns, "key"), partition)
            build = BuildIndex(
                why=f"{step.why}: index of partition {bare}",
                table=partition,
                name=name,
                definition=step.definition,
                unique=True,
                for_constraint=True,
                done=catalog.unique_exists(partition, name),
            )
            add = replace(
                step, why=f"{step.why}: partition {bare}", table=partition, name=name, done=build.done, undo=()
            )
            self.run((build, add))
            self._attach(step, parent, bare, f'"{schema}"."{name}"')

    def _drop_partitioned(self, step: BuildIndex | DropIndex) -> str:
        """DROP INDEX CONCURRENTLY is not supported for an index of a partitioned table."""
        drop = f"DROP INDEX IF EXISTS {self._index_state(step.table, step.name).index}"
        return self._in_short_transaction(step, {step.table: Lock.ACCESS_EXCLUSIVE}, (drop,))

    @execute.register
    def _drop_index(self, step: DropIndex) -> str:
        if not self.session.rows(catalog.table_exists(step.table)):
            return "its table is gone"
        if step.query:
            names = [name for (name,) in self.session.rows(step.query)]
            details = [self._drop_index(replace(step, name=name, query="")) for name in names]
            return ", ".join(filter(None, details)) if details else "was gone already"
        state = self._index_state(step.table, step.name)
        if not state.index:
            return "was gone already"
        if state.partitioned:
            return self._drop_partitioned(step)
        drop = f"DROP INDEX CONCURRENTLY IF EXISTS {state.index}"
        return self._without_timeouts(step, drop, _online_lock(step.table))

    @execute.register
    def _copy_indexes(self, step: CopyIndexes) -> str:
        found = self._indexes_renamed(step.table, {step.column: step.twin})
        self.run(tuple(_copy_of_index(step.table, step.twin, *index) for index in found))
        return ""

    def _indexes_renamed(self, table: str, twins: Mapping[str, str]) -> list[tuple[str, bool, bool, str]]:
        """The indexes of columns as they would be if these had their twins' names: see catalog.indexes_knowing()."""
        both = {name for name, *_ in self.session.rows(catalog.indexes_knowing(table, *twins.values()))}
        found = [row for row in self.session.rows(catalog.indexes_knowing(table, *twins)) if row[0] not in both]
        create = [_index_of_shape(number, unique, made) for number, (_, unique, _, made) in enumerate(found)]
        renamed = self._renamed(table, twins, create, catalog.indexes_knowing(f'"{SHAPE}"', *twins.values()))
        return [(*row, definition) for (*row, _), (*_, definition) in zip(found, renamed, strict=True)]

    def _checks_renamed(self, table: str, twins: Mapping[str, str]) -> list[tuple[str, str]]:
        both = {name for name, _ in self.session.rows(catalog.checks_knowing(table, *twins.values()))}
        found = [row for row in self.session.rows(catalog.checks_knowing(table, *twins)) if row[0] not in both]
        create = [_check_of_shape(number, definition) for number, (_, definition) in enumerate(found)]
        renamed = self._renamed(table, twins, create, catalog.checks_knowing(f'"{SHAPE}"', *twins.values()))
        return [(name, definition) for (name, _), (_, definition) in zip(found, renamed, strict=True)]

    def _renamed(self, table: str, twins: Mapping[str, str], create: list[str], query: str) -> list[tuple[Any, ...]]:
        """How PostgreSQL spells what is created, after a rename of the columns."""
        if not create:
            return []
        drop = [f'ALTER TABLE "{SHAPE}" DROP COLUMN "{twin}"' for twin in twins.values()]
        rename = [f'ALTER TABLE "{SHAPE}" RENAME COLUMN "{column}" TO "{twin}"' for column, twin in twins.items()]
        return self._on_shape(table, [*drop, *create, *rename], query)

    def _on_shape(self, table: str, statements: list[str], query: str = "SELECT 1") -> list[tuple[Any, ...]]:
        """What the query finds after the statements, on an empty table of the same columns, which is rolled back."""
        return self.session.rows_after([f'CREATE TABLE "{SHAPE}" (LIKE {table})', *statements], query)

    @execute.register
    def _try_types(self, step: TryTypes) -> str:
        alter = [f'ALTER TABLE "{SHAPE}" ALTER COLUMN "{name}" TYPE {type_} USING NULL' for name, type_ in step.types]
        for what, create in self._hanging_on(step):
            try:
                self._on_shape(step.table, [create, *alter])
            except (ProgrammingError, DataError, NotSupportedError) as error:
                reason = str(error).strip().partition("\n")[0]
                # Not format(): a name in the text may have braces of its own.
                raise StepFailed(step.failure.replace("{what}", what).replace("{error}", reason)) from error
        return ""

    def _hanging_on(self, step: TryTypes) -> Iterator[tuple[str, str]]:
        """The indexes and checks that are to be tried, and the statements that make them on the shape."""
        columns = [name for name, _ in step.types]
        left_out = {name for (name,) in self.session.rows(step.but)} if step.but else set()
        for name, unique, _, definition in self.session.rows(catalog.indexes_knowing(step.table, *columns)):
            if name not in left_out and not name.startswith(catalog.PREFIX):
                yield f"index {name}", _index_of_shape(0, unique, definition)
        for name, definition in self.session.rows(catalog.checks_knowing(step.table, *columns)):
            if not name.startswith(catalog.PREFIX):
                yield f"check {name}", _check_of_shape(0, definition)

    @execute.register
    def _build_counterparts(self, step: BuildCounterparts) -> str:
        twins = dict(step.twins)
        left_out = {name for (name,) in self.session.rows(step.but)} if step.but else set()
        for name, unique, on_expression, definition in self._indexes_renamed(step.table, twins):
            if step.copies and name.startswith(catalog.COPY):
                twin = ", ".join(twins.values())
                self.run((_copy_of_index(step.table, twin, name, unique, on_expression, definition),))
            elif not name.startswith(catalog.PREFIX) and name not in left_out:
                self._build_counterpart(step, name, unique, on_expression, definition)
        for name, definition in self._checks_renamed(step.table, twins):
            if not name.startswith(catalog.PREFIX):
                copy = catalog.name_of_copy(step.scope, name)
                self.run(self._add_check(step.table, f"check {name}, for what takes its place", copy, definition))
        return ""

    def _build_counterpart(
        self, step: BuildCounterparts, name: str, unique: bool, on_expression: bool, definition: str
    ) -> None:
        table, copy = step.table, catalog.name_of_copy(step.scope, name)
        kind, deferrable = next(iter(self.session.rows(catalog.constraint_of_index(table, name))), ("", ""))
        why = f"{catalog.bare(table)}: index {name}, for what takes its place"
        done = catalog.unique_exists(table, copy) if kind == "u" else NEVER
        build = BuildIndex(
            why=why,
            table=table,
            name=copy,
            definition=definition,
            unique=unique or kind == "u",
            analyze=on_expression,
            for_constraint=kind == "u",
            done=done,
        )
        twins, columns = dict(step.twins), self.session.rows(catalog.columns_of_constraint(table, name))
        quoted = tuple(f'"{twins.get(column, column)}"' for (column,) in columns)
        add = AddUnique(why=why, table=table, name=copy, columns=quoted, deferrable=deferrable, done=done)
        self.run((build, add) if kind == "u" else (build,))

    @execute.register
    def _move_additions(self, step: MoveAdditions) -> str:
        for name, unique, on_expression, definition in self._indexes_renamed(step.table, {step.twin: step.column}):
            if not name.startswith(catalog.COPY):
                self._move_index(step, name, unique, on_expression, definition)
        for name, definition in self._checks_renamed(step.table, {step.twin: step.column}):
            if not name.startswith(catalog.COPY):
                self._move_check(step, name, definition)
        return ""

    def _move_index(self, step: MoveAdditions, name: str, unique: bool, on_expression: bool, definition: str) -> None:
        kind, deferrable = next(iter(self.session.rows(catalog.constraint_of_index(step.table, name))), ("", ""))
        if kind not in ("", "u"):
            raise StepFailed(
                f"{name} of {catalog.bare(step.table)} was made after {step.twin} got its twin, and can't be built "
                "without blocking. Drop it, run the same command again, and then make it anew."
            )
        build = BuildIndex(
            why=f"{catalog.bare(step.table)}: index {name}, which a later migration made, for the column that stays",
            table=step.table,
            name=catalog.name_of_copy(step.table, definition),
            definition=definition,
            unique=unique or kind == "u",
            analyze=on_expression,
        )
        aside = catalog.name_of_copy(step.table, name)
        exchange = Together(
            why=f"{catalog.bare(step.table)}: that index is {name} from now on",
            sql=(
                f'ALTER INDEX {catalog.beside(step.table, name)} RENAME TO "{aside}"',
                f'ALTER TABLE {step.table} ADD CONSTRAINT "{name}" UNIQUE USING INDEX "{build.name}"{deferrable}'
                if kind
                else f'ALTER INDEX {catalog.beside(step.table, build.name)} RENAME TO "{name}"',
            ),
            locks={step.table: Lock.ACCESS_EXCLUSIVE} if kind else {},
        )
        self.run((build, exchange))

    def _move_check(self, step: MoveAdditions, name: str, definition: str) -> None:
        label = catalog.bare(step.table)
        new, aside = catalog.name_of_copy(step.table, definition), catalog.name_of_copy(step.table, name)
        add = self._add_check(
            step.table, f"check {name}, which a later migration made, for the column that stays", new, definition
        )
        exchange = Together(
            why=f"{label}: that check is {name} from now on",
            sql=(
                f'ALTER TABLE {step.table} RENAME CONSTRAINT "{name}" TO "{aside}"',
                f'ALTER TABLE {step.table} RENAME CONSTRAINT "{new}" TO "{name}"',
            ),
            locks={step.table: Lock.ACCESS_EXCLUSIVE},
        )
        self.run((*add, exchange))

    def _add_check(self, table: str, what: str, name: str, definition: str) -> Plan:
        """A check as another one is, also in whether it was validated."""
        label = catalog.bare(table)
        add = Statement(
            why=f"{label}: {what}",
            sql=f'ALTER TABLE {table} ADD CONSTRAINT "{name}" {definition.removesuffix(" NOT VALID")} NOT VALID',
            locks={table: Lock.ACCESS_EXCLUSIVE},
            done=catalog.constraint_exists(table, name),
        )
        validate = Online(
            why=f"{label}: that check holds for every row (checked without blocking)",
            sql=f'ALTER TABLE {table} VALIDATE CONSTRAINT "{name}"',
            locks={table: Lock.SHARE_UPDATE_EXCLUSIVE},
            done=catalog.constraint_exists(table, name, validated=True),
        )
        return (add,) if definition.endswith(" NOT VALID") else (add, validate)

    @execute.register
    def _proof(self, step: Proof) -> str:
        if found := self._contradictions(step.query, step.pages_of):
            self.run(step.on_failure)
            # Not format(): a name in the text may have braces of its own.
            raise StepFailed(step.failure.replace("{rows}", found))
        return ""

    def _contradictions(self, query: str, pages_of: str = "") -> str:
        """The first rows of a query that should find none, and how many more there are; empty if there is none."""
        named: list[str] = []
        count = 0
        with self.session.settings(statement_timeout=0):
            for pages in self._page_ranges(pages_of) if pages_of else ("",):
                found = f"SELECT count(*) OVER (), found.* FROM ({query}{pages}) AS found LIMIT {ROWS_NAMED}"
                rows = self.session.rows(found)
                named += [" ".join(map(str, row)) for _, *row in rows]
                count += rows[0][0] if rows else 0
        first = ", ".join(named[:ROWS_NAMED])
        return f"{first} and {count - ROWS_NAMED:,} more" if count > ROWS_NAMED else first

    def _page_ranges(self, table: str) -> Iterator[str]:
        """Conditions that select some pages each, of a partitioned table those of every partition."""
        size = "pg_relation_size(relid) / current_setting('block_size')::int"
        oid = catalog.regclass(table)
        tree = f"SELECT {oid} AS relid UNION SELECT relid FROM pg_partition_tree({oid})"
        ((last,),) = self.session.rows(f"SELECT coalesce(max({size}), 0) FROM ({tree}) AS tree")
        for page in range(0, int(last), PAGES):
            yield f" AND ctid >= '({page},0)' AND ctid < '({page + PAGES},0)'"

    @execute.register
    def _backfill(self, step: Backfill) -> str:
        return fill(self.session, step)


def _index_of_shape(number: int, unique: bool, definition: str) -> str:
    return f'CREATE {"UNIQUE " if unique else ""}INDEX "{SHAPE}_{number}" ON "{SHAPE}" {definition}'


def _check_of_shape(number: int, definition: str) -> str:
    return f'ALTER TABLE "{SHAPE}" ADD CONSTRAINT "{SHAPE}_{number}" {definition}'


def _copy_of_index(table: str, twin: str, name: str, unique: bool, on_expression: bool, definition: str) -> BuildIndex:
    return BuildIndex(
        why=f"{catalog.bare(table)}: index {name} for {twin} too",
        table=table,
        # A plain and a unique index of the same columns are two.
        name=catalog.name_of_copy(table, f"UNIQUE {definition}" if unique else definition),
        definition=definition,
        unique=unique,
        analyze=on_expression,
    )


def _online_lock(table: str) -> dict[str, Lock]:
    """What CONCURRENTLY and ANALYZE take: reads and writes go on."""
    return {table: Lock.SHARE_UPDATE_EXCLUSIVE}


class _IndexState(Data):
    partitioned: bool
    index: str | None  # qualified name
    valid: bool
    builder: int | None  # pid of who is building it right now


class _Waits:
    """Collects for whom a step waited, and how long."""

    def __init__(self, step: Step, report: Report) -> None:
        self.step, self.report = step, report
        self.seconds = 0.0
        self.last: Sequence[Blocker] = ()

    def __call__(self, blockers: Sequence[Blocker], seconds: float) -> None:
        self.seconds, self.last = seconds, blockers or self.last
        self.report.waiting(self.step, blockers, seconds)

    def summary(self) -> str:
        if not self.seconds:
            return ""
        who = f" for {self.last[0]}" if self.last else ""
        return f"of which {self.seconds:.1f} s waiting{who}"


class _Progress:
    """While a long statement runs, tells how far it is, seen from a connection of its own."""

    def __init__(self, connection: BaseDatabaseWrapper, report: Report, step: Step) -> None:
        self.watched, self.report, self.step = connection, report, step
        self.over = threading.Event()
        self.thread: threading.Thread | None = None

    def __enter__(self) -> None:
        if not isinstance(self.step, BuildIndex):
            return
        with self.watched.cursor() as cursor:
            cursor.execute("SELECT pg_backend_pid()")
            (pid,) = cursor.fetchone()
        self.thread = threading.Thread(target=self._watch, args=(pid,), daemon=True)
        self.thread.start()

    def __exit__(self, *exc: object) -> None:
        self.over.set()
        if self.thread:
            self.thread.join()

    def _watch(self, pid: int) -> None:
        if self.over.wait(PROGRESS_AFTER):
            return
        connection = self.watched.copy()
        try:
            while not self.over.wait(1):
                with connection.cursor() as cursor:
                    cursor.execute(
                        "SELECT phase, blocks_done, blocks_total, lockers_done, lockers_total,"
                        f" current_locker_pid FROM pg_stat_progress_create_index WHERE pid = {pid}"
                    )
                    if row := cursor.fetchone():
                        self.report.progress(self.step, _index_progress(*row))
        except DatabaseError as error:
            self.report.progress(self.step, f"(progress can't be read: {error})")
        finally:
            connection.close()


def _index_progress(phase: str, done: int, total: int, gone: int, lockers: int, locker: int) -> str:
    if lockers:
        return f"{phase} ({gone} of {lockers}, now pid {locker})"
    if total:
        return f"{phase}, {100 * done // total} %"
    return phase


def _missing_table(table: str, connection: BaseDatabaseWrapper) -> str:
    return (
        f"Table {table} doesn't exist in database {connection.alias!r}. Was its migration faked, or is the "
        "search_path another one? Look with: python manage.py showmigrations"
    )
