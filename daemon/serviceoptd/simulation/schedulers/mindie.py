"""MindIE's scheduler: batches of prompts and batches of tokens apart, one of the two in each round. Pure.

Which of them is next: with `supportSelectBatch` off, prompts, unless they are still to be collected
(`maxQueueDelayMicroseconds`), requests lie swapped out, or fewer than 5 % of the KV blocks are free. With it on, the
times lost by each choice are compared: a prompt's `prefillTimeMsPerReq` for every request that runs, against
`decodeTimeMsPerReq` for every place of the batch that was empty, added up since the last prompt. When the choice comes to
nothing, the next one is to decode. What is assumed beyond MindIE's manual and its published sources: docs/simulation.md.

All that run decode together, so they are counted, not visited (`InStep`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from serviceopt_journal.errors import InvalidConfiguration
from serviceoptd.simulation.schedulers.decode_group import InStep
from serviceoptd.simulation.virtual_clock.interface import Batch, Request

DECODE_RESERVE = 0.05  # share of the KV blocks below which no prompt is begun
ALWAYS_COLLECT = 5000  # microseconds; with a longer delay than this a full prefill batch does not wait for its end


@dataclass(frozen=True, kw_only=True)
class MindieLimits:
    """MindIE's ScheduleConfig, in its units.

    Raises:
        InvalidConfiguration: MindIE itself would not start with these.
    """

    max_batch_size: int
    max_prefill_batch_size: int
    max_prefill_tokens: int
    max_seq_len: int
    npu_blocks: int
    cache_block_size: int = 128
    cpu_blocks: int = 0  # cpuMemSize, in blocks: where preempted requests are swapped to
    max_preempt_count: int = 0  # swapped out in one round at most; the others are computed again
    max_queue_delay_microseconds: int = 5000
    support_select_batch: bool = False
    prefill_time_ms_per_req: int = 150
    decode_time_ms_per_req: int = 50
    max_input_token_len: int = 0  # a longer prompt is answered with an error; 0: no such limit
    max_iter_times: int = 0  # tokens of an answer at most; 0: no such limit

    def __post_init__(self) -> None:
        if not 1 <= self.max_prefill_batch_size <= self.max_batch_size:
            raise InvalidConfiguration(
                f"maxPrefillBatchSize ({self.max_prefill_batch_size}) is not between 1 and maxBatchSize"
                f" ({self.max_batch_size})",
                hint="lower maxPrefillBatchSize",
            )
        if not 0 <= self.max_preempt_count <= self.max_batch_size:
            raise InvalidConfiguration(
                f"maxPreemptCount ({self.max_preempt_count}) is not between 0 and maxBatchSize ({self.max_batch_size})",
                hint="lower maxPreemptCount",
            )
        if self.npu_blocks * self.cache_block_size < self.max_seq_len:
            raise InvalidConfiguration(
                f"{self.npu_blocks} KV blocks of {self.cache_block_size} tokens cannot hold one sequence of maxSeqLen"
                f" ({self.max_seq_len})",
                hint="lower maxSeqLen, or raise npuMemSize",
            )


class MindieScheduler:
    """MindIE's rules for these requests. See `interface.Scheduler`."""

    in_flight = 1

    def __init__(self, requests: Sequence[Request], limits: MindieLimits) -> None:
        self.preemptions = 0
        self.free, self.host_free = limits.npu_blocks, limits.cpu_blocks
        self._requests, self._limits = requests, limits
        self._size = limits.cache_block_size
        self._token_budget = max(limits.max_prefill_tokens, limits.max_seq_len)
        self._final = [request.prompt_tokens + request.output_tokens for request in requests]
        self._known = [request.prompt_tokens for request in requests]  # tokens, of those that do not run
        self._last_batch = [-1] * len(
            requests
        )  # that gave the latest token, of those that do not run; of others, earlier
        self._arrived: dict[int, float] = {}
        self._waiting: deque[int] = deque()
        self._again: deque[int] = deque()  # preempted, to be computed again: after those that wait
        self._swapped: deque[int] = deque()  # preempted, their blocks on the host
        self._running = InStep(self._size)
        self._given_by: dict[int, int] = {}  # batch -> running requests whose latest token it gave
        self._last_decode = -1
        self._lost_ms = 0  # by decoding with empty places, since the last prompts
        self._batches = 0
        self._last: Batch | None = None

    def accepts(self, request: int) -> bool:
        longest = self._limits.max_input_token_len or self._limits.max_seq_len
        return self._requests[request].prompt_tokens <= longest and self._final[request] <= self._limits.max_seq_len

    def add(self, request: int, arrived: float) -> None:
        self._arrived[request] = arrived
        self._waiting.append(request)

    def wakes(self, now: float) -> float | None:
        if self._limits.support_select_batch or not (self._waiting or self._again):
            return None
        collected = self._collected()
        return collected if collected > now else None

    def schedule(self, now: float) -> Batch | None:
        batch = Batch(self._batches)
        if self._prompts_next(now):
            self._prefill(batch)
        if not batch.chunks:
            self._decode(batch)
        if not batch.chunks and not batch.decode_sequences:
            return None
        self._batches += 1
        self._last = batch
        return batch

    def complete(self, batch: Batch) -> None:
        for request in batch.finished:
            self.free += self._blocks(self._final[request] - 1)

    def scheduled(self) -> dict[int, int]:
        if self._last is None:
            return {}
        return dict(self._last.chunks) or dict.fromkeys((*self._running.offset, *self._last.finished), 1)

    def _prompts_next(self, now: float) -> bool:
        limits, running = self._limits, len(self._running)
        waiting = len(self._waiting) + len(self._again)
        if limits.support_select_batch:
            if waiting:
                self._lost_ms += limits.decode_time_ms_per_req * (limits.max_batch_size - running)
            if not waiting or limits.prefill_time_ms_per_req * running <= self._lost_ms:
                self._lost_ms = 0
                return waiting > 0
            return False
        if not waiting or self._swapped or self.free < int(DECODE_RESERVE * limits.npu_blocks):
            return False
        full = limits.max_queue_delay_microseconds > ALWAYS_COLLECT and waiting >= limits.max_prefill_batch_size
        return full or now >= self._collected()

    def _collected(self) -> float:
        """When the request in front has waited long enough for others to join it."""
        front = self._waiting[0] if self._waiting else self._again[0]
        return self._arrived[front] + self._limits.max_queue_delay_microseconds * 1e-6

    def _prefill(self, batch: Batch) -> None:
        limits, budget = self._limits, self._token_budget
        for queue in (self._waiting, self._again):
            while queue:
                request = queue[0]
                tokens, blocks = self._known[request], self._blocks(self._known[request])
                places = min(limits.max_prefill_batch_size, limits.max_batch_size - len(self._running))
                if len(batch.chunks) >= places or tokens > budget or blocks > self.free:
                    break
                queue.popleft()
                self.free -= blocks
                budget -= tokens
                batch.chunks[request] = tokens
            if queue:
                break
        for request, tokens in batch.chunks.items():
            batch.prefill_sequences += 1
            batch.prefill_tokens += tokens
            batch.prefill_attention += tokens * (tokens + 1) // 2
            if tokens == self._requests[request].prompt_tokens:
                batch.first.append(request)
            else:
                batch.gaps.append((self._last_batch[request], 1))
            self._last_batch[request] = batch.number
            if tokens + 1 == self._final[request]:
                batch.finished.append(request)
            else:
                self._run(request, tokens)

    def _decode(self, batch: Batch) -> None:
        preempted = 0
        while self._running.blocks_needed() > self.free:
            self._preempt(max(self._running.offset), swap=preempted < self._limits.max_preempt_count)
            preempted += 1
        while self._swapped and not preempted and len(self._running) < self._limits.max_batch_size:
            request = self._swapped[0]
            held = self._blocks(self._known[request] - 1)
            if self._blocks(self._known[request]) + self._running.blocks_needed() > self.free:
                break
            self._swapped.popleft()
            self.free -= held
            self.host_free += held
            self._run(request, self._known[request] - 1)
        if not self._running:
            return
        self.free -= self._running.blocks_needed()
        done = self._running.advance()
        batch.decode_sequences = len(self._running)
        batch.decode_context = self._running.context()
        batch.gaps += self._given_by.items()
        for request in done:
            self._running.leave(request)
        batch.finished += done
        self._last_decode = batch.number
        self._given_by = {batch.number: len(self._running)} if self._running else {}

    def _run(self, request: int, computed: int) -> None:
        self._running.join(request, computed, self._final[request] - 1)
        given_by = self._last_batch[request]
        self._given_by[given_by] = self._given_by.get(given_by, 0) + 1

    def _preempt(self, request: int, *, swap: bool) -> None:
        computed = self._running.leave(request)
        # It took part in every decode batch since its prompt or its return.
        given_by = self._last_batch[request] = max(self._last_batch[request], self._last_decode)
        self._given_by[given_by] -= 1
        if not self._given_by[given_by]:
            del self._given_by[given_by]
        self._known[request] = computed + 1
        blocks = self._blocks(computed)
        self.free += blocks
        self.preemptions += 1
        if swap and blocks <= self.host_free:
            self.host_free -= blocks
            self._swapped.append(request)
        else:
            self._again.append(request)

    def _blocks(self, tokens: int) -> int:
        return -(-tokens // self._size)
