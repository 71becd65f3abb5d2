"""Random workloads for the schedulers, and what a scheduler makes of one, batch by batch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from serviceoptd.simulation.schedulers.vllm_limits import VllmLimits
from serviceoptd.simulation.virtual_clock.arrivals import drawn
from serviceoptd.simulation.virtual_clock.interface import Batch, Request, Scheduler


@dataclass(frozen=True)
class Workload:
    """Requests, and after which batch each of them comes; made to be scarce of everything."""

    limits: VllmLimits
    requests: list[Request]
    arrivals: list[int]


class Dice:
    def __init__(self, seed: int) -> None:
        self._numbers = drawn(seed, 0)

    def between(self, low: int, high: int) -> int:
        return low + int(next(self._numbers) * (high - low + 1))

    def one_of(self, *values: Any) -> Any:
        return values[self.between(0, len(values) - 1)]

    def often(self, probability: float) -> bool:
        return next(self._numbers) < probability


def random_workload(seed: int) -> Workload:
    """Equal for equal seeds, on every version of Python."""
    dice = Dice(seed)
    limits = random_limits(dice)
    count = dice.between(1, 60)
    shared = dice.often(0.5)
    requests = [a_request(dice, limits.max_model_len, shared=shared) for _ in range(count)]
    arrivals = [0] * count
    if dice.often(0.7):
        arrivals = sorted(dice.between(0, 3 * count) for _ in range(count))
    return Workload(limits, requests, arrivals)


def random_limits(dice: Dice) -> VllmLimits:
    block_size, length = dice.one_of(4, 8, 16), dice.one_of(64, 128, 256)
    seqs = dice.between(1, 24)
    budget = dice.between(seqs, 300)
    chunked = dice.often(0.8)
    for_one = length // block_size + 1
    return VllmLimits(
        max_num_seqs=seqs,
        max_num_batched_tokens=budget if chunked else max(budget, length),
        max_model_len=length,
        kv_blocks=for_one + dice.between(0, for_one * dice.one_of(1, 1, 20)),
        block_size=block_size,
        enable_chunked_prefill=chunked,
        enable_prefix_caching=dice.often(0.5),
        long_prefill_token_threshold=dice.between(1, length) if chunked and dice.often(0.25) else 0,
        policy=dice.one_of("fcfs", "fcfs", "priority"),
        async_scheduling=dice.often(0.5),
        scheduler_reserve_full_isl=dice.often(0.8),
        watermark=dice.one_of(0.0, 0.0, 0.05),
    )


def a_request(dice: Dice, length: int, *, shared: bool) -> Request:
    prompt = dice.between(1, length - 1)
    return Request(
        prompt_tokens=prompt,
        output_tokens=dice.between(1, length - prompt),
        prefix=dice.between(0, 3),
        prefix_tokens=dice.one_of(0, prompt, prompt // 2, dice.between(0, prompt)) if shared else 0,
        priority=dice.between(0, 3),
    )


def played(scheduler: Scheduler, workload: Workload) -> Iterator[Batch | None]:
    """Each batch as it is composed, None where there is none, until all have finished. A batch is one tick of a clock."""
    in_flight: list[Batch] = []
    added = finished = tick = 0
    count = len(workload.requests)
    while finished < count:
        while added < count and workload.arrivals[added] <= tick:
            scheduler.add(added, float(tick))
            added += 1
        batch = scheduler.schedule(float(tick))
        yield batch
        if batch is not None:
            in_flight.append(batch)
            if len(in_flight) < scheduler.in_flight:
                continue
        if in_flight:
            ended = in_flight.pop(0)
            scheduler.complete(ended)
            finished += len(ended.finished)
        tick += 1
        assert tick < 100_000, "requests are lost"


def described(scheduler: Scheduler, batch: Batch | None) -> list[Any]:
    """All that another scheduler must agree with: who is given how many tokens, and what follows for the step's time."""
    if batch is None:
        return []
    return [
        sorted(scheduler.scheduled().items()),
        [batch.prefill_sequences, batch.prefill_tokens, batch.prefill_attention],
        [batch.decode_sequences, batch.decode_context],
        [sorted(batch.first), sorted(batch.finished), scheduler.preemptions],
        sorted(before for before, count in batch.gaps for _ in range(count)),
    ]


def digest(scheduler: Scheduler, workload: Workload) -> str:
    """The same for two schedulers that compose the same batches."""
    whole = hashlib.sha256()
    for batch in played(scheduler, workload):
        whole.update(json.dumps(described(scheduler, batch)).encode())
    return whole.hexdigest()
