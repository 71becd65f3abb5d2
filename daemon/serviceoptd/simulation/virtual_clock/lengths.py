"""The requests of a benchmark: as many tokens in and out as its data set has, or its distribution. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle

from serviceopt_journal.errors import InvalidConfiguration
from serviceoptd.domain.statistics.draws import endless, permutation, uniforms
from serviceoptd.simulation.virtual_clock.distributions import Distribution
from serviceoptd.simulation.virtual_clock.interface import Request

PURPOSE = "simulated lengths"
SHUFFLED, REPEATED, PREFIXES = "simulated order", "simulated repeats", "simulated prefixes"
INPUTS, OUTPUTS = "simulated input lengths", "simulated output lengths"

Pair = tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class RandomLengths:
    """Draws lengths as `--dataset-name random` does: both uniform around their mean, behind one shared prefix.

    The client draws from numpy's generator, we from ours: the distribution is the same, the values are not.
    """

    input_tokens: int
    output_tokens: int
    range_ratio: float = 0.0  # 0: all the same; 0.5: from half the mean to one and a half
    prefix_tokens: int = 0
    prefixes: int = 1  # different ones, each shared by equally many requests
    inputs: Distribution | None = None  # in place of `input_tokens` and `range_ratio`
    outputs: Distribution | None = None
    added_tokens: int = 0  # to each prompt, equal ones at its beginning: the chat template's
    turns: int = 1  # of a conversation, each with all that was said before it


@dataclass(frozen=True)
class SampledLengths:
    """A data set's (input, output) lengths, as the client draws from them: each once, then any of them again."""

    pairs: tuple[Pair, ...]
    shuffled: bool = True  # false: in the order of the file
    turns: tuple[int, ...] = ()  # how many pairs, one after the other, are one conversation; (): each is one
    times: tuple[float, ...] = ()  # seconds from the start when each conversation begins, ascending; (): at the load's
    requests_count: bool = False  # the benchmark ends after so many requests, not conversations

    def conversations(self) -> list[tuple[Pair, ...]]:
        """The pairs by conversation, in the order of the file."""
        if not self.turns:
            return [(pair,) for pair in self.pairs]
        places = iter(self.pairs)
        return [tuple(next(places) for _ in range(turns)) for turns in self.turns]


def random_requests(arrivals: Sequence[float], lengths: RandomLengths, seed: int = 0) -> list[Request]:
    """One request for each arrival."""
    requests: list[Request] = []
    order = permutation(seed, PREFIXES, 0, len(arrivals)) if lengths.prefixes > 1 else ()
    shared = lengths.prefix_tokens + lengths.added_tokens
    for number, arrival in enumerate(arrivals):
        first, second = (0.0, 0.0) if not lengths.range_ratio else uniforms(seed, PURPOSE, number, 2)
        prompt = _length(lengths.inputs, lengths, lengths.input_tokens, first, endless(seed, INPUTS, number))
        output = _length(lengths.outputs, lengths, lengths.output_tokens, second, endless(seed, OUTPUTS, number))
        later = number % lengths.turns > 0
        before = requests[-1].prompt_tokens + requests[-1].output_tokens if later else shared
        tokens = max(1, before + prompt)
        requests.append(
            Request(
                prompt_tokens=tokens,
                output_tokens=max(1, output),
                prefix=order[number] % lengths.prefixes if order else number // lengths.turns * (lengths.turns > 1),
                prefix_tokens=shared if lengths.turns == 1 else tokens,
                arrival=arrival,
                after=number - 1 if later else None,
            )
        )
    return requests


def sampled_requests(arrivals: Sequence[float], lengths: SampledLengths, seed: int = 0) -> list[Request]:
    """One conversation for each arrival; most have one request.

    Raises:
        InvalidConfiguration: no lengths found.
    """
    talks, missing = lengths.conversations(), len(arrivals) - len(lengths.turns or lengths.pairs)
    if lengths.times:
        return _conversations(lengths.times[: len(arrivals)], talks)
    if lengths.shuffled:
        talks = [talks[place] for place in permutation(seed, SHUFFLED, 0, len(talks))]
    if talks and missing > 0:
        talks += [talks[int(place * len(talks))] for place in uniforms(seed, REPEATED, 0, missing)]
    if lengths.turns and any(turns > 1 for turns in lengths.turns):
        requests = _conversations(arrivals, talks)
        return requests[: len(arrivals)] if lengths.requests_count else requests
    return recorded_requests(arrivals, [pair for talk in talks for pair in talk])


def recorded_requests(arrivals: Sequence[float], lengths: Sequence[Pair]) -> list[Request]:
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


def _conversations(arrivals: Sequence[float], talks: Sequence[Sequence[Pair]]) -> list[Request]:
    """Each turn begins with all of the one before it, so the prompts of a conversation share their tokens."""
    requests: list[Request] = []
    for talk, (arrival, turns) in enumerate(zip(arrivals, talks, strict=False), 1):
        for turn, (prompt, output) in enumerate(turns):
            shared = prompt if len(turns) > 1 else 0
            after = len(requests) - 1 if turn else None
            requests.append(Request(prompt, output, talk, shared, arrival=arrival, after=after))
    return requests


def _length(
    spread: Distribution | None, lengths: RandomLengths, mean: int, uniform: float, numbers: Iterator[float]
) -> int:
    return spread.drawn(numbers) if spread is not None else _around(mean, lengths.range_ratio, uniform)


def _around(mean: int, ratio: float, drawn: float) -> int:
    low, high = math.floor(mean * (1.0 - ratio)), math.ceil(mean * (1.0 + ratio))
    return low + int(drawn * (high - low + 1))
