"""When a benchmark client sends its requests: the arrival process of `vllm bench serve` 0.32. Pure.

Gaps between requests are gamma-distributed with mean 1/rate and shape `burstiness`: 1 is a Poisson process, less is more
bursty, infinity is a constant gap. The client then stretches them all, so that the last request is sent exactly at
number/rate, and so do we. Numbers are drawn by request, so that a benchmark twice as long begins with the same gaps.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import accumulate, count

from serviceoptd.domain.statistics.draws import uniforms

PURPOSE = "simulated arrivals"
AT_ONCE = 8  # numbers drawn together


def arrivals(number: int, *, request_rate: float | None, burstiness: float = 1.0, seed: int = 0) -> list[float]:
    """Seconds from the start, ascending; `request_rate` in requests/s, None: all at the start. `burstiness` above 0."""
    if request_rate is None or math.isinf(request_rate) or not number:
        return [0.0] * number
    if math.isinf(burstiness):
        gaps = [1.0] * number
    else:
        gaps = [gamma(burstiness, drawn(seed, request)) for request in range(number)]
    times = list(accumulate(gaps))
    stretch = number / request_rate / times[-1] if times[-1] > 0 else 0.0
    return [time * stretch for time in times]


def gamma(shape: float, numbers: Iterator[float]) -> float:
    """A gamma variate of scale 1, by rejection (Marsaglia and Tsang, ACM TOMS 26, 2000), from uniform numbers in [0, 1)."""
    if shape == 1.0:
        return -math.log1p(-next(numbers))
    if shape < 1.0:
        return gamma(shape + 1.0, numbers) * math.pow(1.0 - next(numbers), 1.0 / shape)
    d = shape - 1.0 / 3.0
    c = 1.0 / math.sqrt(9.0 * d)
    while True:
        radius = math.sqrt(-2.0 * math.log1p(-next(numbers)))  # a normal variate, by Box and Muller (1958)
        normal = radius * math.cos(2.0 * math.pi * next(numbers))
        cube = (1.0 + c * normal) ** 3
        if cube > 0.0 and math.log1p(-next(numbers)) < 0.5 * normal**2 + d - d * cube + d * math.log(cube):
            return d * cube


def drawn(seed: int, request: int) -> Iterator[float]:
    """Numbers for one request, without end."""
    for block in count():
        yield from uniforms(seed, f"{PURPOSE} {block}" if block else PURPOSE, request, AT_ONCE)
