"""A many-to-many field that points at another model: each release gets a column of its own in the table.

Django names that column after the model and renames it, and keeps the keys in it. Each release would take the keys
that the other writes for those of its own. Only a person knows which new row is meant. So it is asked whether a field
that is one to one between the two models says it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.db.migrations.operations import AlterField
from django.db.migrations.utils import resolve_relation

from ..plans.end_of_many_to_many import NO_COLUMN_OF_ITS_OWN
from ..plans.tables import db_table_of, db_tables_through
from ..postgres.names import Name
from .alter_field_type import ExpandAlterField
from .forms import concrete
from .parents import links
from .rule import Context, Finding, Option

ASKED = (
    "Delete the file, run makemigrations at a terminal, and say which relation between the two models tells which row "
    "is which: it makes the one column of the table from the other. Or "
)
BY_A_MODEL = (
    "give it a model of its own by `through` in this release, which leaves its table alone, and let the foreign key of "
    "that model point at the other table in the next one. Or decide that the table is small and the site can wait, "
    "with allow_unsafe on the migration."
)
BY_A_LINK = (
    "Give one of the two models a OneToOneField to the other that says which is which, fill it, and roll that out: "
    "then makemigrations offers to make the one column of the table from the other. Or "
)
POINTS_AT_OTHER_ROWS = "points at another table: either release takes the keys that the other writes for its own."
RENAMES = "renames {} of its table at once: the old release names it in every query."
ONE_THING = "Let the table keep its name in this release, by db_table, and change that in the next one."


def find(operation: AlterField, context: Context) -> Finding | None:
    old, new = _ends(operation, context)
    what = f"AlterField {operation.name} of {operation.model_name}"
    same = concrete(context.before, old) == concrete(context.after, new)
    if same and old[1] == new[1]:
        return Finding(f"{what} drops a foreign key of its table, and checks every row anew.", (_altered(operation),))
    harm = RENAMES.format(f"{old[1]}_id") if same else POINTS_AT_OTHER_ROWS
    if reason := _refusal(operation, context, old, new):
        return Finding(f"{what} {harm}", way_by_hand=reason)
    if same:
        return Finding(f"{what} {harm}", (_altered(operation),))
    options = tuple(_options(operation, context, ".".join(old), ".".join(new)))
    return Finding(f"{what} {harm}", way_by_hand=(ASKED if options else BY_A_LINK) + BY_A_MODEL, options=options)


def _refusal(operation: AlterField, context: Context, old: tuple[str, str], new: tuple[str, str]) -> str:
    if len({old[1], new[1], operation.model_name.lower()}) < 3:
        return f"{NO_COLUMN_OF_ITS_OWN} So {BY_A_MODEL}"
    before = context.model_before(operation.model_name).fields[operation.name]
    is_moved = table(before, operation, context) != table(operation.field, operation, context)
    return ONE_THING if is_moved else ""


def _ends(operation: AlterField, context: Context) -> tuple[tuple[str, str], tuple[str, str]]:
    """The models at which the field points, before and after."""
    own = context.app_label, operation.model_name.lower()
    before: Any = context.model_before(operation.model_name).fields[operation.name]
    after: Any = operation.field
    return resolve_relation(before.remote_field.model, *own), resolve_relation(after.remote_field.model, *own)


def table(field: Any, operation: AlterField, context: Context) -> Name:
    """The field's own table, which Django creates."""
    model = db_table_of(context.model_before(operation.model_name))
    (found,) = db_tables_through(model, [(operation.name, field)])
    return Name.from_django(found)


def _altered(operation: AlterField, *, using: str = "", back: str = "") -> ExpandAlterField:
    given = operation.model_name, operation.name, operation.field, operation.preserve_default
    return ExpandAlterField(*given, using=using, back=back)


def _options(operation: AlterField, context: Context, old: str, new: str) -> Iterator[Option]:
    for link in links(context, old, new, one_to_one=True):
        question = (
            f"{operation.model_name}.{operation.name} points at {new} from now on. Does {link.name} say which one it "
            "is for each row?"
        )
        operations = (_altered(operation, using=link.using, back=link.back),)
        yield Option(operation.model_name, operation.name, "", "", operations, question)
