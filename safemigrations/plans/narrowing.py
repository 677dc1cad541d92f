"""Asks for nulls, and for values that don't fit the former type, before an AlterField is taken back."""

from __future__ import annotations

from collections.abc import Iterator

from ..postgres.probe import NEVER, Probe
from .casts import misfit
from .column import Column
from .steps import Proof


def narrowing(now: Column, before: Column) -> Iterator[Proof]:
    keys, name = ", ".join(now.key), now.name
    if now.field.null and not before.field.null and now.editor.effective_default(before.field) is None:
        yield Proof(
            why=f"{now.label}: every row has {name}",
            query=f"SELECT {keys} FROM {now.table} WHERE {now.quoted} IS NULL",
            failure=(
                f"Rows of {now.label} have no {name}, which can't be null in the release that you go back to: {keys} "
                "{rows}. Nothing was changed. Give them a value, then run the same command again."
            ),
            pages_of=now.table,
        )
    yield from fits_again(now, before)


def fits_again(now: Column, before: Column, *, done: Probe = NEVER) -> Iterator[Proof]:
    keys, name = ", ".join(now.key), now.name
    if condition := misfit(now.type, before.type):
        yield Proof(
            why=f"{now.label}: every {name} fits into {before.type}",
            query=f"SELECT {keys} FROM {now.table} WHERE ({condition.replace('{}', now.quoted)})",
            failure=(
                f"Rows of {now.label} have a {name} that {before.type}, the type in the release that you go back to, "
                f"can't hold: {keys} {{rows}}. Nothing was changed. Fix them, then run the same command again."
            ),
            pages_of=now.table,
            done=done,
            works_on=(now.claim,),
        )
