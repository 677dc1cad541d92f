"""Fills the rows that a condition selects."""

from __future__ import annotations

from django.db.backends.base.base import BaseDatabaseWrapper

from ...plans.steps import Backfill
from ...postgres.names import Name
from .table import Key, condition, fetch, texts


class Rows:
    """Rows that PostgreSQL fills with the expressions of `assign`."""

    def __init__(self, connection: BaseDatabaseWrapper, step: Backfill) -> None:
        self.connection, self.step = connection, step
        self.columns = ", ".join(step.key)

    def target(self, part: str) -> str:
        """A partition gets the name of its table, so that expressions find it."""
        return part if part == self.step.table else f"{part} AS {Name(self.step.table).bare}"

    def keys(self, part: str, where: str, *, limit: int | None = None, ordered: bool = False) -> list[Key]:
        order = f" ORDER BY {self.columns}" if ordered else ""
        most = f" LIMIT {limit}" if limit else ""
        query = f"SELECT {texts(self.step.key)} FROM {self.target(part)} WHERE {where} AND {self.step.guard}"
        return [list(row) for row in fetch(self.connection, f"{query}{order}{most}")]

    def key_of(self, table: str) -> str:
        """The key as text, where other tables have columns of the same name."""
        return ", ".join(f"{table}.{column}::text" for column in self.step.key)

    def unlocked(self, part: str, where: str) -> str:
        """A condition that leaves out the rows that somebody else holds at the moment."""
        return (
            f"({self.columns}) IN (SELECT {self.columns} FROM {self.target(part)} WHERE {where}"
            f" AND {self.step.guard} FOR NO KEY UPDATE SKIP LOCKED)"
        )

    def fill(self, part: str, where: str) -> int:
        """Fill these rows and return how many they were; inside the caller's transaction."""
        with self.connection.cursor() as cursor:
            cursor.execute(self._update(part, where))
            return int(cursor.rowcount)

    def fill_unlocked(self, part: str, where: str) -> tuple[int, list[Key]]:
        """Fill the rows that nobody else holds; return how many they were, and the keys of the others."""
        wanted = self.keys(part, where)
        written = self._write_unlocked(part, where) if wanted else []
        done = {tuple(key) for key in written}
        # A row that somebody deleted or filled meanwhile isn't left.
        left = [key for key in wanted if tuple(key) not in done]
        return len(written), self.keys(part, condition(self.step.key, left)) if left else []

    def _write_unlocked(self, part: str, where: str) -> list[Key]:
        key = self.key_of(Name(self.step.table).bare)
        sql = f"{self._update(part, self.unlocked(part, where))} RETURNING {key}"
        return [list(row) for row in fetch(self.connection, sql)]

    def _update(self, part: str, where: str) -> str:
        return f"UPDATE {self.target(part)} SET {self.step.assign} WHERE {where} AND {self.step.guard}"
