"""The words of the virtual time line: requests, batches, how long a batch takes, and who composes it. Pure.

A scheduler never knows the time of a step, the step times never know a scheduler, and only the time line knows both. So
each can be replaced alone: the schedulers are our own or vLLM's, the step times are physical coefficients or a trained
model. All times are seconds of the virtual clock, which starts at 0 with the first request of a benchmark.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple, Protocol


class StepComposition(NamedTuple):
    """What one step of the engine computes: all that its time depends on.

    A sequence that is given the token after its last known one decodes; any other is in prefill, also one that is
    computed again after a preemption.
    """

    prefill_sequences: int  # with a chunk of their prompt in this batch
    prefill_tokens: int  # of these chunks
    prefill_attention: int  # pairs of a query and a key: for a chunk of `c` tokens behind `m`, c*m + c*(c+1)/2
    decode_sequences: int  # that are given one token
    decode_context: int  # tokens that these attend to, the new one included, summed


class Composed(Protocol):
    """Anything that has the five numbers of a step in itself.

    Step times read them in the batch: a copy costs 8 % of a simulation.
    """

    @property
    def prefill_sequences(self) -> int:
        """The number of sequences in prefill."""

    @property
    def prefill_tokens(self) -> int:
        """The number of prompt tokens."""

    @property
    def prefill_attention(self) -> int:
        """The number of pairs of a query and a key in these chunks."""

    @property
    def decode_sequences(self) -> int:
        """The number of decoding sequences."""

    @property
    def decode_context(self) -> int:
        """The context tokens of the decoding sequences."""


class StepTimes(Protocol):
    """How long the engine takes for one batch. Must be a pure function: equal batches take equally long."""

    def step_seconds(self, step: Composed) -> float:
        """Seconds of one step, from one batch's end to the next one's; above 0."""


@dataclass(frozen=True, slots=True)
class Request:
    """One request of a benchmark. Its number is its place in the benchmark's list, counted from 0.

    The output ends after `output_tokens`, as with `--ignore-eos`; so its length is known to nobody but us.
    """

    prompt_tokens: int
    output_tokens: int
    prefix: int = 0  # requests with the same number begin with the same tokens
    prefix_tokens: int = 0  # so many of them; 0: none
    priority: int = 0  # smaller is served first, where the scheduler looks at it
    arrival: float = 0.0  # seconds from the start until the client wants to send it
    after: int | None = None  # a later turn of a conversation: sent in the place of that request, once it is answered


@dataclass(slots=True)
class Batch:
    """What one step of the engine computes, and which tokens come out of it."""

    number: int  # of the scheduler's batches, counted from 0
    prefill_sequences: int = 0
    prefill_tokens: int = 0
    prefill_attention: int = 0
    decode_sequences: int = 0
    decode_context: int = 0
    first: list[int] = field(default_factory=list)  # requests that are given their first token
    gaps: list[tuple[int, int]] = field(default_factory=list)
    """Every later token: the number of the batch that gave the token before, and how many requests that is true of."""
    finished: list[int] = field(default_factory=list)  # requests that are given their last token
    chunks: dict[int, int] = field(default_factory=dict)  # request -> tokens, of those that do not decode in step


def composition_of(step: Composed) -> StepComposition:
    """The five numbers alone, to be kept."""
    return StepComposition(
        step.prefill_sequences,
        step.prefill_tokens,
        step.prefill_attention,
        step.decode_sequences,
        step.decode_context,
    )


class Scheduler(Protocol):
    """Composes the batches of one engine. Built with the list of requests; told of each when it reaches the engine."""

    in_flight: int  # batches composed before the first of them has ended: 2 with asynchronous scheduling, else 1
    preemptions: int  # so far

    def accepts(self, request: int) -> bool:
        """Whether the server would serve this request at all, or answer with an error."""

    def add(self, request: int, arrived: float) -> None:
        """The request reached the engine then: now, or while the last batch ran."""

    def schedule(self, now: float) -> Batch | None:
        """The next batch; None: nothing can run before a batch in flight ends, a request arrives, or `wakes`.

        The batches before it may still be in flight.
        """

    def complete(self, batch: Batch) -> None:
        """Takes in that the batch has ended. Batches end in the order in which they were composed."""

    def wakes(self, now: float) -> float | None:
        """When, after `now`, it would decide otherwise without having been told anything; None: never."""

    def scheduled(self) -> dict[int, int]:
        """Request -> tokens of the last batch. Costs as much as the batch is large: for tests and explanations."""
