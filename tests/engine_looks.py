"""What an engine's counters would show of a simulated benchmark, at chosen moments."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from serviceoptd.domain.stopping.service_counters import Counters, Distribution, EngineCounters
from serviceoptd.simulation.schedulers.vllm import VllmScheduler
from serviceoptd.simulation.schedulers.vllm_limits import VllmLimits
from serviceoptd.simulation.virtual_clock.interface import Batch, Request, StepTimes
from serviceoptd.simulation.virtual_clock.timeline import simulate

EDGES = (1.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 2048.0, float("inf"))


class Watched:
    """vLLM's scheduler, and the batches that it has composed."""

    def __init__(self, requests: Sequence[Request], limits: VllmLimits) -> None:
        self.scheduler = VllmScheduler(requests, limits)
        self.batches: list[Batch] = []

    def __getattr__(self, name: str) -> object:
        return getattr(self.scheduler, name)

    def complete(self, batch: Batch) -> None:
        self.batches.append(batch)
        self.scheduler.complete(batch)


def watched_benchmark(
    requests: Sequence[Request], limits: VllmLimits, step_times: StepTimes, *, concurrency: int
) -> tuple[list[Batch], list[Counters]]:
    """The batches of a closed loop, and the counters before the first and after each of them."""
    watched = Watched(requests, limits)
    simulate(requests, watched, step_times, concurrency=concurrency)  # type: ignore[arg-type]
    none = Distribution(0.0, 0.0, tuple((edge, 0.0) for edge in EDGES))
    engine = EngineCounters(none, 0.0, 0.0, 0.0)
    look = Counters(0.0, {"ttft": none}, 0.0, 0.0, 0.0, preemptions=0.0, engine=engine)
    looks = [look]
    for batch in watched.batches:
        look = _after(look, batch, requests, step_times, concurrency)
        looks.append(look)
    return watched.batches, looks


def _after(
    look: Counters, batch: Batch, requests: Sequence[Request], step_times: StepTimes, concurrency: int
) -> Counters:
    assert look.engine is not None
    engine, ttft = look.engine, look.latencies["ttft"]
    prompts = sum(requests[number].prompt_tokens for number in batch.first)
    generated = len(batch.first) + sum(count for _, count in batch.gaps)
    ended = [requests[number] for number in batch.finished]
    finished = look.finished + len(ended)
    in_flight = min(concurrency, len(requests) - finished)
    value = prompts + generated
    buckets = tuple((edge, count + (value <= edge)) for edge, count in engine.steps.buckets)
    steps = Distribution(engine.steps.count + 1, engine.steps.total + value, buckets) if generated else engine.steps
    return replace(
        look,
        time=look.time + step_times.step_seconds(batch),
        latencies={"ttft": Distribution(ttft.count + len(batch.first), 0.0)},
        tokens=look.tokens + generated,
        finished=finished,
        in_flight=in_flight,
        running=in_flight,
        engine=EngineCounters(
            steps=steps,
            prompt_tokens=engine.prompt_tokens + prompts,
            cached_tokens=0.0,
            ended_tokens=engine.ended_tokens + sum(each.prompt_tokens + each.output_tokens for each in ended),
        ),
    )
