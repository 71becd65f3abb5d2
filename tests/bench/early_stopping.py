"""How often stopping a measurement early is wrong, and how much time it saves.

Run: python tests/bench/early_stopping.py [--seeds 100] [--error-rate 0.05] [--precision 0.03]

Simulated measurements (tests/bench/simulated_measurements.py) are told look by look to the very functions that the
daemon asks. A limit, or a best objective, is set around what the measurement ends with. Where it would have kept the
limit or beaten the best, an early end is wrong; where it would not, an early end saves the rest of the time. One that
converged is wrong if a number that the objective needs is off by more than the precision.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from itertools import accumulate
from random import Random

from bench.simulated_measurements import SCENARIOS, Measurement, Scenario, measured
from serviceopt_journal.metrics import Metrics
from serviceoptd.domain.objective import Judgement
from serviceoptd.domain.settings import Objective, Slo
from serviceoptd.domain.stopping.client_ratios import Agreement
from serviceoptd.domain.stopping.early_stopping import COMPLETE_FIRST, Stakes, Verdict, verdict
from serviceoptd.domain.stopping.service_counters import Counters

INTERVAL = 2.0  # seconds between looks
HARD_TO_SAY = (1.001, 1.02, 1.1)
"""Limits, in terms of the final value, that the measurement keeps; its objective beats the best by as much."""
MISSED = (0.98, 0.9, 0.7, 0.5)
"""Limits that it misses; the best's objective is as much better."""
GENEROUS = 100.0  # seconds


@dataclass
class Tally:
    """Of one kind of decision in one scenario."""

    right_to_go_on: int = 0
    wrong: int = 0
    should_end: int = 0
    ended: int = 0
    saved: float = 0.0  # measurements' worth of time

    def add(self, other: Tally) -> None:
        self.right_to_go_on += other.right_to_go_on
        self.wrong += other.wrong
        self.should_end += other.should_end
        self.ended += other.ended
        self.saved += other.saved


@dataclass(frozen=True)
class Setting:
    """How the daemon is configured."""

    error_rate: float = 0.05
    precision: float = 0.03


@dataclass
class Observed:
    """A measurement with its looks, which are asked many questions."""

    measurement: Measurement
    final: Metrics = field(init=False)
    looks: list[Counters] = field(init=False)

    def __post_init__(self) -> None:
        self.final = self.measurement.final()
        self.looks = self.measurement.looks(INTERVAL)

    def failing(self) -> Observed:
        """The same with a twentieth of the requests failed, in bursts of ten on average."""
        chance, failed, begun = Random(self.final.duration), False, []
        for _ in range(self.measurement.scenario.requests):
            failed = chance.random() < (0.9 if failed else 0.1 / 19)
            begun.append(failed)
        counts = [0, *accumulate(begun)]
        found = copy(self)
        found.looks = [replace(look, failed=counts[round(look.finished)]) for look in self.looks]
        return found

    def ended(self, stakes: Stakes) -> tuple[Verdict, float] | None:
        """The first verdict, and the share of the time that it saves."""
        for seen in range(2, len(self.looks)):
            if found := verdict(self.looks[:seen], stakes):
                return found, 1.0 - self.looks[seen - 1].time / self.final.duration
        return None

    def stakes(self, setting: Setting, *slos: Slo, best: float | None = None) -> Stakes:
        """Where the client sees what the service sees."""
        judgement = None if best is None else Judgement(feasible=True, violation=0.0, objective=best, fitness=-best)
        return Stakes(
            objective=Objective(slos=slos),
            requests=self.measurement.scenario.requests,
            concurrency=self.measurement.scenario.concurrency,
            best=judgement,
            devices=1,
            agreement=Agreement(((self.final, self.final),) * COMPLETE_FIRST),
            error_rate=setting.error_rate,
            precision=setting.precision,
        )


