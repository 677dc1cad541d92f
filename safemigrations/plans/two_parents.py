"""The table of a many-to-many field that points at another model: each release has a column of its own for that end.

Either release would take the keys that the other writes for its own. So the old column is made from the new one, and
the new one from the old, as are two columns of two types. Neither has a foreign key meanwhile: that of the old column
would keep the new release from deleting rows that it knows no relation to, and that of the new one the old release.
What the new release deletes then is nothing that the old one finds, as it joins the two.
"""

from __future__ import annotations

from ..data import Data
from .carried import Carried
from .foreign_key import ForeignKey
from .steps import Plan
from .triggers import Kept
from .two_types import TwoTypes


class TwoParents(Data):
    """The columns of the two releases, for what each of them points at."""

    columns: TwoTypes

    @property
    def contract_label(self) -> str:
        return self.columns.contract_label

    @property
    def kept(self) -> Kept:
        return self.columns.kept

    @property
    def carried(self) -> Carried:
        return self.columns.carried

    def expand(self) -> Plan:
        old = ForeignKey(self.columns.old)
        let_go = (old.drop(undo=old.add()),) if self.columns.old.has_foreign_key else ()
        return (*self.columns.expand(), *let_go)

    def contract(self) -> Plan:
        return (*self.columns.contract(), *ForeignKey(self.columns.new).add())
