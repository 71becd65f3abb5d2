"""Runs told by their events, for tests of what is folded from them and decided on them."""

from __future__ import annotations

from typing import Any

import msgspec

from serviceopt_journal import events as e
from serviceopt_journal.codec import Recorded
from serviceopt_journal.metrics import Metrics
from serviceoptd.domain.evolve import fold
from serviceoptd.domain.settings import Budget, Field, Measuring, Objective, RunSettings, Search, Slo
from serviceoptd.domain.state import RunState, State


def some_metrics(speed: float = 1000.0, *, ttft: float = 0.5, tpot: float = 0.02, success: float = 1.0) -> Metrics:
    """A plausible result; times in seconds, speed in tokens/s."""
    return Metrics(
        generate_speed=speed, throughput=speed / 100, success_rate=success, completed=round(100 * success),
        failed=round(100 * (1 - success)), duration=10.0, ttft={"mean": ttft, "p99": 2 * ttft},
        tpot={"mean": tpot, "p99": 2 * tpot},
    )  # fmt: skip


def some_settings(**changes: Any) -> RunSettings:
    """Two service parameters and a load, three particles and two iterations."""
    settings = RunSettings(
        engine="simulated",
        benchmark="simulated",
        fields=(
            Field(name="MAX_NUM_SEQS", dtype="int", min=32, max=512, value=64),
            Field(name="MAX_NUM_BATCHED_TOKENS", dtype="int", min=8192, max=65536, value=8192),
            Field(name="CONCURRENCY", dtype="int", min=1, max=1000, value=100, load=True),
        ),
        objective=Objective(slos=(Slo(metric="ttft", limit=1.0), Slo(metric="tpot", limit=0.05))),
        search=Search(n_particles=3, iters=2),
        budget=Budget(evaluations=6),
        measuring=Measuring(repeats=2),
    )
    return msgspec.structs.replace(settings, **changes)


class Story:
    """Adds events to a run, one second apart, and keeps the state that follows from them."""

    def __init__(self, settings: RunSettings | None = None, *, seed: int = 7) -> None:
        self.state = State()
        self.events: list[e.Event] = []
        self.tell(
            e.DaemonStarted(version="0", pid=1, host="h", python="3"),
            e.RunSubmitted(
                run=1, name="story", settings=msgspec.to_builtins(settings or some_settings()), seed=seed,
                run_identity="r", measurement_identity="m", identity_parts={},
            ),
            e.RunStarted(run=1),
        )  # fmt: skip

    @property
    def run(self) -> RunState:
        return self.state.runs[1]

    def tell(self, *events: Any) -> RunState:
        """The run after these events too."""
        for event in events:
            self.events.append(event)
            seq = len(self.events)
            self.state = fold(self.state, Recorded(seq, seq, 1000.0 + seq, float(seq), "boot", event))
        return self.state.runs[1]
