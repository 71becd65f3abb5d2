"""A served model as a queue in front of a batch: the embedded engine that needs no accelerator. Pure.

One step of the engine serves `n` running sequences with a token each and spends the rest of its token budget on new
prompts (continuous batching with chunked prefill, Yu et al., "Orca", OSDI 2022; Agrawal et al., "Sarathi-Serve", OSDI
2024). Its time is linear in what it does, its memory is what is left of the devices
after weights, activations and a buffer per sequence; what does not fit waits, or is preempted and computed again. With
limited concurrency the system is closed (Little's law), with a request rate open (Sakasegawa 1977 for the wait).

The default numbers are invented: an 8-billion-parameter model on one 48 GB device. They make every effect show inside
the default search space, and describe no product.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

SHORTEST_QUEUE = 1e-9
BISECTIONS = 40
PREEMPTION_WASTE = 0.7  # prompts computed again, for each share of the running sequences that does not fit
GROUPED_ARRIVALS = 8  # one in this many running sequences ends, and is replaced, in the time of one prefill step


@dataclass(frozen=True)
class Machine:
    """The devices and the model on them. Sizes are per device where tensor parallelism divides them."""

    device_gb: float = 48.0
    weights_gb: float = 16.0
    kv_mb_per_token: float = 0.070
    activation_mb_per_token: float = 0.38  # of the token budget, reserved at the launch
    buffer_mb_per_sequence: float = 18.0  # of max_num_seqs, reserved at the launch
    max_model_len: int = 4096
    step_ms: float = 16.0  # reading the weights
    slot_us: float = 9.0  # per step and sequence of max_num_seqs: padded batches
    sequence_us: float = 45.0  # per step and running sequence
    context_ns: float = 70.0  # per step and token of context
    prompt_us: float = 32.0  # per token of a prompt, in a large chunk
    half_chunk: float = 4000.0  # tokens; a chunk of this size costs twice as much per token as a large one
    exchange_ms: float = 0.9  # per step and doubling of tensor parallelism
    request_timeout_s: float = 120.0


@dataclass(frozen=True)
class Workload:
    """The requests of one measurement."""

    input_tokens: int = 1024
    output_tokens: int = 256
    num_prompts: int = 1000


@dataclass(frozen=True)
class Setting:
    """The service's parameters that the model knows."""

    max_num_seqs: int = 256
    max_num_batched_tokens: int = 8192
    tensor_parallel_size: int = 1
    gpu_memory_utilization: float = 0.9
    enable_chunked_prefill: bool = True
    block_size: int = 16


@dataclass(frozen=True)
class Load:
    """Requests in flight at most, and requests per second; None: not limited."""

    concurrency: int | None = None
    request_rate: float | None = None


@dataclass(frozen=True)
class SteadyState:
    """What the queue settles to. Times in seconds, rates per second."""

    running: float  # sequences in a step
    waiting: float  # requests in the service's queue
    step: float
    decode_step: float  # a step without prompts
    stall: float  # how much longer a step with a full chunk of prompts is
    request_rate: float  # requests/s
    wait: float  # in the service's queue
    prefill: float  # from the queue to the first token
    burst: float  # of the requests that are all sent at the start: mean time until their prompts are done
    preempted: float  # share of the running sequences that did not fit


def kv_blocks(machine: Machine, setting: Setting) -> int:
    """Blocks of the KV cache; 0 or less: the weights and buffers alone do not fit."""
    devices = setting.tensor_parallel_size
    free_mb = (
        1000.0 * machine.device_gb * setting.gpu_memory_utilization
        - 1000.0 * machine.weights_gb / devices
        - machine.activation_mb_per_token * setting.max_num_batched_tokens / math.sqrt(devices)
        - machine.buffer_mb_per_sequence * setting.max_num_seqs / devices
    )
    return math.floor(free_mb * devices / (machine.kv_mb_per_token * setting.block_size))


def refused_launch(machine: Machine, setting: Setting) -> str | None:
    """Why the service would not start, in the words of a log; None: it starts."""
    tokens, length = setting.max_num_batched_tokens, machine.max_model_len
    if tokens < setting.max_num_seqs:
        return f"max_num_batched_tokens ({tokens}) must not be below max_num_seqs ({setting.max_num_seqs})"
    if not setting.enable_chunked_prefill and tokens < length:
        return f"max_num_batched_tokens ({tokens}) is below max_model_len ({length}) without chunked prefill"
    blocks = kv_blocks(machine, setting)
    if blocks <= 0:
        return "out of memory: no room is left for the KV cache"
    if blocks * setting.block_size < length:
        return f"the KV cache holds {blocks * setting.block_size} tokens, fewer than max_model_len ({length})"
    return None


