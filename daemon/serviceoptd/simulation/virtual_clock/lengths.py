"""The requests of a benchmark: as many tokens in and out as its data set has, or its distribution. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle

from serviceopt_journal.errors import InvalidConfiguration
from serviceoptd.domain.statistics.draws import permutation, uniforms
from serviceoptd.simulation.virtual_clock.interface import Request

PURPOSE = "simulated lengths"
SHUFFLED, REPEATED = "simulated order", "simulated repeats"


@dataclass(frozen=True, kw_only=True)
class RandomLengths:
    """Draws lengths as `--dataset-name random` does: both uniform around their mean, behind one shared prefix.

    The client draws from numpy's generator, we from ours: the distribution is the same, the values are not.
    """

    input_tokens: int
    output_tokens: int
    range_ratio: float = 0.0  # 0: all the same; 0.5: from half the mean to one and a half
    prefix_tokens: int = 0


@dataclass(frozen=True)
class SampledLengths:
    """A data set's (input, output) lengths, as the client draws from them: each once, then any of them again."""

    pairs: tuple[tuple[int, int], ...]
    shuffled: bool = True  # false: in the order of the file


def random_requests(arrivals: Sequence[float], lengths: RandomLengths, seed: int = 0) -> list[Request]:
    """One request for each arrival."""
    requests = []
    for number, arrival in enumerate(arrivals):
        first, second = (0.0, 0.0) if not lengths.range_ratio else uniforms(seed, PURPOSE, number, 2)
        prompt = _around(lengths.input_tokens, lengths.range_ratio, first)
        requests.append(
            Request(
                prompt_tokens=max(1, lengths.prefix_tokens + prompt),
                output_tokens=max(1, _around(lengths.output_tokens, lengths.range_ratio, second)),
                prefix_tokens=lengths.prefix_tokens,
                arrival=arrival,
            )
        )
    return requests


def sampled_requests(arrivals: Sequence[float], lengths: SampledLengths, seed: int = 0) -> list[Request]:
    """One request for each arrival.

    Raises:
        InvalidConfiguration: no lengths found.
    """
    pairs, missing = lengths.pairs, len(arrivals) - len(lengths.pairs)
    if lengths.shuffled:
        pairs = tuple(pairs[place] for place in permutation(seed, SHUFFLED, 0, len(pairs)))
    if pairs and missing > 0:
        pairs += tuple(pairs[int(drawn * len(pairs))] for drawn in uniforms(seed, REPEATED, 0, missing))
    return recorded_requests(arrivals, pairs)


def recorded_requests(arrivals: Sequence[float], lengths: Sequence[tuple[int, int]]) -> list[Request]:
    """The data set's own (input, output) lengths, from its beginning again where it is shorter than the benchmark.

    Raises:
        InvalidConfiguration: no lengths found.
    """
    if not lengths:
        raise InvalidConfiguration("the data set has no requests", hint="give one with at least one request")
    return [
        Request(prompt_tokens=prompt, output_tokens=output, arrival=arrival)
        for arrival, (prompt, output) in zip(arrivals, cycle(lengths), strict=False)
    ]


def _around(mean: int, ratio: float, drawn: float) -> int:
    low, high = math.floor(mean * (1.0 - ratio)), math.ceil(mean * (1.0 + ratio))
    return low + int(drawn * (high - low + 1))
