"""The SAFEMIGRATIONS setting: one dictionary, each key read by the function that has its name and its default."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping
from pathlib import Path
from types import FunctionType
from typing import Any, Literal

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured


def _get(key: str, default: Any) -> Any:
    values = getattr(settings, "SAFEMIGRATIONS", {})
    return values.get(key, default) if isinstance(values, Mapping) else default


def is_set(key: str) -> bool:
    """Does the project set this key?"""
    values = getattr(settings, "SAFEMIGRATIONS", {})
    return isinstance(values, Mapping) and key in values


def contract() -> Literal["explicitly", "immediately"]:
    """When the contract half runs: by `migrate --contract`, or at once (nobody else uses this database)."""
    value = _get("CONTRACT", "explicitly")
    if value not in ("explicitly", "immediately"):
        raise ImproperlyConfigured(f"SAFEMIGRATIONS['CONTRACT'] is {value!r}; write 'explicitly' or 'immediately'.")
    return "immediately" if value == "immediately" else "explicitly"


def _positive(key: str, default: float) -> float:
    value = _get(key, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:  # NaN is neither
        raise ImproperlyConfigured(f"SAFEMIGRATIONS[{key!r}] is {value!r}; write a number greater than 0.")
    return float(value)


def lock_timeout() -> float:
    """Seconds that ordinary queries may queue behind a statement that waits for its lock."""
    return _positive("LOCK_TIMEOUT", 0.2)


def lock_timeout_max() -> float:
    """Seconds to which LOCK_TIMEOUT may grow where each session that holds the table holds it for longer than that."""
    return _positive("LOCK_TIMEOUT_MAX", 0.9)


def lock_retry_for() -> float:
    """Seconds after which a step that never got its lock gives up."""
    return _positive("LOCK_RETRY_FOR", 600)


def show_queries() -> bool:
    """Whether statements of other sessions are shown with the values that stand in them."""
    return _switch("SHOW_QUERIES", False)


def _positive_or_none(key: str, default: float | None) -> float | None:
    return None if _get(key, default) is None else _positive(key, default or 0)


def pooler() -> Literal["session"] | None:
    """The mode of a pooler between the project and the server.

    None says that there must be none: migrate refuses one.
    """
    value = _get("POOLER", None)
    if value not in (None, "session"):
        raise ImproperlyConfigured(f"SAFEMIGRATIONS['POOLER'] is {value!r}; write 'session' or None.")
    return "session" if value == "session" else None


def max_wait() -> float | None:
    """Seconds that a request may wait for a migration before the migration is stopped. None: as long as it takes."""
    return _positive_or_none("MAX_WAIT", 2)


def _whole(key: str, default: int, least: int) -> int:
    value = _get(key, default)
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ImproperlyConfigured(
            f"SAFEMIGRATIONS[{key!r}] is {value!r}; write a whole number greater than {least - 1}."
        )
    return value


def _switch(key: str, default: bool) -> bool:
    value = _get(key, default)
    if not isinstance(value, bool):
        raise ImproperlyConfigured(f"SAFEMIGRATIONS[{key!r}] is {value!r}; write True or False.")
    return value


def _not_negative(key: str, default: float) -> float:
    value = _get(key, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not value >= 0:
        raise ImproperlyConfigured(f"SAFEMIGRATIONS[{key!r}] is {value!r}; write a number, 0 or greater.")
    return float(value)


def backfill_batch_size() -> int:
    """Rows in the first batch of a backfill."""
    return _whole("BACKFILL_BATCH_SIZE", 1000, 1)


def backfill_batch_seconds() -> float:
    """Seconds that one batch aims at; its row locks are held that long."""
    return _positive("BACKFILL_BATCH_SECONDS", 0.1)


def backfill_inline_rows() -> int:
    """Rows above which `migrate` leaves a backfill that can wait for later."""
    return _whole("BACKFILL_INLINE_ROWS", 1_000_000, 0)


def backfill_rest() -> float:
    """Seconds of rest for each second of work, while others use the database."""
    return _not_negative("BACKFILL_REST", 0.05)


def backfill_rate() -> float | None:
    """Rows a second that each worker may fill at most. None: no limit."""
    return _positive_or_none("BACKFILL_RATE", None)


def backfill_window() -> tuple[str, str] | None:
    """The hours in which `safemigrations backfill` and its tasks work, such as ("22:00", "06:00"); None for all day."""
    value = _get("BACKFILL_WINDOW", None)
    if value is None:
        return None
    try:
        begin, end = map(datetime.time.fromisoformat, value)
        if begin == end:
            raise ValueError
    except (TypeError, ValueError):
        raise ImproperlyConfigured(
            f"SAFEMIGRATIONS['BACKFILL_WINDOW'] is {value!r}; write two times such as ('22:00', '06:00'), or None."
        ) from None
    return tuple(value)


def backfill_replica_lag() -> float | None:
    """Seconds that a replica may be behind before a backfill waits for it; None for any time."""
    return _positive_or_none("BACKFILL_REPLICA_LAG", 1.5)


def backfill_retained_wal() -> float | None:
    """Gigabytes of WAL that a replication slot may retain before a backfill waits; None for any amount."""
    return _positive_or_none("BACKFILL_RETAINED_WAL", 8)


def backfill_archive_queue() -> float | None:
    """WAL files that may wait for the archiver before a backfill waits.

    None: a backfill never waits for the archiver, not even for a failing one.
    """
    return _positive_or_none("BACKFILL_ARCHIVE_QUEUE", 42)


def backfill_second_connection() -> bool:
    """Whether a backfill takes a second connection while nobody else uses the server."""
    return _switch("BACKFILL_SECOND_CONNECTION", True)


def backfill_yield_to_autovacuum() -> bool:
    """Whether a backfill takes turns with an autovacuum of its table."""
    return _switch("BACKFILL_YIELD_TO_AUTOVACUUM", True)


def backfill_yield_to_waiters() -> bool:
    """Whether batches become smaller when somebody had to wait for one."""
    return _switch("BACKFILL_YIELD_TO_WAITERS", True)


def _text_or_none(key: str, example: str) -> str | None:
    value = _get(key, None)
    if value is not None and not (isinstance(value, str) and value):
        raise ImproperlyConfigured(f"SAFEMIGRATIONS[{key!r}] must be a string such as {example!r}, or None.")
    return value


def metrics_token() -> str | None:
    """The bearer token that Prometheus sends to the metrics view. None: no token opens the view."""
    return _text_or_none("METRICS_TOKEN", "a long random text")


def metrics_gateway() -> str | None:
    """The URL of the Pushgateway to which the metrics of each run are pushed; None: to none."""
    return _text_or_none("METRICS_GATEWAY", "http://gateway:9091")


def marks() -> bool:
    """Whether sessions carry the mark of their release in application_name."""
    return _switch("MARKS", True)


def release() -> str:
    """What the team calls the release of this code, such as a git hash; messages show it."""
    value = _get("RELEASE", "")
    if not isinstance(value, str):
        raise ImproperlyConfigured(f"SAFEMIGRATIONS['RELEASE'] is {value!r}; write a string such as a git hash.")
    return value


def gate() -> Literal["marked", "strict"]:
    """Which sessions keep a contract from running.

    "marked": sessions of releases that need what goes. "strict": unmarked sessions, too.
    """
    value = _get("GATE", "marked")
    if value not in ("marked", "strict"):
        raise ImproperlyConfigured(f"SAFEMIGRATIONS['GATE'] is {value!r}; write 'marked' or 'strict'.")
    return "strict" if value == "strict" else "marked"


def gate_watch() -> float:
    """Seconds for which a contract looks at the sessions before it runs."""
    return _not_negative("GATE_WATCH", 5)


def gate_quiet() -> float:
    """Seconds for which a release counts as connected after one of its processes has connected; 0: not at all."""
    return _not_negative("GATE_QUIET", 0)


def contract_after() -> float:
    """Seconds that a row of the contract waits at least."""
    value = _get("CONTRACT_AFTER", 0)
    if isinstance(value, datetime.timedelta):
        return value.total_seconds()
    if isinstance(value, bool) or not isinstance(value, int | float) or not value >= 0:
        raise ImproperlyConfigured(
            f"SAFEMIGRATIONS['CONTRACT_AFTER'] is {value!r}; write seconds, 0 or more, or a datetime.timedelta."
        )
    return value


def contract_requires() -> str | Callable[[str], Any] | None:
    """What must succeed before a contract runs: a shell command, "module:function", or a function."""
    value: str | Callable[[str], Any] | None = _get("CONTRACT_REQUIRES", None)
    if not (value is None or (isinstance(value, str) and value.strip()) or callable(value)):
        raise ImproperlyConfigured(
            f"SAFEMIGRATIONS['CONTRACT_REQUIRES'] is {value!r}; write a shell command, 'module:function' or a function."
        )
    return value


def _labels(key: str) -> list[str] | None:
    value = _get(key, None)
    known = isinstance(value, list | tuple | set) and all(isinstance(item, str) for item in value)
    if value is not None and not known:
        raise ImproperlyConfigured(f"SAFEMIGRATIONS[{key!r}] is {value!r}; write a list of app labels.")
    return value if value is None else list(value)


def check_apps() -> list[str] | None:
    """Labels of the apps whose migrations are checked; None means those outside site-packages."""
    return _labels("CHECK_APPS")


def labels_and_names(value: Any) -> dict[str, str]:
    """The value, if it maps app labels to names of migrations; else None."""
    if not isinstance(value, Mapping) or not all(isinstance(item, str) for kv in value.items() for item in kv):
        raise ValueError(value)
    return dict(value)


def baseline() -> dict[str, str] | str | None:
    """App label -> the last migration that was there before the checks, or a date, or a ref of git."""
    value = _get("BASELINE", None)
    if value is None or (isinstance(value, str) and value.strip()):
        return value
    try:
        return labels_and_names(value)
    except ValueError:
        raise ImproperlyConfigured(
            f"SAFEMIGRATIONS['BASELINE'] is {value!r}; write a dictionary such as {{'shop': '0006_order_note'}}, a "
            "date such as '2026-01-31', or a ref of git."
        ) from None


def baseline_file() -> str:
    """The file that `safemigrations baseline --write` writes."""
    value = _get("BASELINE_FILE", "safemigrations_baseline.json")
    if not isinstance(value, str | Path) or not str(value):
        raise ImproperlyConfigured(f"SAFEMIGRATIONS['BASELINE_FILE'] is {value!r}; write the path of a file.")
    return str(value)


def _is_function(value: Any) -> bool:
    return callable(value) or (isinstance(value, str) and "." in value)


def rehearsal_seed() -> str | Callable[[], Any] | None:
    """What makes the rows of a rehearsal that can't be generated: "module.function", or a function."""
    value: str | Callable[[], Any] | None = _get("REHEARSAL_SEED", None)
    if value is not None and not _is_function(value):
        raise ImproperlyConfigured(
            f"SAFEMIGRATIONS['REHEARSAL_SEED'] is {value!r}; write 'module.function' or a function."
        )
    return value