def questions(seen: Observed, setting: Setting) -> Iterator[tuple[str, Tally]]:
    """Every decision about one measurement."""
    ttft, tpot = Slo(metric="ttft", limit=GENEROUS), Slo(metric="tpot", limit=GENEROUS)
    for factor in (*HARD_TO_SAY, *MISSED):
        ttft_limit, slow_limit = seen.final.ttft["mean"] * factor, seen.final.ttft["p90"] * factor
        for kind, slos in (
            ("hopeless, mean TTFT", (replaced(ttft, ttft_limit), tpot)),
            ("hopeless, p90 TTFT", (replaced(ttft, slow_limit, "p90"), tpot)),
            ("hopeless, mean TPOT", (ttft, replaced(tpot, seen.final.tpot["mean"] * factor))),
        ):
            yield kind, asked(seen, seen.stakes(setting, *slos, best=0.0), misses=factor < 1.0)
        best = seen.final.generate_speed / factor
        yield "beaten", asked(seen, seen.stakes(setting, ttft, tpot, best=best), misses=factor < 1.0)
        failing = seen.failing()
        if lost := failing.looks[-1].failed:
            required = 1.0 - factor * lost / seen.measurement.scenario.requests
            stakes = seen.stakes(setting, ttft, tpot, best=0.0)
            stakes = replace(stakes, objective=Objective(slos=stakes.objective.slos, success_rate=required))
            yield "hopeless, success rate", asked(failing, stakes, misses=factor < 1.0)
    yield "converged", converged(seen, replace(seen.stakes(setting, ttft, tpot), best=None))


def replaced(slo: Slo, limit: float, statistic: str = "mean") -> Slo:
    return Slo(metric=slo.metric, statistic=statistic, limit=limit)


def asked(seen: Observed, stakes: Stakes, *, misses: bool) -> Tally:
    """Stopping because something will be missed. Without precision nothing converges."""
    found = seen.ended(replace(stakes, precision=0.0))
    stopped, saved = (0, 0.0) if found is None else (1, found[1])
    return Tally(should_end=1, ended=stopped, saved=saved) if misses else Tally(right_to_go_on=1, wrong=stopped)


def converged(seen: Observed, stakes: Stakes) -> Tally:
    """Stopping because the result is known."""
    found = seen.ended(stakes)
    if found is None:
        return Tally(right_to_go_on=1, should_end=1)
    told, final = found[0].metrics, seen.final
    pairs = (
        (told.generate_speed, final.generate_speed),
        (told.ttft["mean"], final.ttft["mean"]),
        (told.tpot["mean"], final.tpot["mean"]),
    )
    off = any(abs(value / true - 1.0) > stakes.precision for value, true in pairs)
    return Tally(right_to_go_on=1, wrong=int(off), should_end=1, ended=1, saved=found[1])


def tallies(scenarios: Sequence[Scenario], seeds: int, setting: Setting) -> dict[tuple[str, str], Tally]:
    """By kind of decision and scenario."""
    found: dict[tuple[str, str], Tally] = {}
    for scenario in scenarios:
        for seed in range(seeds):
            for kind, tally in questions(Observed(measured(scenario, seed)), setting):
                found.setdefault((kind, scenario.name), Tally()).add(tally)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument("--error-rate", type=float, default=Setting.error_rate)
    parser.add_argument("--precision", type=float, default=Setting.precision)
    given = parser.parse_args()
    found = tallies(SCENARIOS, given.seeds, Setting(given.error_rate, given.precision))
    print(
        "| decision | scenario | wrong | stopped, of those to be stopped | time saved, of theirs |\n|---|---|---|---|---|"
    )
    every: dict[str, Tally] = {}
    for (kind, _), tally in found.items():
        every.setdefault(kind, Tally()).add(tally)
    for (kind, scenario), tally in [*sorted(found.items()), *(((kind, "all"), tally) for kind, tally in every.items())]:
        shares = tally.wrong / tally.right_to_go_on, tally.ended / tally.should_end, tally.saved / tally.should_end
        print(f"| {kind} | {scenario} | {shares[0]:.1%} | {shares[1]:.0%} | {shares[2]:.0%} |")


if __name__ == "__main__":
    main()
