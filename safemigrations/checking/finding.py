"""What the checks say of a place in a migration file: values that every output prints."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import asdict, field
from typing import Any

from django.core.checks import CheckMessage, Error, Info, Warning

from ..data import Data
from ..operations.rule import Level

KINDS: dict[Level, Callable[..., CheckMessage]] = {"error": Error, "warning": Warning, "note": Info}


class LintFinding(Data):
    """What is unsafe in a migration file; `operation` is its index (None: the migration as a whole), `line` is where
    it begins."""

    app_label: str
    migration: str
    operation: int | None
    id: str
    message: str
    hint: str
    file: str
    line: int
    level: Level = "error"

    @property
    def text(self) -> str:
        """The message, and below it what to write instead."""
        return f"{self.message}\n{self.hint}".rstrip()

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    def as_message(self) -> CheckMessage:
        """The message of `check`, with its level and its hint."""
        return KINDS[self.level](f"{self.file}:{self.line}: {self.message}", hint=self.hint, id=self.id)

    def as_line(self) -> CheckMessage:
        """The message of every other command: a warning on one line, after which the command goes on."""
        line = self.message.partition("\n")[0]
        return Warning(f"{self.file}:{self.line}: {line}", id=self.id)


class Unread(Data):
    """Something that could have been unsafe, and was not understood."""

    what: str  # "statement" or "function"
    finding: LintFinding


class Stands(Data):
    """An operation of ours in a checked migration, described for people."""

    app_label: str
    migration: str
    description: str


class Older(Data):
    """An app with migrations from before safemigrations, while no baseline is set."""

    app_label: str
    last: str  # its last migration that isn't checked
    findings: int  # that a check would have


class Report(Data):
    """All that the checks found, and what they could not look at."""

    findings: list[LintFinding] = field(default_factory=list)
    unread: list[Unread] = field(default_factory=list)
    older: list[Older] = field(default_factory=list)
    changes: list[Stands] = field(default_factory=list)
    accepted: list[LintFinding] = field(default_factory=list)  # that a person has decided about

    @property
    def everything(self) -> list[LintFinding]:
        """The findings, and a note for each statement or function that was not understood."""
        return self.findings + [one.finding for one in self.unread]

    def of(self, labels: Collection[str]) -> Report:
        """The part of the report about these apps."""
        return Report(
            findings=[one for one in self.findings if one.app_label in labels],
            unread=[one for one in self.unread if one.finding.app_label in labels],
            older=[one for one in self.older if one.app_label in labels],
            changes=[one for one in self.changes if one.app_label in labels],
            accepted=[one for one in self.accepted if one.app_label in labels],
        )

    @property
    def errors(self) -> int:
        return sum(finding.level == "error" for finding in self.findings)
