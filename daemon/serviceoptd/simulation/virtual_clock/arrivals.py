"""When a benchmark client sends its requests: the arrival process of `vllm bench serve` 0.32. Pure.

Gaps between requests are gamma-distributed with mean 1/rate and shape `burstiness`: 1 is a Poisson process, less is more
bursty, infinity is a constant gap. The client then stretches them all, so that the last request is sent exactly at
number/rate, and so do we. Numbers are drawn by request, so that a benchmark twice as long begins with the same gaps.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate
from typing import Literal

from serviceoptd.domain.statistics.draws import endless

PURPOSE = "simulated arrivals"


@dataclass(frozen=True)
class RampUp:
    """A rate that grows from the first request to the last, in requests/s, both above 0."""

    strategy: Literal["linear", "exponential"]
    start: float
    end: float

    def rate(self, request: int, number: int) -> float:
        """That of one of so many requests."""
        progress = request / max(number - 1, 1)
        if self.strategy == "linear":
            return self.start + (self.end - self.start) * progress
        return self.start * math.pow(self.end / self.start, progress)


def arrivals(
    number: int,
    *,
    request_rate: float | None,
    burstiness: float = 1.0,
    seed: int = 0,
    ramp_up: RampUp | None = None,
) -> list[float]:
    """Seconds from the start, ascending; `request_rate` in requests/s, None: all at the start. `burstiness` above 0.

    `ramp_up` wins over the rate; then nothing is stretched, as the client does not either.
    """
    if not number or (ramp_up is None and (request_rate is None or math.isinf(request_rate))):
        return [0.0] * number
    if math.isinf(burstiness):
        gaps = [1.0] * number
    else:
        gaps = [gamma(burstiness, drawn(seed, request)) for request in range(number)]
    if ramp_up is not None:
        shape = 1.0 if math.isinf(burstiness) else burstiness
        return list(accumulate(gap / shape / ramp_up.rate(request, number) for request, gap in enumerate(gaps)))
    assert request_rate is not None  # noqa: S101 - of the first lines
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
    return endless(seed, PURPOSE, request)
