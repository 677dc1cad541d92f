"""Numbers as people read them."""

from __future__ import annotations


def rows(number: int) -> str:
    return "1 row" if number == 1 else f"{number:,} rows"


def size(number: float) -> str:
    """Bytes, in the largest unit that fits: 96 MB."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if number < 1024 or unit == "GB":
            break
        number /= 1024
    return f"{number:,.1f} {unit}" if unit == "GB" and number < 100 else f"{number:,.0f} {unit}"


def seconds(number: float) -> str:
    if number < 0.095:
        return f"{number * 1000:.0f} ms"
    if number < 9.5:
        return f"{number:.1f} s"
    if number < 120:
        return f"{number:.0f} s"
    return f"{number / 60:.0f} min" if number < 7200 else f"{number / 3600:.1f} h"


def span(low: float, high: float) -> str:
    """Seconds from and to: 0.2 to 1.5 s."""
    first, last = seconds(low), seconds(high)
    if first == last:
        return first
    (number, unit), (_, other) = first.split(), last.split()
    return f"{number if unit == other else first} to {last}"
