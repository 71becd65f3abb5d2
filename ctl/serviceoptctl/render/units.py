"""Numbers for people: always with a unit, never with more digits than anybody reads."""

from __future__ import annotations

import time

_MINUTE, _HOUR, _DAY = 60, 3600, 86400


def number(value: float) -> str:
    """Three or four significant digits, without an exponent where people would not write one."""
    size = abs(value)
    if size >= 100 or value == 0:  # noqa: PLR2004 - decades
        return f"{value:.0f}"
    if size >= 10:  # noqa: PLR2004
        return f"{value:.1f}"
    return f"{value:.2f}" if size >= 1 else f"{value:.3g}"


def speed(value: float | None) -> str:
    """A rate of output tokens per second, with its unit."""
    return "-" if value is None else f"{number(value)} tok/s"


def request_rate(value: float | None) -> str:
    """A rate in requests per second, with its unit."""
    return "-" if value is None else f"{number(value)} req/s"


def latency(seconds: float | None) -> str:
    """Milliseconds below one second, seconds from there on."""
    if seconds is None:
        return "-"
    return f"{number(seconds * 1000)} ms" if abs(seconds) < 1 else f"{number(seconds)} s"


def percent(fraction: float | None, *, signed: bool = False) -> str:
    """A fraction of 1 as a text in per cent. 0.999 is not rounded up to all."""
    if fraction is None:
        return "-"
    text = f"{fraction * 100:+.1f}" if signed else f"{fraction * 100:.1f}"
    if not signed and text == "100.0" and fraction < 1:
        text = "99.9"
    return f"{text.removesuffix('.0')} %"


def apart(one: float, other: float) -> tuple[str, str]:
    """Two fractions as per cent, with so many digits that they are seen to differ where they do."""
    for digits in range(1, 7):
        texts = f"{one * 100:.{digits}f} %", f"{other * 100:.{digits}f} %"
        if texts[0] != texts[1]:
            break
    return texts


def duration(seconds: float | None) -> str:
    """How long something took or will take."""
    if seconds is None:
        return "-"
    if seconds < 10:  # noqa: PLR2004
        return f"{number(seconds)} s" if seconds >= 1 else f"{seconds * 1000:.0f} ms"
    whole = round(seconds)
    if whole < _MINUTE:
        return f"{whole} s"
    if whole < _HOUR:
        return f"{whole // _MINUTE} min {whole % _MINUTE:02d} s"
    minutes = round(seconds / _MINUTE)
    if whole < _DAY:
        return f"{minutes // 60} h {minutes % 60:02d} min"
    hours = round(seconds / _HOUR)
    return f"{hours // 24} d {hours % 24:02d} h"


def about(seconds: float) -> str:
    """An estimate of a duration: no more digits than it deserves."""
    return "less than 1 s" if seconds < 1 else f"{round(seconds)} s" if seconds < _MINUTE else duration(seconds)


def until(end: float, now: float) -> str:
    """A clock time that lies ahead: `14:02:11` within the hour, then `14:02`, and with the date on another day."""
    there, here = time.localtime(end), time.localtime(now)
    if there[:3] != here[:3]:
        return time.strftime("%Y-%m-%d %H:%M", there)
    return time.strftime("%H:%M:%S" if end - now < _HOUR else "%H:%M", there)


def between(low: str, high: str) -> str:
    """`between 1180 tok/s and 1240 tok/s`; empty where both are the same as they are shown."""
    return f"between {low} and {high}" if low != high else ""


def times(count: int) -> str:
    """How often: `once`, `3 times`."""
    return "once" if count == 1 else f"{count} times"


def several(count: int, noun: str) -> str:
    """A number of things: `1 launch of the service`, `12,000 launches of the service`."""
    first, space, rest = noun.partition(" ")
    ending = "" if count == 1 else "es" if first.endswith(("ch", "s", "x")) else "s"
    return f"{count:,} {first}{ending}{space}{rest}"


def moment(seconds: float | None) -> str:
    """A point in time, as the clock on the wall here shows it."""
    return "-" if seconds is None else time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))


def clock(seconds: float) -> str:
    """The time of day of a moment, without the date."""
    return time.strftime("%H:%M:%S", time.localtime(seconds))
