"""The shape of a table as values that can be compared: the expected one and the actual one."""

from __future__ import annotations

from typing import Any

from ...data import Data


class Column(Data):
    """Texts are as the catalog spells them, and empty where there is nothing. Sequences are oids."""

    name: str
    type: str
    collation: str
    not_null: bool
    default: str  # of a generated column, its expression
    identity: str
    generated: str
    comment: str
    drawn: int | None = None  # the sequence that its default draws from
    owned: int | None = None  # the sequence that belongs to it

    @property
    def is_numbered(self) -> bool:
        return bool(self.identity or self.drawn)

    @property
    def plain_default(self) -> str:
        return "" if self.generated or self.drawn else self.default

    @property
    def expression(self) -> str:
        return self.default if self.generated else ""


class Index(Data):
    """An index, or the constraint that owns it: then `kind` is contype and the name is that of the constraint."""

    name: str
    definition: str
    unique: bool
    valid: bool
    tablespace: str
    kind: str  # "", "p", "u" or "x"
    constraint: str
    deferrable: bool
    deferred: bool
    columns: list[str]
    keys: list[str]
    nulls_not_distinct: bool

    @property
    def what(self) -> tuple[Any, ...]:
        """What the index is, without its name and its tablespace."""
        return (self.text, *self.rest)

    @property
    def text(self) -> str:
        return self.definition

    @property
    def rest(self) -> tuple[Any, ...]:
        return (self.unique, self.kind, self.deferrable, self.deferred)

    @property
    def noun(self) -> str:
        nouns = {"p": "primary key", "u": "unique constraint", "x": "exclusion constraint"}
        return nouns.get(self.kind, "unique index" if self.unique else "index")


class Constraint(Data):
    """A check or a foreign key."""

    name: str
    kind: str  # "c" or "f"
    expression: str
    columns: list[str]
    parent: int  # oid
    parent_columns: list[str]
    on_update: str
    on_delete: str
    match: str
    deferrable: bool
    deferred: bool
    enforced: bool

    @property
    def what(self) -> tuple[Any, ...]:
        """What the constraint is, without its name."""
        return (self.text, *self.rest)

    @property
    def text(self) -> str:
        return self.expression

    @property
    def rest(self) -> tuple[Any, ...]:
        return tuple(value for name, value in vars(self).items() if name not in ("name", "expression"))

    @property
    def noun(self) -> str:
        return "foreign key" if self.kind == "f" else "check"


class Table(Data):
    """The whole shape of a table."""

    comment: str
    columns: dict[str, Column]
    indexes: list[Index]
    constraints: list[Constraint]
