"""What a run will take, said before it begins."""

from __future__ import annotations

from serviceopt_journal.documents.requests import Expected
from serviceoptctl.render.units import about, duration, several, until


def outlook(expected: Expected, now: float) -> str:
    """How many launches at most, how long, and until when; `now` is in seconds since the epoch."""
    what = several(expected.launches, "launch of the service" if expected.managed else "measurement")
    how_many = f"at most {what}, confirmations included and retries not"
    long, end = about(expected.seconds), until(now + expected.seconds, now)
    if expected.source == "history":
        runs = ", ".join(map(str, expected.runs[-3:]))
        return f"{how_many}; about {long}, by what run {runs} took, until about {end}"
    if expected.source == "simulated":
        return f"{how_many}; they are simulated, and take no longer than the simulator computes"
    likely = _as_others(expected)
    if expected.source == "max_hours":
        return f"{how_many}; {likely}{long} at most (max_hours), until {end} at the latest"
    unknown = "" if likely else ": nothing was measured so far"
    return f"{how_many}; {likely}{long} at most by the time limits, until {end} at the latest{unknown}"


def _as_others(expected: Expected) -> str:
    """`between 20 min 00 s and 1 h 30 min, if it goes as in run 3, 5, which differ; `, or nothing."""
    if expected.between is None:
        return ""
    shortest, longest = (duration(seconds) for seconds in expected.between)
    range_ = f"about {longest}" if shortest == longest else f"between {shortest} and {longest}"
    differ = "which differs" if len(expected.others) == 1 else "which differ"
    return f"{range_}, if each launch takes as long as in run {', '.join(map(str, expected.others))}, {differ}; "