def steady_state(machine: Machine, setting: Setting, workload: Workload, load: Load) -> SteadyState:
    """What the service settles to under this load. The setting must be one that starts."""
    queue = _Queue(machine, setting, workload, load)
    if load.request_rate is not None and queue.rate(queue.most) > load.request_rate:
        return queue.open(load.request_rate)
    return queue.closed()


class _Queue:
    def __init__(self, machine: Machine, setting: Setting, workload: Workload, load: Load) -> None:
        self.machine, self.setting, self.workload = machine, setting, workload
        self.in_flight = float(min(load.concurrency or workload.num_prompts, workload.num_prompts))
        resident = workload.input_tokens + 0.55 * workload.output_tokens + 0.5 * setting.block_size
        fitting = max(1.0, kv_blocks(machine, setting) * setting.block_size / resident)
        wanted = min(float(setting.max_num_seqs), self.in_flight)
        self.preempted = max(0.0, 1.0 - fitting / wanted)
        self.prompt_share = workload.input_tokens / workload.output_tokens * (1.0 + PREEMPTION_WASTE * self.preempted)
        # the token budget feeds the running sequences, and the prompts of those that replace them
        fed = setting.max_num_batched_tokens / (1.0 + self.prompt_share)
        self.most = max(1.0, min(wanted, fitting, fed))
        speed_up = math.pow(setting.tensor_parallel_size, 0.85)
        self.per_token = machine.prompt_us * 1e-6 / speed_up
        self.per_sequence = (
            machine.sequence_us * 1e-6
            + machine.context_ns * 1e-9 * (workload.input_tokens + workload.output_tokens / 2)
        ) / speed_up
        exchange = machine.exchange_ms * 1e-3 * math.log2(setting.tensor_parallel_size)
        self.fixed = machine.step_ms * 1e-3 / speed_up + exchange + machine.slot_us * 1e-6 * setting.max_num_seqs

    def chunk(self, running: float) -> float:
        """Tokens of a step that is busy with prompts: smoothly the smaller of the budget and what arrives together."""
        together = self.workload.input_tokens * max(1.0, running / GROUPED_ARRIVALS)
        left = max(1.0, self.setting.max_num_batched_tokens - running)
        return left * together / (left + together)

    def prompt_token(self, running: float) -> float:
        return self.per_token * (1.0 + self.machine.half_chunk / self.chunk(running))

    def decode_step(self, running: float) -> float:
        return self.fixed + running * self.per_sequence

    def step(self, running: float) -> float:
        return self.decode_step(running) + running * self.prompt_share * self.prompt_token(running)

    def rate(self, running: float) -> float:
        return running / (self.workload.output_tokens * self.step(running))

    def closed(self) -> SteadyState:
        waiting = max(0.0, self.in_flight - self.most)
        return self._state(self.most, waiting, self.rate(self.most), first=self.most)

    def open(self, request_rate: float) -> SteadyState:
        low, high = 0.0, self.most
        for _ in range(BISECTIONS):
            middle = (low + high) / 2
            low, high = (middle, high) if self.rate(middle) < request_rate else (low, middle)
        running = high
        load = min(running / self.most, 0.999)
        service = running / request_rate
        wait = service * load ** (math.sqrt(2.0 * (self.most + 1.0)) - 1.0) / (self.most * (1.0 - load))
        waiting = min(wait * request_rate, max(0.0, self.in_flight - running))
        return self._state(running, waiting, request_rate, first=0.0)

    def _state(self, running: float, waiting: float, rate: float, *, first: float) -> SteadyState:
        token = self.prompt_token(running)
        stall = self.chunk(running) * token
        prompt = self.workload.input_tokens * token
        if not self.setting.enable_chunked_prefill:
            stall *= 1.6  # whole prompts only, and decoding waits for all of them
        return SteadyState(
            running=running,
            waiting=waiting,
            step=self.step(running),
            decode_step=self.decode_step(running),
            stall=stall,
            request_rate=rate,
            wait=waiting / max(rate, SHORTEST_QUEUE),
            # its chunk ends with the other prompts in it; and a newcomer meets a step half done, one with prompts as often
            # as these take of the time
            prefill=max(prompt, stall) + self.decode_step(running) + 0.5 * stall * min(1.0, rate * prompt),
            burst=0.5 * first * prompt,
            preempted=self.preempted,
        )
