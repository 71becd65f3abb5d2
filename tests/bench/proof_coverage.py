"""Do the statistics of a recommendation hold? Simulated runs with known true values, through the code of the daemon.

Each run measures configurations once with noise, as a search does; then finalists are confirmed one by one as
`domain/racing.py` asks, and what is recommended is compared with the truth. The hard case on purpose: throughput rises
with the load and so do the latencies, so the fastest configurations lie on both sides of the limit.

The second table limits the p99 of TTFT instead of its mean. Each measurement then is so many log-normal requests of which
each depends on the one before it (`Requests`), with the noise of the measurement on top, and the confirmations tell of
them as a client with single requests does. The lines "repeated percentiles" are what a client without them allows to say.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import random
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import NormalDist, fmean

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray
from scipy.signal import lfilter

from serviceopt_journal.metrics import Metrics
from serviceoptd.domain.numbered import Numbered
from serviceoptd.domain.proving.racing import next_confirmation, race_of, recommended
from serviceoptd.domain.settings import Budget, Field, Objective, Proving, RunSettings, Search, Slo
from serviceoptd.domain.space.space import Space
from serviceoptd.domain.state import Particle, RunState
from serviceoptd.domain.statistics.order_statistics import tails

CONFIGURATIONS = 30
TTFT_LIMIT, TPOT_LIMIT = 1.0, 0.05  # seconds
MEAN, P99 = (Slo(metric="ttft", statistic=statistic, limit=TTFT_LIMIT) for statistic in ("mean", "p99"))
LEVELS = {
    "small": (0.01, 0.03, 0.01),
    "median of real engines": (0.025, 0.06, 0.026),
    "between": (0.06, 0.11, 0.07),
    "p90 of real engines": (0.11, 0.17, 0.12),
}
"""Name -> standard deviations of the logarithm of throughput, TTFT and TPOT, from one measurement to the next."""

SPREAD = 0.6
"""Standard deviation of the logarithm of one request's TTFT."""


@dataclass(frozen=True)
class Requests:
    """How the requests of a measurement are, where a percentile is limited."""

    count: int = 1000
    correlation: float = 0.0  # of the logarithms of two that follow each other
    told: bool = True  # whether the client tells of single requests


PERCENTILES = {
    "1,000 independent requests": Requests(),
    "1,000, correlation 0.9": Requests(correlation=0.9),
    "1,000, correlation 0.99": Requests(correlation=0.99),
    "300 independent requests": Requests(count=300),
    "300, correlation 0.9": Requests(count=300, correlation=0.9),
}

FIELDS = (Field(name="CONFIGURATION", dtype="int", min=1, max=CONFIGURATIONS),)


@dataclass(frozen=True)
class Truth:
    """A configuration without noise."""

    speed: float
    ttft: float
    tpot: float

    @property
    def feasible(self) -> bool:
        return self.ttft <= TTFT_LIMIT and self.tpot <= TPOT_LIMIT


@dataclass(frozen=True)
class Outcome:
    """One run, compared with the truth."""

    covered: bool | None  # the interval holds the true throughput; None: there is no interval
    gain_covered: bool | None
    declared: bool  # feasible
    violates: bool  # in truth
    confirmations: int
    share: float  # of the best true throughput that is feasible; 0 where the recommended one violates an SLO
    told_wrongly: bool  # told apart, although another that was declared feasible is truly faster


def simulated_run(
    seed: int, noise: tuple[float, float, float], proof: Proving, requests: Requests | None = None
) -> Outcome:
    """One run: search, race, recommendation. With `requests` the p99 of TTFT is limited, else the mean."""
    chance = random.Random(seed)
    truths = {number: _truth(chance) for number in range(1, CONFIGURATIONS + 1)}
    run = _searched(truths, noise, chance, proof, requests)
    while (asked := next_confirmation(run)) is not None:
        particle = run.particles[asked.particle]
        metrics = _measured(truths[asked.particle], noise, chance, requests)
        particle = replace(
            particle, confirmations_requested=asked.round, confirmations=(*particle.confirmations, metrics)
        )
        run = replace(
            run,
            particles=run.particles | {particle.number: particle},
            confirmations_requested=run.confirmations_requested + 1,
        )
    chosen, declared, found = recommended(run)
    assert chosen is not None
    assert found is not None
    truth = truths[chosen.number]
    best = max((t.speed for t in truths.values() if t.feasible), default=math.inf)
    gain = truth.speed / truths[1].speed - 1
    race = race_of(run)
    assert race is not None
    rivals = [truths[finalist.particle] for finalist in race.finalists if race.safe(finalist)]
    return Outcome(
        covered=None if found.interval is None else found.interval[0] <= truth.speed <= found.interval[1],
        gain_covered=None if found.gain_interval is None else found.gain_interval[0] <= gain <= found.gain_interval[1],
        declared=declared,
        violates=not truth.feasible,
        confirmations=run.confirmations_requested,
        share=truth.speed / best if truth.feasible else 0.0,
        told_wrongly=found.told_apart and any(rival.speed > truth.speed for rival in rivals),
    )


