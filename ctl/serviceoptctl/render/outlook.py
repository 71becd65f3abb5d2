"""What a run will take, said before it begins."""

from __future__ import annotations

from serviceopt_journal.documents.requests import Expected
from serviceoptctl.render.units import about, until


def outlook(expected: Expected, now: float) -> str:
    """How many launches at most, how long, and until when; `now` is in seconds since the epoch."""
    what = "launches of the service" if expected.managed else "measurements"
    how_many = f"at most {expected.launches} {what}, confirmations included and retries not"
    long, end = about(expected.seconds), until(now + expected.seconds, now)
    if expected.source == "history":
        runs = ", ".join(map(str, expected.runs[-3:]))
        return f"{how_many}; about {long}, by what run {runs} took, until about {end}"
    if expected.source == "simulated":
        return f"{how_many}; they are simulated, and take no longer than the simulator computes"
    if expected.source == "max_hours":
        return f"{how_many}; {long} at most (max_hours), until {end} at the latest"
    return f"{how_many}; {long} at most by the time limits, until {end} at the latest: nothing was measured so far"
