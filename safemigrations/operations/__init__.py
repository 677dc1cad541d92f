"""The operations that stand in migration files. Names and arguments may be added here, never removed."""

from .add_check_constraint import ValidateConstraintLater
from .add_field import AddFieldConcurrently
from .add_field_nullable_then_backfill import AddFieldNullableThenBackfill
from .add_field_with_default import AddFieldWithDefault
from .add_index import AddIndexConcurrently
from .add_unique_constraint import AddConstraintConcurrently
from .alter_field import AlterFieldConcurrently
from .alter_field_type import ExpandAlterField
from .alter_model_table import ExpandAlterModelTable
from .alter_order_with_respect_to import AlterOrderWithRespectToConcurrently
from .alter_unique_together import AlterUniqueTogetherConcurrently
from .backfill import Backfill
from .delete_model import DeleteModelLater
from .drop_default import DropDefaultLater
from .move_model import MoveModelIn, MoveModelOut
from .remove_constraint import RemoveConstraintLater
from .remove_field import RemoveFieldLater
from .remove_index import RemoveIndexLater
from .rename_field import ExpandRename, FollowRename
from .rename_model import ExpandRenameModel
from .set_not_null import SetNotNullLater

__all__ = [
    "AddConstraintConcurrently",
    "AddFieldConcurrently",
    "AddFieldNullableThenBackfill",
    "AddFieldWithDefault",
    "AddIndexConcurrently",
    "AlterFieldConcurrently",
    "AlterOrderWithRespectToConcurrently",
    "AlterUniqueTogetherConcurrently",
    "Backfill",
    "DeleteModelLater",
    "DropDefaultLater",
    "ExpandAlterField",
    "ExpandAlterModelTable",
    "ExpandRename",
    "ExpandRenameModel",
    "FollowRename",
    "MoveModelIn",
    "MoveModelOut",
    "RemoveConstraintLater",
    "RemoveFieldLater",
    "RemoveIndexLater",
    "SetNotNullLater",
    "ValidateConstraintLater",
]
