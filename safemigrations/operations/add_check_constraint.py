"""AddConstraint of a CheckConstraint -> ValidateConstraintLater.

ALTER TABLE ... ADD CONSTRAINT CHECK reads the whole table while nobody can read or write. And the old release
doesn't know the check: when it writes what the check forbids, it fails.
https://www.postgresql.org/docs/current/sql-altertable.html#SQL-ALTERTABLE-DESC-ADD-TABLE-CONSTRAINT

So expand only asks whether a row violates the check, before anything depends on it. The contract adds the check NOT
VALID, which reads nothing, and validates it while others read and write. `enforce="expand"` adds it NOT VALID at once,
for a check that the old release satisfies too. When a row turns out to violate the check, the check is taken away
again: it would refuse every update of that row.
"""

from __future__ import annotations

from django.db.migrations.operations import AddConstraint
from django.db.models import CheckConstraint

from ..plans import constraints
from ..plans.steps import Plan
from .base import Change, Situation
from .rule import Context, Finding, Rule


class ValidateConstraintLater(Change, AddConstraint):
    """Check rows when the release that doesn't know the check has gone; new rows at once with enforce="expand"."""

    category = AddConstraint.category
    constraint: CheckConstraint

    def __init__(self, model_name: str, constraint: CheckConstraint, enforce: str = "contract") -> None:
        what = f"ValidateConstraintLater {model_name}.{constraint.name}"
        if not isinstance(constraint, CheckConstraint):
            raise TypeError(f"{what} is for a CheckConstraint. Use AddConstraintConcurrently for a UniqueConstraint.")
        if enforce not in ("contract", "expand"):
            raise ValueError(f'{what}: enforce must be "contract" or "expand", not {enforce!r}.')
        AddConstraint.__init__(self, model_name, constraint)
        self.enforce = enforce
        self.wrap(AddConstraint(model_name, constraint))

    def describe(self) -> str:
        what = "enforced" if self.enforce == "contract" else "validated"
        return f"{AddConstraint.describe(self)}; {what} by the contract"

    @property
    def identity(self) -> str:
        return f"ValidateConstraintLater({self.model_name_lower}.{self.constraint.name})"

    def contract_label(self, at: Situation) -> str:
        what = "add" if self.enforce == "contract" else "validate"
        return f"{what} check {self.constraint.name} of {at.new(self.model_name)._meta.db_table}"

    def expand(self, at: Situation) -> Plan:
        proof = constraints.no_violators(at.editor, at.new(self.model_name), self.constraint)
        return (proof, self.contract(at)[0]) if self.enforce == "expand" else (proof,)

    def contract(self, at: Situation) -> Plan:
        return constraints.add_check(at.editor, at.new(self.model_name), self.constraint)


def find(operation: AddConstraint, context: Context) -> Finding | None:
    if not isinstance(operation.constraint, CheckConstraint):
        return None
    return Finding(
        f"AddConstraint {operation.constraint.name} on {operation.model_name} reads the whole table while nobody can "
        "read or write, and then the old release fails where it writes what the check forbids.",
        (ValidateConstraintLater(operation.model_name, operation.constraint),),
    )


rule = Rule("safemigrations.E033", AddConstraint, find)
