"""The two releases of a rehearsal: where their code lies, and how it runs.

The old one is a `git worktree`, so nothing of the working tree is touched. It is run by the same interpreter, with the
folders of its own tree in front of those of the working tree.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

from django.core.management.base import CommandError

from ..data import Data
from .folders import TREE, temporary_folder
from .settings import OWN, SCRATCH


class Release(Data):
    """One state of the code."""

    name: str  # "old" or "new"
    title: str
    root: Path  # of all its code
    folder: Path  # where its commands are run
    path: tuple[str, ...]  # what stands first on sys.path
    python: str
    settings: str

    def environment(self, names: Mapping[str, str]) -> dict[str, str]:
        """The environment of a process of this release on the scratch databases of these names."""
        return {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "safemigrations.rehearsing.settings",
            OWN: self.settings,
            SCRATCH: json.dumps(names),
            "PYTHONPATH": os.pathsep.join(self.path),
        }


def new_release() -> Release:
    here = Path.cwd().resolve()
    top = Path(_git_top() or here)
    return Release("new", "working tree", top, here, _path(top, top), sys.executable, settings_module())


def old_release(
    stack: ExitStack, *, ref: str | None = None, folder: str | None = None, python: str | None = None
) -> Release:
    """The tree of `ref`, which is removed when the stack is closed, or the one that lies in a folder."""
    here = Path.cwd().resolve()
    if folder:
        top, tree, title = here, Path(folder).resolve(), folder
    else:
        commit, title = _commit(ref)
        top = Path(git("rev-parse", "--show-toplevel")).resolve()
        tree = _worktree(stack, top, commit)
    there = tree / here.relative_to(top)
    if not there.is_dir():
        raise CommandError(f"The old release has no folder {there}.")
    return Release("old", title, tree, there, _path(top, tree), _interpreter(python), settings_module())


def _interpreter(python: str | None) -> str:
    """Absolute, for it is started in another folder; a link stays one, for that is what a virtual environment has."""
    if found := shutil.which(python or sys.executable):
        return str(Path(found).absolute())
    raise CommandError(f"--old-python: {python} is no program. Name the interpreter itself: venv/bin/python")


def refuse_other_code(old: Release, new: Release, apps: Mapping[str, str]) -> None:
    """Raise CommandError where the old release has loaded an app of the new one's code; `apps` are their folders."""
    for label, folder in apps.items():
        path = Path(folder)
        if path.is_relative_to(new.root) and not path.is_relative_to(old.root) and not _is_installed(path):
            raise CommandError(
                f"The old release has loaded the app {label} from {folder}, which is code of the new one. How is it "
                "found: by an installed package, or by settings with a path in them? Name another interpreter: "
                "--old-python"
            )


def settings_module() -> str:
    if module := os.environ.get("DJANGO_SETTINGS_MODULE"):
        return module
    raise CommandError("A rehearsal starts processes with the settings module; set DJANGO_SETTINGS_MODULE.")


def _own_path(top: Path) -> list[Path]:
    """The folders that this process imports from, other than the interpreter's own: the tree and PYTHONPATH."""
    given = {Path(entry).resolve() for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep) if entry}
    entries = [Path(entry).resolve() for entry in sys.path]
    own = [entry for entry in entries if entry in given or entry.is_relative_to(top)]
    return [entry for entry in own if not _is_installed(entry)]


def _is_installed(path: Path) -> bool:
    return any(path.is_relative_to(Path(folder).resolve()) for folder in sysconfig.get_paths().values())


def _path(top: Path, tree: Path) -> tuple[str, ...]:
    """Python's path, with the folders of this tree replaced by those of another tree."""
    entries = _own_path(top)
    moved = (tree / entry.relative_to(top) if entry.is_relative_to(top) else entry for entry in entries)
    return tuple(map(str, moved))


# git.


def git(*arguments: str) -> str:
    try:
        done = subprocess.run(["git", *arguments], capture_output=True, text=True)
    except OSError as error:
        raise CommandError(f"The old release is taken from git: {error}. Name its folder: --old-path") from error
    if done.returncode:
        raise CommandError(f"git {arguments[0]}: {done.stderr.strip() or 'no such commit'}")
    return done.stdout.strip()


def _commit(ref: str | None) -> tuple[str, str]:
    """The commit of the old release, and its name for people.

    Without `ref` it is the commit at which this branch left the default one.
    """
    name = ref or _default_branch()
    commit = _commit_of(ref) if ref else git("merge-base", "HEAD", name)
    return commit, f"{commit[:7]} ({name})"


def _commit_of(ref: str) -> str:
    try:
        return git("rev-parse", "--verify", "--quiet", f"{ref}^{{commit}}")
    except CommandError as error:
        raise CommandError(f"git knows no commit {ref} here. Fetch it, or name another: --old REF") from error


def _default_branch() -> str:
    for name in ("refs/remotes/origin/HEAD", "origin/main", "origin/master", "main", "master"):
        try:
            return git("rev-parse", "--abbrev-ref", "--verify", name)
        except CommandError:
            continue
    raise CommandError("Which branch is released can't be told from git. Say which one: --old REF")


def _git_top() -> str:
    """Empty outside of git."""
    try:
        return git("rev-parse", "--show-toplevel")
    except CommandError:
        return ""


def _worktree(stack: ExitStack, top: Path, commit: str) -> Path:
    tree = temporary_folder(stack) / TREE
    stack.callback(git, "-C", str(top), "worktree", "remove", "--force", str(tree))
    git("worktree", "add", "--detach", "--quiet", str(tree), commit)
    return tree
