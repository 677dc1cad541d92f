"""What somebody gave a column, an index or a constraint by hand, and Django doesn't know: a change doesn't take it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import pytest
from django.db import models
from django.db.migrations import AlterField

from ..snapshot import Snapshot
from .conftest import Role
from .deployment import assert_same
from .library import BIGGER, RENAMED, SAME, TEXT, Change

SHORTER = Change("a shorter text", AlterField("book", "code", models.CharField(max_length=20)), SAME)
KEYS = Change("a key that others point at", AlterField("author", "id", models.AutoField(primary_key=True)), SAME)
OF_PAGES, OF_CODE, OF_KEYS = [BIGGER, TEXT, RENAMED], [SHORTER], [KEYS]


@dataclass(frozen=True)
class Property:
    """SQL that gives it, of the columns that the changes are about; `{role}` is a role, `since` a server's version."""

    name: str
    sql: str
    changes: list[Change]
    since: int = 15

    def __str__(self) -> str:
        return self.name


def column(name: str, sql: str, *changes: Change) -> Property:
    of = "code" if changes == (SHORTER,) else "pages"
    return Property(name, f"ALTER TABLE shop_book ALTER COLUMN {of} {sql}", list(changes or OF_PAGES))


def foreign_key(name: str, options: str) -> Property:
    add = f"ADD CONSTRAINT by_hand FOREIGN KEY (author_id) REFERENCES shop_author (id) {options}"
    return Property(name, f"ALTER TABLE shop_book DROP CONSTRAINT {{fk}}, {add}", OF_KEYS)


DJANGOS = "shop_book_(author|editor)_id_[0-9a-f]{8}_fk(_shop_author_id)?"
ADD = "ALTER TABLE shop_book ADD CONSTRAINT by_hand"
KEY_OF_AUTHOR = "SELECT conname FROM pg_constraint WHERE contype = 'f' AND conname ~ '^shop_book_author_id'"
PAGES = "ON shop_book (pages)"
PROPERTIES = [
    Property("nothing", "SELECT", [*OF_PAGES, *OF_CODE, *OF_KEYS]),
    # Of a column.
    column("statistics", "SET STATISTICS 500"),
    column("a number of distinct values", "SET (n_distinct = 100)"),
    column("a default", "SET DEFAULT 5"),
    column("NOT NULL", "SET NOT NULL"),
    column("storage", "SET STORAGE EXTERNAL", SHORTER),
    column("compression", "SET COMPRESSION pglz", SHORTER),
    Property("a comment", "COMMENT ON COLUMN shop_book.pages IS 'by hand'", OF_PAGES),
    Property("grants", 'GRANT SELECT (pages), UPDATE (pages) ON shop_book TO "{role}" WITH GRANT OPTION', OF_PAGES),
    Property("the columns of a publication", "CREATE PUBLICATION {role} FOR TABLE shop_book (id, pages)", OF_PAGES),
    Property(
        "the rows of a publication",
        "CREATE PUBLICATION {role} FOR TABLE shop_book WHERE (pages > 0) WITH (publish = 'insert')",
        OF_PAGES,
    ),
    Property("extended statistics", "CREATE STATISTICS by_hand ON pages, code FROM shop_book", [*OF_PAGES, *OF_CODE]),
    Property("statistics of an expression", "CREATE STATISTICS by_hand ON (pages + 1) FROM shop_book", OF_PAGES),
    Property("a sequence of its own", "CREATE SEQUENCE by_hand OWNED BY shop_book.pages", OF_PAGES),
    # Of an index.
    Property("an index", f"CREATE INDEX by_hand {PAGES}", OF_PAGES),
    Property("a fill factor", f"CREATE INDEX by_hand {PAGES} WITH (fillfactor = 70)", OF_PAGES),
    Property("a comment on an index", f"CREATE INDEX by_hand {PAGES}; COMMENT ON INDEX by_hand IS 'by hand'", OF_PAGES),
    Property(
        "statistics of an index",
        "CREATE INDEX by_hand ON shop_book ((pages + 1)); ALTER INDEX by_hand ALTER COLUMN 1 SET STATISTICS 500",
        OF_PAGES,
    ),
    Property("nulls that are the same", f"CREATE UNIQUE INDEX by_hand {PAGES} NULLS NOT DISTINCT", OF_PAGES),
    Property("an order", "CREATE INDEX by_hand ON shop_book (pages DESC NULLS LAST, title)", OF_PAGES),
    Property("clustering", f"CREATE INDEX by_hand {PAGES}; ALTER TABLE shop_book CLUSTER ON by_hand", OF_PAGES),
    Property(
        "replica identity",
        "CREATE UNIQUE INDEX by_hand ON shop_book (code); ALTER TABLE shop_book REPLICA IDENTITY USING INDEX by_hand",
        OF_CODE,
    ),
    # Of a constraint.
    Property("a check", f"{ADD} CHECK (pages > 0)", OF_PAGES),
    Property("a check for new rows", f"{ADD} CHECK (pages > 0) NOT VALID", OF_PAGES),
    Property("a check of its own", f"{ADD} CHECK (pages > 0) NO INHERIT", OF_PAGES),
    Property(
        "a check that nobody enforces",
        f"{ADD} CHECK (pages < 0) NOT ENFORCED",
        OF_PAGES,
        since=18,
    ),
    Property(
        "a comment on a check",
        f"{ADD} CHECK (pages > 0);COMMENT ON CONSTRAINT by_hand ON shop_book IS 'by hand'",
        OF_PAGES,
    ),
    Property(
        "a comment on a unique constraint",
        f"{ADD} UNIQUE (pages);COMMENT ON CONSTRAINT by_hand ON shop_book IS 'by hand'",
        OF_PAGES,
    ),
    Property("an exclusion", f"{ADD} EXCLUDE (pages WITH =)", OF_PAGES),
    Property(
        "a foreign key besides",
        f"{ADD} FOREIGN KEY (author_id) REFERENCES shop_author (id)",
        OF_KEYS,
    ),
    foreign_key("ON DELETE SET NULL", "ON DELETE SET NULL"),
    foreign_key("ON DELETE CASCADE", "ON DELETE CASCADE"),
    foreign_key("ON UPDATE CASCADE", "ON UPDATE CASCADE DEFERRABLE INITIALLY DEFERRED"),
    foreign_key("MATCH FULL", "MATCH FULL"),
    foreign_key("checked at once", ""),
    foreign_key("for new rows", "NOT VALID"),
    # Of the key that the foreign keys point at.
    Property(
        "a comment on a primary key", "COMMENT ON CONSTRAINT shop_author_pkey ON shop_author IS 'by hand'", OF_KEYS
    ),
    Property("a comment on its index", "COMMENT ON INDEX shop_author_pkey IS 'by hand'", OF_KEYS),
    Property("clustering by a primary key", "ALTER TABLE shop_author CLUSTER ON shop_author_pkey", OF_KEYS),
    Property(
        "a primary key as replica identity",
        "ALTER TABLE shop_author REPLICA IDENTITY USING INDEX shop_author_pkey",
        OF_KEYS,
    ),
    Property("a comment on a foreign key", "COMMENT ON CONSTRAINT {fk} ON shop_book IS 'by hand'", OF_KEYS),
]


