"""A foreign key that points at another model: each release gets a column of its own.

Either release would take the keys that the other writes for those of its own. Only a person knows which new parent a
row gets. Where a foreign key between the two models says it, the new column is made from the old one by that, and the
old one from the new one, until the contract.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.db.migrations.operations import AlterField

from .alter_field_type import ExpandAlterField
from .parents import Link, links, targets
from .parts import Altered, plain_like
from .rule import Context, Finding, Option

ASKED = (
    "Delete the file, run makemigrations at a terminal, and say which foreign key between the two models tells which "
    "row is which: it makes the one column from the other. "
)
BY_A_LINK = (
    "Give one of the two models a foreign key to the other that says which is which, fill it, and roll that out: then "
    "makemigrations offers to make the one column from the other. "
)
OTHER_WAYS = (
    "Or add a second relation beside it, let one release "
    "write both and fill the new one for the rows that are there, let the next release read that, and remove the old "
    "one in a third. Or decide that the table is small and the site can wait, with allow_unsafe on the migration."
)


def finding(whole: Altered, context: Context) -> Finding:
    operation = whole.operation
    options = tuple(_options(whole, context))
    return Finding(
        f"AlterField {operation.name} of {operation.model_name} points at another table: either release takes the "
        "keys that the other writes for those of its own.",
        way_by_hand=(ASKED if options else BY_A_LINK) + OTHER_WAYS,
        options=options,
    )


def _options(whole: Altered, context: Context) -> Iterator[Option]:
    old, new = targets(whole, context)
    for link in links(context, old, new):
        column = _column(whole, new)
        if operations := _operations(whole, link, column):
            yield _option(whole, link, operations, column, new)


def _option(whole: Altered, link: Link, operations: tuple[AlterField, ...], column: str, target: str) -> Option:
    operation = whole.operation
    given = column == whole.change.new.field.column
    parts = [
        f"{operation.model_name}.{operation.name} points at {target} from now on.",
        f"Does {link.name} say which one it is for each row?",
        "" if given else f'The relation gets a column of its own then, by db_column="{column}" in models.py.',
    ]
    name = "" if given else "db_column"
    return Option(operation.model_name, operation.name, name, column, operations, " ".join(filter(None, parts)))


def _column(whole: Altered, target: str) -> str:
    """The column: the new field's own, or one named after what it points at."""
    old, new = whole.change.old, whole.change.new
    if old.field.column != new.field.column:
        return str(new.field.column)
    return f"{whole.operation.name}_{target.rpartition('.')[2]}_id"


def _operations(whole: Altered, link: Link, column: str) -> tuple[AlterField, ...]:
    """Remove the old foreign key, exchange the column for the new one, and make that a foreign key."""
    operation = whole.operation
    before, after = plain_like(whole.change.old, whole.change.old), plain_like(whole.change.new, whole.change.old)
    if before is None or after is None:
        return ()
    after.db_column = column
    field: Any = operation.field.clone()
    field.db_column = column
    return (
        AlterField(operation.model_name, operation.name, before),
        ExpandAlterField(operation.model_name, operation.name, after, using=link.using, back=link.back),
        AlterField(operation.model_name, operation.name, field, operation.preserve_default),
    )
