"""Which rows of the contract a command is about: all, those up to a migration, or those of one migration alone."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence

from django.core.management.base import CommandError
from django.db.migrations.loader import MigrationLoader

from ..plans.claims import Claim, Kind
from ..plans.steps import nested, tables_of
from ..postgres.names import Name
from .gate import Row
from .on_disk import Key
from .queue import dropped_by
from .table import Contract


class Target:
    """What stands on the command line behind `migrate`: nothing, an app, or a migration."""

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
        """Those whose rows are meant, `alone`: without those before it."""
        if self.key and alone:
            return {self.key, *self._replaced(self.key)}
        before = {key for node in self.nodes for key in self.loader.graph.forwards_plan(node)}
        found = {name for key in before for name in (key, *self._replaced(key))}
        return (found - self._after_within_its_squash()) | ({self.key} if self.key else set())

    def _replaced(self, key: Key) -> list[Key]:
        migration = self.loader.disk_migrations.get(key)
        return [(label, name) for label, name in migration.replaces] if migration else []

    def _after_within_its_squash(self) -> set[Key]:
        """What was squashed together with the target, and came after it."""
        if not self.key or self.key in self.loader.graph.nodes or self.key not in self.replacing:
            return set()
        together = self._replaced(self.replacing[self.key])
        return set(together[together.index(self.key) + 1 :])


def _resolved(names: Iterable[Key], label: str, prefix: str) -> Key:
    """As `migrate` takes the beginning of a name; also names that are squashed, or only in the queue."""
    found = sorted(name for app, name in names if app == label and name.startswith(prefix))
    if prefix in found or len(found) == 1:
        return label, prefix if prefix in found else found[0]
    if found:
        raise CommandError(f"{prefix!r} is the beginning of several migrations of {label}: {', '.join(found)}.")
    raise CommandError(f"No migration of {label!r} begins with {prefix!r}, and no row of the contract belongs to one.")


def as_rows(contracts: Sequence[Contract]) -> list[Row]:
    return [
        Row(
            number=one.pk,
            key=(one.app_label, one.migration),
            status=one.status,
            since=one.created_at,
            until=one.until,
            tables=frozenset(Name(table).raw for table in _tables(one)) | {claim.table for claim in _claims(one)},
            needs=frozenset(other.pk for other in contracts if other.pk != one.pk and _needs(one, other)),
        )
        for one in contracts
    ]


def with_needs(rows: Sequence[Row], numbers: Collection[int]) -> list[Row]:
    """These rows and those that they need, in their order."""
    wanted, needs = set(numbers), {row.number: row.needs for row in rows}
    while more := {need for number in wanted for need in needs[number]} - wanted:
        wanted |= more
    return [row for row in rows if row.number in wanted]


def _needs(row: Contract, other: Contract) -> bool:
    """An earlier one that works on the same; a later one that drops what this works on."""
    if other.pk < row.pk:
        return _overlap(row, other)
    dropped = dropped_by(other.steps)
    return any(claim.goes_with(dropped) for step in row.steps for claim in step.works_on)


def _overlap(one: Contract, other: Contract) -> bool:
    ones, others = list(_claims(one)), list(_claims(other))
    if not (ones and others):  # plans from before claims: whatever shares a table
        return bool(_tables(one) & _tables(other))
    return any(claim.goes_with(others) for claim in ones) or any(claim.goes_with(ones) for claim in others)


def _claims(row: Contract) -> Iterator[Claim]:
    """A twin as the column that it is. Two foreign keys may point at one key, and need nothing of each other."""
    for step in row.steps:
        for claim in (*step.takes, *step.frees, *step.works_on):
            is_twin = claim.kind is Kind.TWIN
            if claim.kind is not Kind.KEY:
                yield Claim(Kind.COLUMN, claim.table, claim.name, claim.schema) if is_twin else claim


def _tables(row: Contract) -> set[str]:
    return {str(table) for step in nested(row.steps) for table in tables_of(step)}
