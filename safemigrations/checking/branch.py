"""The files that a branch adds or changes, as git says."""

from __future__ import annotations

import subprocess
from pathlib import Path

from django.core.management.base import CommandError


def files_since(ref: str) -> set[Path]:
    """What differs from where the branch left `ref`, whether it is committed or not; without what it deletes."""
    top = Path(_git("rev-parse", "--show-toplevel")[0])
    base = _git("merge-base", ref, "HEAD")[0]
    changed = _git("diff", "--name-only", "--no-renames", "--diff-filter=d", base, "--", str(top))
    new = _git("ls-files", "--others", "--exclude-standard", "--full-name", "--", str(top))
    return {(top / name).resolve() for name in (*changed, *new)}


def _git(*arguments: str) -> list[str]:
    command = ["git", "-c", "core.quotePath=off", *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True)
    except OSError as error:
        raise CommandError(f"--since needs git: {error}") from error
    if done.returncode:
        raise CommandError(f"git {arguments[0]}: {done.stderr.strip() or 'nothing in common with that ref'}")
    return done.stdout.splitlines()