def _truth(chance: random.Random) -> Truth:
    load = chance.random()
    return Truth(
        speed=1000 * math.exp(load + chance.gauss(0, 0.1)),
        ttft=TTFT_LIMIT * math.exp(1.5 * (load - 0.75) + chance.gauss(0, 0.2)),
        tpot=TPOT_LIMIT * math.exp(load - 0.85 + chance.gauss(0, 0.1)),
    )


def _searched(
    truths: dict[int, Truth],
    noise: tuple[float, float, float],
    chance: random.Random,
    proof: Proving,
    requests: Requests | None,
) -> RunState:
    settings = RunSettings(
        engine="simulated",
        benchmark="simulated",
        fields=FIELDS,
        objective=Objective(slos=(P99 if requests else MEAN, Slo(metric="tpot", limit=TPOT_LIMIT))),
        search=Search(),
        budget=Budget(evaluations=CONFIGURATIONS),
        proof=proof,
    )
    particles = {
        number: Particle(
            number=number, slot=0, iteration=0, position=(), velocity=(), configuration={"CONFIGURATION": number},
            strategy="swarm", origin="current-setting" if number == 1 else "swarm",
            measurements=(_measured(truth, noise, chance, requests),),
        )
        for number, truth in truths.items()
    }  # fmt: skip
    return RunState(
        number=1, name="", settings=settings, space=Space.of(FIELDS), seed=0, run_identity="", measurement_identity="",
        particles=Numbered(particles),
    )  # fmt: skip


def _measured(
    truth: Truth, noise: tuple[float, float, float], chance: random.Random, requests: Requests | None
) -> Metrics:
    values = (truth.speed, truth.ttft, truth.tpot)
    speed, ttft, tpot = (v * math.exp(chance.gauss(0, s)) for v, s in zip(values, noise, strict=True))
    metrics = Metrics(
        generate_speed=speed, throughput=speed / 200, success_rate=1.0, completed=500, failed=0, duration=100.0,
        ttft={"mean": ttft}, tpot={"mean": tpot},
    )  # fmt: skip
    if requests is None:
        return metrics
    latencies = _latencies(ttft, requests, chance)
    found = tails({"ttft": latencies.tolist()}, [P99]) if requests.told else {}
    return replace(metrics, ttft={"p99": float(np.percentile(latencies, 99))}, tails=found)


def _latencies(p99: float, requests: Requests, chance: random.Random) -> NDArray[np.float64]:
    """In the order of sending: a first-order autoregressive process, whose 99th percentile is the given one."""
    fresh = np.random.default_rng(chance.getrandbits(64)).standard_normal(requests.count)
    kept = requests.correlation
    fresh[1:] *= math.sqrt(1 - kept**2)
    steps = lfilter([1.0], [1.0, -kept], fresh)
    latencies: NDArray[np.float64] = p99 * np.exp(SPREAD * (steps - NormalDist().inv_cdf(0.99)))
    return latencies


def percent(flags: list[bool]) -> float:
    """How many are true, per cent."""
    return 100 * fmean(flags) if flags else math.nan


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--measurements", type=int, default=Proving().measurements)
    arguments = parser.parse_args()
    proof = Proving(measurements=arguments.measurements)
    cases: dict[str, tuple[tuple[float, float, float], Requests | None]] = {
        f"{name}: {', '.join(f'{100 * s:g} %' for s in noise)}": (noise, None) for name, noise in LEVELS.items()
    }
    table(cases, arguments.runs, proof)
    print()
    median, busy = LEVELS["median of real engines"], LEVELS["p90 of real engines"]
    cases = {}
    for name, requests in PERCENTILES.items():
        cases[name] = (median, requests)
        cases[f"{name}; repeated percentiles"] = (median, dataclasses.replace(requests, told=False))
    cases["1,000 independent requests, noise of p90"] = (busy, Requests())
    table(cases, arguments.runs, proof)


def table(cases: Mapping[str, tuple[tuple[float, float, float], Requests | None]], runs: int, proof: Proving) -> None:
    """Prints a line for each case."""
    print("| noise of throughput, TTFT, TPOT | throughput covered | gain covered | declared feasible "
          "| of these truly violating | told apart wrongly | share of the best | confirmations |")  # fmt: skip
    print("|---|---|---|---|---|---|---|---|")
    for name, (noise, requests) in cases.items():
        outcomes = [simulated_run(seed, noise, proof, requests) for seed in range(runs)]
        covered = percent([o.covered for o in outcomes if o.covered is not None])
        gains = percent([o.gain_covered for o in outcomes if o.gain_covered is not None])
        wrong = percent([o.violates for o in outcomes if o.declared])
        print(
            f"| {name} | {covered:.1f} % | {gains:.1f} % "
            f"| {percent([o.declared for o in outcomes]):.1f} % | {wrong:.1f} % "
            f"| {percent([o.told_wrongly for o in outcomes]):.1f} % | {fmean(o.share for o in outcomes):.3f} "
            f"| {fmean(o.confirmations for o in outcomes):.1f} |"
        )


if __name__ == "__main__":
    main()
