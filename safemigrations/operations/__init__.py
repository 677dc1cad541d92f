"""The operations that stand in migration files. Names and arguments may be added here, never removed."""

from .add_field_nullable_then_backfill import AddFieldNullableThenBackfill
from .add_field_with_default import AddFieldWithDefault
from .add_index import AddIndexConcurrently
from .alter_unique_together import AlterUniqueTogetherConcurrently
from .backfill import Backfill
from .delete_model import DeleteModelLater
from .remove_constraint import RemoveConstraintLater
from .remove_field import RemoveFieldLater
from .remove_index import RemoveIndexLater
from .rename_field import ExpandRename

__all__ = [
    "AddFieldNullableThenBackfill",
    "AddFieldWithDefault",
    "AddIndexConcurrently",
    "AlterUniqueTogetherConcurrently",
    "Backfill",
    "DeleteModelLater",
    "ExpandRename",
    "RemoveConstraintLater",
    "RemoveFieldLater",
    "RemoveIndexLater",
]
