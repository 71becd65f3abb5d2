"""The scheduler of vLLM (version 1, vLLM 0.32), with the cost of a step that does not grow with its batch. Pure.

The rules, in the order in which they act: requests that run are served first, in the order of their admission, a token
each or the next chunk of their prompt, while the token budget lasts; where a block of the KV cache is missing, the last
one (or the lowest in priority) is preempted, and computed again later. Then, if nothing was preempted, those that wait are
admitted while budget, places and blocks last; the first that does not fit ends it.

Requests that decode gain one token a batch, all together (`InStep`), so they are not visited. Only where prompts and
tokens contend for budget or blocks, or priorities for blocks, is each request looked at by itself; it joins the others
again when it has its token. The contract tests hold the batches against those of the real scheduler, one by one.
"""

from __future__ import annotations

from collections.abc import Sequence
from heapq import heapify, heappop, heappush

from serviceoptd.simulation.schedulers.decode_group import InStep
from serviceoptd.simulation.schedulers.kv_blocks import NOTHING, KvBlocks
from serviceoptd.simulation.schedulers.vllm_limits import VllmLimits
from serviceoptd.simulation.virtual_clock.interface import Batch, Request


class VllmScheduler:
    """The rules of vLLM's scheduler for these requests. See `interface.Scheduler`."""

    def __init__(self, requests: Sequence[Request], limits: VllmLimits) -> None:
        self.in_flight = 2 if limits.async_scheduling else 1
        self.preemptions = 0
        self.pool = KvBlocks(limits.kv_blocks - 1)
        self._requests, self._limits = requests, limits
        self._size = limits.block_size
        self._by_priority = limits.policy == "priority"
        self._caching = limits.enable_prefix_caching
        self._watermark = int(limits.watermark * limits.kv_blocks)
        self._final = [request.prompt_tokens + request.output_tokens for request in requests]
        self._known = [request.prompt_tokens for request in requests]  # tokens, those in flight included
        self._computed = [0] * len(requests)  # of those in step: known there
        self._prefilled = [0] * len(requests)  # of these: in chunks, so that they were known at once
        self._last_batch = [-1] * len(requests)  # that gave the latest token; of those in step: the last one
        self._shared: dict[int, list[int]] = {}  # blocks of shared prefixes that a request holds
        self._waiting: list[tuple[int, int]] = []  # a heap of (rank, request)
        self._queued = 0  # so often
        self._running: dict[int, None] = {}  # in the order of their admission
        self._apart: dict[int, None] = {}  # of these, in the same order: not in step
        self._in_step = InStep(limits.block_size)
        self._batches = 0
        self._last: Batch | None = None

    def accepts(self, request: int) -> bool:
        return self._final[request] <= self._limits.max_model_len

    def add(self, request: int, arrived: float) -> None:
        self._queue(request, first=False)

    def wakes(self, now: float) -> float | None:
        return None

    def schedule(self, now: float) -> Batch | None:
        batch, budget, preempted = Batch(self._batches), self._limits.max_num_batched_tokens, self.preemptions
        threshold = self._limits.long_prefill_token_threshold
        if len(self._running) + len(self._waiting) <= 1:
            threshold = 0
        taken = 0
        if self._in_step and self._contended(budget, threshold):
            if self._apart or self._by_priority:
                self._part()
            else:
                taken = self._make_room(batch)
        if self._in_step:
            budget -= len(self._in_step)
            self._advance(batch, taken)
        if self._apart:
            budget = self._continue(batch, budget, threshold)
        if self._waiting and budget and self.preemptions == preempted:
            self._admit(batch, budget, threshold)
        if batch.chunks:
            self._account(batch)
        elif not batch.decode_sequences:
            return None
        self._batches += 1
        self._last = batch
        return batch

    def complete(self, batch: Batch) -> None:
        finished = batch.finished
        if len(finished) > 1 and self._caching:
            order = {request: place for place, request in enumerate(self._running)}
            finished = sorted(finished, key=lambda request: order.get(request, -1))
        for request in finished:
            if request in self._running:
                del self._running[request]
                self._free(request, self._computed[request])
            else:  # preempted while its last token was in flight
                self._waiting = [entry for entry in self._waiting if entry[1] != request]
                heapify(self._waiting)

    def scheduled(self) -> dict[int, int]:
        if self._last is None:
            return {}
        in_step = dict.fromkeys((*self._in_step.offset, *self._last.finished), 1)
        return in_step | self._last.chunks

    # requests that decode in step

    def _contended(self, budget: int, threshold: int) -> bool:
        """Whether budget or blocks do not suffice for all that run, so that their order matters."""
        tokens, blocks = len(self._in_step), self._in_step.blocks_needed()
        last = next(reversed(self._running))
        for request in self._apart:
            wanted = self._known[request] - self._computed[request]
            if 0 < threshold < wanted:
                wanted = threshold
            if request == last:
                wanted = min(wanted, max(0, budget - tokens))
            tokens += wanted
            blocks += self._blocks(self._computed[request] + wanted) - self._blocks(self._computed[request])
        return tokens > budget or blocks > self.pool.free

    def _make_room(self, batch: Batch) -> int:
        """Preempt the last come until the blocks suffice for all others, in whose order they take them; how many they took.

        Only where all decode in step and first come is first served: then those who took a block are never preempted.
        """
        taken, in_step = 0, self._in_step
        while in_step.blocks_needed() - taken > self.pool.free:
            taken += self.pool.free
            self.pool.take(self.pool.free)
            victim = self._victim()
            if victim in in_step.offset:
                self._leave(victim)
            self._preempt(victim, batch)
        return taken

    def _advance(self, batch: Batch, taken: int) -> None:
        """A token for each that decodes in step; they have taken so many of the blocks that it needs."""
        in_step = self._in_step
        needed = in_step.blocks_needed() - taken
        if needed:
            self.pool.take(needed)
        done = in_step.advance()
        batch.decode_sequences = len(in_step)
        batch.decode_context = in_step.context()
        batch.gaps.append((batch.number - 1, len(in_step)))
        for request in done:
            self._leave(request)
        batch.finished += done

    def _leave(self, request: int) -> None:
        self._computed[request] = self._in_step.leave(request)
        self._known[request] = self._computed[request] + 1
        self._last_batch[request] = self._batches - 1

    def _part(self) -> None:
        """Look at each request by itself, in the order of their admission."""
        together = set(self._in_step.offset)
        for request in together:
            self._leave(request)
        self._apart = {request: None for request in self._running if request in together or request in self._apart}

    # requests by themselves

    def _continue(self, batch: Batch, budget: int, threshold: int) -> int:
        """Chunks and tokens for those that run apart; what is left of the budget."""
        for request in list(self._apart):
            if not budget:
                break
            if request not in self._apart:  # preempted just now
                continue
            computed = self._computed[request]
            wanted = self._known[request] - computed
            if 0 < threshold < wanted:
                wanted = threshold
            wanted = min(wanted, budget)
            needed = self._blocks(computed + wanted) - self._blocks(computed)
            while needed > self.pool.free and request in self._apart:
                budget += self._preempt(self._victim(), batch)
            if request not in self._apart:
                break
            self.pool.take(needed)
            self._computed[request] = computed + wanted
            batch.chunks[request] = wanted
            budget -= wanted
            if self._caching:
                self._share(request)
        return budget

    def _victim(self) -> int:
        if self._by_priority:
            return max(self._running, key=lambda request: (self._requests[request].priority, request))
        return next(reversed(self._running))

    def _preempt(self, request: int, batch: Batch) -> int:
        """Take its blocks and put it in front of those that wait; the tokens that this batch had given it."""
        cached = self._computed[request]
        if self._limits.async_scheduling and self._last_batch[request] == self._batches - 1:
            # Nobody knows the token in flight yet, so a block that ends with the one before it is not in the cache.
            cached = max(self._prefilled[request], cached - 1)
        self._free(request, cached)
        del self._running[request]
        self._apart.pop(request, None)
        self._computed[request] = 0
        self._queue(request, first=True)
        self.preemptions += 1
        return batch.chunks.pop(request, 0)

    def _admit(self, batch: Batch, budget: int, threshold: int) -> None:
        limits, pool = self._limits, self.pool
        while budget and self._waiting and len(self._running) < limits.max_num_seqs:
            request = self._waiting[0][1]
            known, found = self._known[request], NOTHING
            if self._caching:
                asked = self._requests[request]
                found = pool.find(request, asked.prefix, asked.prefix_tokens // self._size, (known - 1) // self._size)
            computed = found.blocks * self._size
            chunk = known - computed
            if 0 < threshold < chunk:
                chunk = threshold
            if not limits.enable_chunked_prefill and chunk > budget:
                return
            chunk = min(chunk, budget)
            needed = self._blocks(computed + chunk) - found.blocks
            reserved = self._blocks(known) - found.blocks if limits.scheduler_reserve_full_isl else needed
            headroom = self._watermark if self._running else 0
            if max(needed, reserved) + found.free + headroom > pool.free:
                return
            heappop(self._waiting)
            pool.claim(request, found)
            if found.shared:
                self._shared[request] = list(found.shared)
            pool.take(needed)
            self._running[request] = self._apart[request] = None
            self._computed[request] = computed + chunk
            batch.chunks[request] = chunk
            budget -= chunk
            if self._caching:
                self._share(request)

    def _account(self, batch: Batch) -> None:
        """Add the chunks to the batch's work, and see whose token comes out of them."""
        for request, tokens in batch.chunks.items():
            computed, prompt = self._computed[request], self._requests[request].prompt_tokens
            before = computed - tokens
            if before >= prompt and computed == self._known[request] and tokens == 1:
                batch.decode_sequences += 1
                batch.decode_context += computed
            else:
                self._prefilled[request] = computed
                batch.prefill_sequences += 1
                batch.prefill_tokens += tokens
                batch.prefill_attention += tokens * before + tokens * (tokens + 1) // 2
            if computed < self._known[request]:
                continue
            if computed == prompt:
                batch.first.append(request)
            else:
                batch.gaps.append((self._last_batch[request], 1))
            self._last_batch[request] = batch.number
            self._known[request] += 1
            del self._apart[request]
            if self._known[request] == self._final[request]:
                batch.finished.append(request)
            else:
                self._in_step.join(request, computed, self._final[request] - 1)

    # blocks and the queue

    def _blocks(self, tokens: int) -> int:
        return -(-tokens // self._size)

    def _share(self, request: int) -> None:
        """Full blocks of a shared prefix can be found by others from now on, even in the same batch."""
        asked = self._requests[request]
        if asked.prefix_tokens < self._size:
            return
        held = self._shared.setdefault(request, [])
        for position in range(len(held), min(self._computed[request], asked.prefix_tokens) // self._size):
            held.append(self.pool.share(asked.prefix, position))

    def _free(self, request: int, cached: int) -> None:
        """Give its blocks back; the full ones of its first `cached` tokens can be found again."""
        blocks, shared, own = self._blocks(self._computed[request]), self._shared.pop(request, []), 0
        if self._caching:
            own = max(0, cached // self._size - self._requests[request].prefix_tokens // self._size)
        self.pool.give_back(request, blocks - own - len(shared), own, shared)

    def _queue(self, request: int, *, first: bool) -> None:
        """Behind or in front of all that wait; where priority counts, by that and then by arrival."""
        self._queued += 1
        rank = -self._queued if first else self._queued
        heappush(self._waiting, (self._requests[request].priority if self._by_priority else rank, request))
