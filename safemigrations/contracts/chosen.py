"""Which rows of the contract a command is about: all rows, those up to a migration, or those of one migration alone."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence

from django.core.management.base import CommandError
from django.db.migrations.loader import MigrationLoader

from ..data import Data
from ..plans.claims import Claim, Kind
from ..plans.steps import nested, tables_of
from ..postgres.names import Name
from .gate import Row
from .held import dropped_by
from .on_disk import Key
from .table import Contract
from .unfinished import Unfinished, needed_by


class Target:
    """The argument after `migrate`: none, an app, or a migration."""

    def __init__(self, loader: MigrationLoader, rows: Iterable[Contract], label: str = "", name: str = "") -> None:
        self.loader = loader
        self.replacing = {
            (old[0], old[1]): key for key, migration in loader.disk_migrations.items() for old in migration.replaces
        }
        names = {*loader.disk_migrations, *self.replacing, *((row.app_label, row.migration) for row in rows)}
        self.key = _resolved(names, label, name) if name else None
        self.label = label
        if label and not any(label == app for app, _ in names):
            raise CommandError(f"No app {label!r} has migrations here, nor rows of the contract.")

    @property
    def nodes(self) -> list[Key]:
        """The migrations that have to be applied."""
        graph = self.loader.graph
        if self.key:
            nodes = (self.key, self.replacing.get(self.key))
            return [node for node in nodes if node and node in graph.nodes][:1]
        return [key for key in graph.leaf_nodes() if self.label in ("", key[0])]

    def migrations(self, *, alone: bool) -> set[Key]:
        """The migrations whose rows are meant; `alone` leaves out the migrations before the target."""
        if self.key and alone:
            return {self.key, *self._replaced(self.key)}
        before = {key for node in self.nodes for key in self.loader.graph.forwards_plan(node)}
        found = {name for key in before for name in (key, *self._replaced(key))}
        return (found - self._after_within_its_squash()) | ({self.key} if self.key else set())

    def _replaced(self, key: Key) -> list[Key]:
        migration = self.loader.disk_migrations.get(key)
        return [(label, name) for label, name in migration.replaces] if migration else []

    def _after_within_its_squash(self) -> set[Key]:
        """The migrations that were squashed together with the target and came after it."""
        if not self.key or self.key in self.loader.graph.nodes or self.key not in self.replacing:
            return set()
        together = self._replaced(self.replacing[self.key])
        return set(together[together.index(self.key) + 1 :])


def _resolved(names: Iterable[Key], label: str, prefix: str) -> Key:
    """The name that begins with `prefix`, found as `migrate` finds it.

    Names that were squashed, or that stand only in the queue, are found, too.
    """
    found = sorted(name for app, name in names if app == label and name.startswith(prefix))
    if prefix in found or len(found) == 1:
        return label, prefix if prefix in found else found[0]
    if found:
        raise CommandError(f"{prefix!r} is the beginning of several migrations of {label}: {', '.join(found)}.")
    raise CommandError(f"No migration of {label!r} begins with {prefix!r}, and no row of the contract belongs to one.")


def as_rows(contracts: Sequence[Contract], backfills: Sequence[Unfinished]) -> list[Row]:
    """The rows as the gate looks at them; `backfills` are the unfinished ones of the database."""
    own = [step for one in contracts for step in one.steps] if backfills else []
    works = [_Work.of(one) for one in contracts]
    return [
        Row(
            number=one.pk,
            key=(one.app_label, one.migration),
            status=one.status,
            since=one.created_at,
            until=one.until,
            tables=work.all_tables,
            needs=frozenset(other.number for other in works if other is not work and work.needs(other)),
            unfilled=needed_by(one.steps, backfills, own),
        )
        for one, work in zip(contracts, works, strict=True)
    ]


def with_needs(rows: Sequence[Row], numbers: Collection[int]) -> list[Row]:
    """These rows and those that they need, in their order."""
    wanted, needs = set(numbers), {row.number: row.needs for row in rows}
    while more := {need for number in wanted for need in needs[number]} - wanted:
        wanted |= more
    return [row for row in rows if row.number in wanted]


class _Work(Data):
    """What a row works on. Its plan is read once, as each row is compared with every other row."""

    number: int
    claims: list[Claim]  # a twin as the column that it is
    works_on: list[Claim]
    dropped: list[Claim]
    tables: frozenset[str]  # quoted, as its statements name them
    all_tables: frozenset[str]  # raw, also of its claims

    @classmethod
    def of(cls, row: Contract) -> _Work:
        claims = list(_claims(row))
        tables = frozenset(str(table) for step in nested(row.steps) for table in tables_of(step))
        return cls(
            number=row.pk,
            claims=claims,
            works_on=[claim for step in row.steps for claim in step.works_on],
            dropped=dropped_by(row.steps),
            tables=tables,
            all_tables=frozenset({*(Name(table).raw for table in tables), *(claim.table for claim in claims)}),
        )

    def needs(self, other: _Work) -> bool:
        """Does another row have to run before this one?

        Yes, for an earlier row that works on the same, and for a later row that drops it.
        """
        if self.all_tables.isdisjoint(other.all_tables):
            return False
        if other.number < self.number:
            return self._overlaps(other)
        return any(claim.goes_with(other.dropped) for claim in self.works_on)

    def _overlaps(self, other: _Work) -> bool:
        if not (self.claims and other.claims):  # plans from before claims: whatever shares a table
            return not self.tables.isdisjoint(other.tables)
        mine, theirs = self.claims, other.claims
        return any(claim.goes_with(theirs) for claim in mine) or any(claim.goes_with(mine) for claim in theirs)


def _claims(row: Contract) -> Iterator[Claim]:
    """The claims of a row by which rows are compared; two foreign keys to one key don't need each other."""
    for step in row.steps:
        for claim in (*step.takes, *step.frees, *step.works_on):
            is_twin = claim.kind is Kind.TWIN
            if claim.kind is not Kind.KEY:
                yield Claim(Kind.COLUMN, claim.table, claim.name, claim.schema) if is_twin else claim
