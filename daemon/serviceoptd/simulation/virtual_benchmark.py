"""One benchmark of one configuration, from its load to the client's figures, on the virtual clock. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from serviceopt_journal.metrics import Metrics
from serviceoptd.domain.settings import Slo
from serviceoptd.simulation.schedulers.limits import Composer, Limits, scheduler_of
from serviceoptd.simulation.virtual_clock.arrivals import RampUp, arrivals
from serviceoptd.simulation.virtual_clock.client_metrics import client_metrics
from serviceoptd.simulation.virtual_clock.interface import Composed, StepComposition, StepTimes, composition_of
from serviceoptd.simulation.virtual_clock.lengths import (
    RandomLengths,
    SampledLengths,
    random_requests,
    recorded_requests,
    sampled_requests,
)
from serviceoptd.simulation.virtual_clock.overheads import Overheads
from serviceoptd.simulation.virtual_clock.timeline import simulate


@dataclass(frozen=True, kw_only=True)
class Traffic:
    """What the client sends."""

    num_prompts: int
    lengths: RandomLengths | SampledLengths | Sequence[tuple[int, int]]  # drawn, of a data set, or (input, output) each
    concurrency: int | None  # None: not limited
    request_rate: float | None  # requests/s; None: all at the start
    burstiness: float = 1.0
    ramp_up: RampUp | None = None  # in place of the rate


@dataclass
class Recorder:
    """Step times that remember what they were asked."""

    step_times: StepTimes
    steps: list[StepComposition] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    def step_seconds(self, step: Composed) -> float:
        seconds = self.step_times.step_seconds(step)
        self.steps.append(composition_of(step))
        self.seconds.append(seconds)
        return seconds


def run_benchmark(
    traffic: Traffic,
    limits: Limits,
    step_times: StepTimes,
    *,
    overheads: Overheads,
    slos: Sequence[Slo] = (),
    seed: int = 0,
    composer: Composer = scheduler_of,
) -> Metrics:
    """Runs the benchmark on the virtual clock: what the client would report.

    `seed` draws arrivals and lengths; equal arguments give equal results.
    """
    times = arrivals(
        traffic.num_prompts,
        request_rate=traffic.request_rate,
        burstiness=traffic.burstiness,
        seed=seed,
        ramp_up=traffic.ramp_up,
    )
    if isinstance(traffic.lengths, RandomLengths):
        requests = random_requests(times, traffic.lengths, seed)
    elif isinstance(traffic.lengths, SampledLengths):
        requests = sampled_requests(times, traffic.lengths, seed)
    else:
        requests = recorded_requests(times, traffic.lengths)
    if most := getattr(limits, "max_iter_times", 0):
        requests = [replace(each, output_tokens=min(each.output_tokens, most)) for each in requests]
    timeline = simulate(
        requests, composer(limits, requests), step_times, overheads=overheads, concurrency=traffic.concurrency
    )
    return client_metrics(requests, timeline, slos)