def rehearsal_actions() -> list[str | Callable[[], Any]]:
    """Requests of the project's own in a rehearsal: functions without arguments, or their names."""
    value = _get("REHEARSAL_ACTIONS", [])
    if not isinstance(value, list | tuple) or not all(map(_is_function, value)):
        raise ImproperlyConfigured(
            f"SAFEMIGRATIONS['REHEARSAL_ACTIONS'] is {value!r}; write a list such as ['shop.rehearsal.check_out']."
        )
    return list(value)


def verify_ignore() -> list[str]:
    """Patterns of tables, and of their parts, whose drift `safemigrations verify` leaves out."""
    value = _get("VERIFY_IGNORE", ())
    if isinstance(value, str) or not all(isinstance(pattern, str) for pattern in value):
        raise ImproperlyConfigured(
            f"SAFEMIGRATIONS['VERIFY_IGNORE'] is {value!r}; write a list of patterns such as ['shop_report*']."
        )
    return list(value)


def verify_touched() -> bool:
    """Whether `migrate` ends with a look at the tables that it touched."""
    return _switch("VERIFY_TOUCHED", True)


def rehearsal_values() -> dict[str, str | Callable[[Any, int], Any]]:
    """Class of a field, as "module.Class" -> a function of a field and a number that gives what it holds."""
    value = _get("REHEARSAL_VALUES", {})
    if not isinstance(value, Mapping) or not all(map(_is_function, [*value, *value.values()])):
        raise ImproperlyConfigured(
            f"SAFEMIGRATIONS['REHEARSAL_VALUES'] is {value!r}; write a dictionary such as "
            "{'shop.fields.MoneyField': 'shop.rehearsal.money'}."
        )
    return dict(value)


# Every public function of this module that needs no argument reads a key.

READERS: list[Callable[[], Any]] = [
    value
    for name, value in list(globals().items())
    if type(value) is FunctionType  # isinstance() would load the settings
    and value.__module__ == __name__
    and not name.startswith("_")
    and not value.__code__.co_argcount
]
KEYS = {read.__name__.upper() for read in READERS}
