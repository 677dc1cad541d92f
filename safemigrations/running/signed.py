"""Rows that hold what will be run: each is signed with SECRET_KEY, so that nobody else's is run.

Who may write the tables is a matter of privileges, which somebody may have got wrong for a while. A signature tells
afterwards what the code has written. A row of an earlier version, which signed nothing, is signed when the column is
added.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from typing import Any, ClassVar

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.utils.crypto import constant_time_compare, salted_hmac

from ..errors import StepFailed

COLUMN = "signature"


class Signed(models.Model):
    """Signs itself when it is made; `signed` names the fields that are."""

    signature = models.TextField(default="", db_default="", blank=True)
    signed: ClassVar[tuple[str, ...]]

    class Meta:
        abstract = True

    def save(self, **kwargs: Any) -> None:
        if self._state.adding and not self.signature:
            self.sign()
        super().save(**kwargs)

    def sign(self) -> None:
        self.signature = next(self._signatures(), "")

    @property
    def is_signed(self) -> bool:
        """Is it signed with SECRET_KEY or one of SECRET_KEY_FALLBACKS? Without a key nobody can tell."""
        return all_or_none(constant_time_compare(self.signature, each) for each in self._signatures())

    def _signatures(self) -> Iterator[str]:
        content = json.dumps([getattr(self, name) for name in self.signed], sort_keys=True)
        salt = f"safemigrations.{self._meta.db_table}"
        return (salted_hmac(salt, content, secret=key, algorithm="sha256").hexdigest() for key in _keys())

    @classmethod
    def columns_added(cls, connection: BaseDatabaseWrapper, columns: Collection[str]) -> None:
        if COLUMN in columns:
            for row in cls._base_manager.using(connection.alias):
                row.sign()
                row.save(using=connection.alias, update_fields=[COLUMN])


def all_or_none(matches: Iterator[bool]) -> bool:
    """Is one of them true, or are there none?"""
    found = list(matches)
    return any(found) or not found


def _keys() -> list[str | bytes]:
    try:
        return [settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS]
    except ImproperlyConfigured:
        return []


def refuse_unsigned(row: Signed, *, cure: str) -> None:
    """Raise StepFailed for a row that isn't signed with SECRET_KEY; `cure` says what to do if it is right."""
    if not row.is_signed:
        raise StepFailed(
            f"Row {row.pk} of {row._meta.db_table} ({row}) isn't signed with the SECRET_KEY of this project, so "
            "somebody else may have written it. Nothing of it was run. If SECRET_KEY has changed, put the former one "
            f"into SECRET_KEY_FALLBACKS and run the same command again. {cure}"
        )
