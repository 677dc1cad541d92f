"""The executor of django-tenants that starts a process for each tenant: it gets our options, and no tenant stops it."""

from __future__ import annotations

from typing import Any

from django_tenants.migration_executors import subproc

from safemigrations.management.tenants.failures import Failures
from safemigrations.management.tenants.migrate_schemas import KEPT_IN
from safemigrations.typed import set_on

FLAGS = ("contract", "only", "force", "catch_up", "before_contract")
WITH_VALUES = ("fail_on", "to_release")

_theirs = subproc._options_to_argv
_in_process = subproc.SubprocessExecutor._run_in_subprocess


def install() -> None:
    set_on(subproc, _options_to_argv=_with_ours)
    set_on(subproc.SubprocessExecutor, _run_in_subprocess=_keep_what_fails)


def _with_ours(options: dict[str, Any]) -> list[str]:
    flags = [_spelled(name) for name in FLAGS if options.get(name)]
    values = [word for name in WITH_VALUES if options.get(name) for word in (_spelled(name), options[name])]
    return [*_theirs(options), *flags, *values]


def _spelled(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _keep_what_fails(executor: Any, schema_name: str) -> None:
    try:
        _in_process(executor, schema_name)
    except SystemExit as error:
        kept_in = executor.options.get(KEPT_IN)
        if kept_in is None:
            raise
        Failures(kept_in).keep(schema_name, error)
