"""The files that a branch adds or changes, as git says."""

from __future__ import annotations

import subprocess
from pathlib import Path

from django.core.management.base import CommandError


def top() -> Path:
    """The folder of the repository; where there is none, the one that the command runs in."""
    try:
        return Path(_git("rev-parse", "--show-toplevel")[0]).resolve()
    except CommandError:
        return Path.cwd()


def files_since(ref: str) -> set[Path]:
    """What differs from where the branch left `ref`, whether it is committed or not; without what it deletes."""
    top = Path(_git("rev-parse", "--show-toplevel")[0])
    base = left(ref)
    changed = _git("diff", "--name-only", "--no-renames", "--diff-filter=d", base, "--", str(top))
    new = _git("ls-files", "--others", "--exclude-standard", "--full-name", "--", str(top))
    return {(top / name).resolve() for name in (*changed, *new)}


DEFAULTS = ("origin/main", "origin/master", "main", "master")


def default_branch() -> str:
    """The branch that others have; empty where there is no repository, or none that is known."""
    try:
        return _git("symbolic-ref", "--short", "refs/remotes/origin/HEAD")[0]
    except CommandError:
        return next((name for name in DEFAULTS if _is_there(name)), "")


def _is_there(ref: str) -> bool:
    try:
        return bool(_git("rev-parse", "--verify", "--quiet", f"{ref}^{{commit}}"))
    except CommandError:
        return False


def files_at(ref: str) -> set[Path]:
    """All that git has there."""
    top = Path(_git("rev-parse", "--show-toplevel")[0])
    return {(top / name).resolve() for name in _git("ls-tree", "-r", "--name-only", "--full-tree", ref)}


def left(ref: str) -> str:
    """The commit at which this branch left `ref`."""
    return _git("merge-base", ref, "HEAD")[0]


def _git(*arguments: str) -> list[str]:
    command = ["git", "-c", "core.quotePath=off", *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True)
    except OSError as error:
        raise CommandError(f"--since needs git: {error}") from error
    if done.returncode:
        raise CommandError(f"git {arguments[0]}: {done.stderr.strip() or 'nothing in common with that ref'}")
    return done.stdout.splitlines()
