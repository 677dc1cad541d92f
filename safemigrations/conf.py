"""The SAFEMIGRATIONS setting: one dictionary, each key read by the function that has its name and its default."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

KEYS = {
    "BACKFILL_BATCH_SECONDS",
    "BACKFILL_BATCH_SIZE",
    "BASELINE",
    "CHECK_APPS",
    "CONTRACT",
    "LOCK_RETRY_FOR",
    "LOCK_TIMEOUT",
}


def _get(key: str, default: Any) -> Any:
    values = getattr(settings, "SAFEMIGRATIONS", {})
    return values.get(key, default) if isinstance(values, Mapping) else default


def contract() -> Literal["explicitly", "immediately"]:
    """When the contract half runs: by `migrate --contract`, or at once (nobody else uses this database)."""
    value = _get("CONTRACT", "explicitly")
    if value not in ("explicitly", "immediately"):
        raise ImproperlyConfigured(f"SAFEMIGRATIONS['CONTRACT'] is {value!r}; write 'explicitly' or 'immediately'.")
    return value  # type: ignore[no-any-return]


def _positive(key: str, default: float) -> float:
    value = _get(key, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:  # NaN is neither
        raise ImproperlyConfigured(f"SAFEMIGRATIONS[{key!r}] is {value!r}; write a number greater than 0.")
    return float(value)


def lock_timeout() -> float:
    """Seconds that ordinary queries may queue behind a statement that waits for its lock."""
    return _positive("LOCK_TIMEOUT", 0.2)


def lock_retry_for() -> float:
    """Seconds after which a step that never got its lock gives up."""
    return _positive("LOCK_RETRY_FOR", 600)


def backfill_batch_size() -> int:
    """Rows in the first batch of a backfill."""
    value = _get("BACKFILL_BATCH_SIZE", 1000)
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ImproperlyConfigured(
            f"SAFEMIGRATIONS['BACKFILL_BATCH_SIZE'] is {value!r}; write a whole number greater than 0."
        )
    return value


def backfill_batch_seconds() -> float:
    """Seconds that one batch aims at; its row locks are held that long."""
    return _positive("BACKFILL_BATCH_SECONDS", 0.1)


def _labels(key: str) -> list[str] | None:
    value = _get(key, None)
    known = isinstance(value, list | tuple | set) and all(isinstance(item, str) for item in value)
    if value is not None and not known:
        raise ImproperlyConfigured(f"SAFEMIGRATIONS[{key!r}] is {value!r}; write a list of app labels.")
    return value if value is None else list(value)


def check_apps() -> list[str] | None:
    """Labels of the apps whose migrations are checked; None means those outside site-packages."""
    return _labels("CHECK_APPS")


def baseline() -> dict[str, str]:
    """App label -> the last migration that was there before the checks; it and what it needs isn't checked."""
    value = _get("BASELINE", {})
    if not isinstance(value, Mapping) or not all(isinstance(item, str) for kv in value.items() for item in kv):
        raise ImproperlyConfigured(
            f"SAFEMIGRATIONS['BASELINE'] is {value!r}; write a dictionary such as {{'shop': '0006_order_note'}}."
        )
    return dict(value)


def readers() -> list[Any]:
    return [
        contract,
        lock_timeout,
        lock_retry_for,
        backfill_batch_size,
        backfill_batch_seconds,
        check_apps,
        baseline,
    ]
