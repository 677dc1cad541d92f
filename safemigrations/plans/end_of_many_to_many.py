"""The other end of a many-to-many field: the column of its table that points at the other model.

Django names it after that model, so it gets another name when the field points at another one.
"""

from __future__ import annotations

from typing import Any

from django.db.backends.base.schema import BaseDatabaseSchemaEditor

from ..typed import through
from .column import Column
from .two_names import TwoNames
from .two_parents import TwoParents
from .two_types import TwoTypes


def two_columns(
    editor: BaseDatabaseSchemaEditor, old: Any, new: Any, *, using: str, back: str
) -> TwoNames | TwoParents | None:
    """The columns of the two releases; None if the column stays. Raises ValueError for a change that can't be made."""
    if not through(new)._meta.auto_created:
        return None
    pair = _other_end(editor, old), _other_end(editor, new)
    if pair[0].parent == pair[1].parent and pair[0].name == pair[1].name:
        return None
    if reason := _refusal(old, new, *pair, is_told=bool(using and back)):
        raise ValueError(f"ExpandAlterField {new.model._meta.object_name}.{new.name} {reason}")
    if pair[0].parent == pair[1].parent:
        return TwoNames(*pair)
    return TwoParents(TwoTypes(old=pair[0], new=pair[1], using=using, back=back))


def _other_end(editor: BaseDatabaseSchemaEditor, field: Any) -> Column:
    model = through(field)
    return Column(editor, model, model._meta.get_field(field.m2m_reverse_field_name()))


def _refusal(old: Any, new: Any, former: Column, later: Column, *, is_told: bool) -> str:
    if former.parent != later.parent and not is_told:
        return "points at another table. It needs `using` and `back`, which make the key of the one from the other's."
    if former.name == later.name or old.m2m_column_name() != new.m2m_column_name():
        return f"points at another model. {NO_COLUMN_OF_ITS_OWN}"
    if former.table != later.table:
        return "gives its table another name, too. Do that in a release of its own."
    return ""


NO_COLUMN_OF_ITS_OWN = (
    "Django calls the columns of its table after the two models. So the table can't have a column for each release "
    "where the two that the field points at have the same name, or one of them has that of the model itself."
)
