"""What `lint --fix` and `--diff` print."""

from __future__ import annotations

from itertools import chain

from django.core.management.base import BaseCommand

from safemigrations.checking import branch
from safemigrations.checking.finding import Report
from safemigrations.checking.findings import report
from safemigrations.rewriting import changes
from safemigrations.rewriting.fixes import Fixes, fixes


def show(command: BaseCommand, found: Report, since: str) -> None:
    """The diff on stdout, for git and patch; the sentences on stderr."""
    made = fixes(found, since)
    command.stdout.write(changes.diff(chain.from_iterable(fix.files for fix in made.made)), ending="")
    for line in _left(made):
        command.stderr.write(line, command.style.NOTICE)


def fix(command: BaseCommand, found: Report, since: str, *, for_people: bool) -> Report:
    """What is left when the files are written; what another format is for reads stdout."""
    made, out = fixes(found, since), command.stdout if for_people else command.stderr
    for each in made.made:
        names = changes.write(each.files)
        out.write(f"Fixed {', '.join(sorted(names))}", command.style.MIGRATE_HEADING)
        for line in (*each.changes, *each.notices):
            out.write(f"  {line}")
    for line in _left(made):
        out.write(line, command.style.NOTICE)
    if not made.made:
        return found
    return report(branch.files_since(since) if since else None)


def _left(made: Fixes) -> list[str]:
    return [*made.left, *made.unasked]
