"""Spans of time and moments as people type them: 90m, 12h, 7d; 2026-12-01T08:00."""

from __future__ import annotations

import re
from argparse import ArgumentTypeError
from datetime import datetime, timedelta

from django.conf import settings
from django.utils.dateparse import parse_date, parse_datetime
from django.utils.timezone import is_aware, localtime, make_aware

UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def duration(text: str) -> timedelta:
    found = re.fullmatch(r"(\d{1,6})([smhdw])", text)
    if not found:
        raise ArgumentTypeError(f"{text!r} is no span of time; write a number and s, m, h, d or w, such as 7d")
    return timedelta(**{UNITS[found[2]]: int(found[1])})


def moment(text: str) -> datetime:
    """A moment in the time zone of the project, unless the text says another one."""
    try:
        day = parse_date(text)
        found = datetime(day.year, day.month, day.day) if day else parse_datetime(text)
    except ValueError:
        found = None
    if found is None:
        raise ArgumentTypeError(f"{text!r} is no time; write one such as 2026-12-01 or 2026-12-01T08:00")
    return make_aware(found) if settings.USE_TZ and found.tzinfo is None else found


def shown_age(age: timedelta) -> str:
    """The largest unit that fits: 3 d, 5 h, 12 min."""
    for name, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if age.total_seconds() >= length:
            return f"{int(age.total_seconds() // length)} {name}"
    return f"{max(0, int(age.total_seconds()))} s"


def shown_seconds(seconds: float) -> str:
    return shown_age(timedelta(seconds=seconds))


def shown_left(seconds: float) -> str:
    """Two units: 3 h 12 min, 4 min 5 s."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"


def shown_moment(moment: datetime) -> str:
    """The moment in the time zone of the project."""
    return f"{localtime(moment) if is_aware(moment) else moment:%Y-%m-%d %H:%M}"
