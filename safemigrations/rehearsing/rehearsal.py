"""A rehearsal from beginning to end."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from .. import conf
from ..checking.findings import report
from ..data import Data
from . import text
from .changes import Changes, changes_since
from .phases import Plays
from .playing import Stage
from .processes import Processes
from .releases import Release, refuse_other_code
from .result import Phase, Rehearsal
from .rows import MADE_BY_DJANGO, label, rehearsed_models
from .scratch import Names, Scratch, restore
from .suites import Suites
from .verdict import advise

NAMED = 3  # models in one note
SAMPLE = 10  # models that have nothing to do with the change


class Wanted(Data):
    """What a person asked for on the command line."""

    alias: str
    seconds: float
    clients: int
    kills: int
    rows: int
    apps: Sequence[str]
    forbidden: Sequence[str]
    dump: str | None
    template: str | None
    tests: str | None  # a command


def rehearse(wanted: Wanted, old: Release, new: Release, stack: ExitStack, say: Callable[[str], None]) -> Rehearsal:
    """Everything that it makes is gone when the stack is closed. `say` is told line by line what happens."""
    begun = time.monotonic()
    scratch = Scratch(stack, wanted.alias, wanted.forbidden)
    releases = [Processes(release, stack, scratch.base) for release in (old, new)]
    with releases[0].asked() as client:
        known = client.call("look")
    refuse_other_code(old, new, known["folders"])
    changes = changes_since(known["migrations"])
    migrations = [".".join(key) for key in changes.migrations]
    result = Rehearsal(old.title, new.title, scratch.title, migrations, has_tests=bool(wanted.tests))
    say(text.head(result))
    if changes.migrations:
        _play(wanted, scratch, releases, changes, result, stack, lambda phase: say(text.line_of(phase)))
    result.seconds = time.monotonic() - begun
    return result


def _play(
    wanted: Wanted,
    scratch: Scratch,
    releases: Sequence[Processes],
    changes: Changes,
    result: Rehearsal,
    stack: ExitStack,
    tell: Callable[[Phase], None],
) -> None:
    old, new = releases
    clean, seeds = _make_base(wanted, scratch, old, result)
    suites = Suites(scratch, old, new, wanted.tests or "", clean, stack)
    if wanted.tests:
        suites.begin()
    plan = {**_plan(wanted, changes), "seeds": seeds}
    stage = Stage(scratch, old, new, changes, plan, wanted.clients, tell)
    plays = Plays(stage, wanted.seconds, wanted.kills)
    plays.play()
    result.phases = stage.phases
    result.findings = [
        *stage.verdict.findings(),
        *stage.verdict.of_waits(stage.phases, conf.max_wait() or float("inf")),
        *plays.findings,
        *plays.schemas.findings,
    ]
    advise(result.findings, report().findings)
    result.notes += [*plays.notes.values(), *stage.verdict.notes()]
    if wanted.tests:
        result.findings += suites.findings(has_contract=plays.has_contract)


def _make_base(
    wanted: Wanted, scratch: Scratch, old: Processes, result: Rehearsal
) -> tuple[Names, Mapping[str, Sequence[str]]]:
    """What the old release makes: databases, copies without the rehearsal's rows for tests, and the keys of its
    first rows.
    """
    scratch.create(wanted.template)
    if wanted.dump:
        connection = scratch.connect(scratch.base)
        restore(connection, Path(wanted.dump))
    for alias in scratch.base:
        old.must(scratch.base, "migrate", "--noinput", "--database", alias)
        old.must(scratch.base, "createcachetable", "--database", alias)  # as for a test database
    clean = scratch.copy() if wanted.tests else scratch.base
    with old.asked() as client:
        failed = client.call("fill", scratch.base, wanted.alias, wanted.rows)
        seeds = client.call("seeds", scratch.base, wanted.alias)
        client.call("leave")
    result.notes += _unmade(failed)
    return clean, seeds


def _unmade(failed: Mapping[str, str]) -> Iterator[str]:
    """Each reason once."""
    for why in dict.fromkeys(failed.values()):
        models = [model for model, reason in failed.items() if reason == why]
        more = f" and {len(models) - NAMED} more" if len(models) > NAMED else ""
        yield f"No row of {', '.join(models[:NAMED])}{more} could be made: {why}"


def _plan(wanted: Wanted, changes: Changes) -> dict[str, Any]:
    """The models for the traffic, by their old names: those that the change reaches, and a sample of the others."""
    found = {changes.model_names.get(label(model), label(model)): model for model in rehearsed_models(wanted.alias)}
    chosen = [name for name in found if name in changes.models or name in changes.made]
    near = {label(one) for name in chosen for one in _neighbours(found[name])}
    near = {changes.model_names.get(name, name) for name in near}
    gone = [name for name in changes.models if name not in found]
    others = [name for name in found if name not in near and name not in chosen]
    others = [name for name in others if not wanted.apps or name.partition(".")[0] in wanted.apps]
    sample = others[:: max(1, len(others) // SAMPLE)]
    return {
        "chosen": [*chosen, *gone],
        "visited": [*sorted(near.difference(chosen, MADE_BY_DJANGO)), *sample],
        "filled": changes.filled,
        "unique": changes.unique,
    }


def _neighbours(model: Any) -> list[Any]:
    """The models at which it points, and those that point at it."""
    related = [field.related_model for field in model._meta.get_fields() if field.is_relation]
    return [one for one in related if hasattr(one, "_meta") and not one._meta.auto_created]
