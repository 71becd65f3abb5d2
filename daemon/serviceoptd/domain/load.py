"""The client's load, as a configuration sets it."""

from __future__ import annotations

import math

from serviceopt_journal.events import Configuration


def load_of(configuration: Configuration) -> tuple[int | None, float | None]:
    """Concurrency (requests in flight) and request rate (requests/s); None where it is not limited.

    A value of 0 or less means that there is no limit. MAXCONCURRENCY is another name of CONCURRENCY.
    """
    concurrency = configuration.get("CONCURRENCY", configuration.get("MAXCONCURRENCY"))
    rate = configuration.get("REQUESTRATE")
    limited = concurrency is not None and int(concurrency) > 0
    paced = rate is not None and float(rate) > 0 and math.isfinite(float(rate))
    return (int(concurrency) if limited and concurrency is not None else None), (
        float(rate) if paced and rate is not None else None
    )