def comparable(found: Snapshot) -> Snapshot:
    """Without types and their limits, with the name that the column had before, and a foreign key by any name."""

    def before(value: Any) -> Any:
        if isinstance(value, list):
            return [before(one) for one in value]
        return re.sub(DJANGOS, r"\1", value.replace("sheets", "pages")) if isinstance(value, str) else value

    kinds = {kind: {before(name): before(what) for name, what in of.items()} for kind, of in found.items()}
    kinds["columns"] = {name: [*what[1:5], what[5] == "e", *what[6:]] for name, what in kinds["columns"].items()}
    kinds["sequences"] = {name: [*what[1:3], *what[5:]] for name, what in kinds["sequences"].items()}
    return kinds


ALL = [
    pytest.param(property, change, id=f"{property}-{change}") for property in PROPERTIES for change in property.changes
]


@pytest.mark.parametrize(("property", "change"), ALL)
def test_what_was_given_by_hand_stays_or_the_change_is_refused(books, property: Property, change, role: Role):
    name = role("reader")
    if books.sql("SHOW server_version_num")[0] < f"{property.since}0000":
        pytest.skip(f"It is there since PostgreSQL {property.since}.")
    (key,) = books.sql(KEY_OF_AUTHOR)
    books.sql(property.sql.format(role=name, fk=key))
    before = books.catalog()
    expanded = books.deploy(change.operation)
    if expanded.refused:
        books.assert_unchanged(before)
        return
    expanded.check()
    contracted = books.contract()
    assert contracted.refused or not contracted.error, contracted
    if not contracted.refused:
        assert_same(comparable(before), comparable(books.catalog()))
    books.sql(f'DROP OWNED BY "{name}"')
