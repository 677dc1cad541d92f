"""The migrations that a command is about: the arguments after `migrate`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from safemigrations.hooks.executor import MigrationExecutor
from safemigrations.management import names


def targets(executor: MigrationExecutor, options: Mapping[str, Any]) -> list[Any]:
    """The targets, found as Django does; those of `label zero` have no name."""
    label, name = options["app_label"], options["migration_name"]
    names.refuse_several_leaves(executor.loader)
    names.refuse_unknown(executor.loader, label, name)
    if not label:
        return list(executor.loader.graph.leaf_nodes())
    if not name:
        return [key for key in executor.loader.graph.leaf_nodes() if key[0] == label]
    if name == "zero":
        return [(label, None)]
    return [(label, executor.loader.get_migration_by_prefix(label, name).name)]
