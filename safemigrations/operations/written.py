"""An operation as it stands in a migration file."""

from __future__ import annotations

from django.db.migrations import writer
from django.db.migrations.operations.base import Operation

PACKAGE = "safemigrations.operations"


class OperationWriter(writer.OperationWriter):
    """Spells our operations as the design shows them: AddIndexConcurrently(...), imported by name."""

    def serialize(self) -> tuple[str, set[str]]:
        text, imports = super().serialize()
        if type(self.operation).__module__ == PACKAGE:
            name = type(self.operation).__name__
            text = text.replace(f"{PACKAGE}.{name}(", f"{name}(", 1)
            imports = (imports - {f"import {PACKAGE}"}) | {f"from {PACKAGE} import {name}"}
        return text, imports


def written(operation: Operation) -> str:
    """An operation as it would stand in a migration file, without indentation and the closing comma."""
    text, _ = OperationWriter(operation, indentation=0).serialize()
    return text.removesuffix(",")
