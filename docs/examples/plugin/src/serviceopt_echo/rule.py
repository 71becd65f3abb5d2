"""The rule `echo_limits`: what needs no measurement, because arithmetic tells it."""

from __future__ import annotations

from typing import ClassVar

from serviceopt_journal.events import Configuration
from serviceopt_journal.metrics import Metrics
from serviceoptd.rules.interface import Facts, Rejection

WORDS = 4  # of one answer


class EchoLimits:
    """Gives up what does not fit into the memory, and what cannot be faster than the best so far."""

    name: ClassVar[str] = "echo_limits"

    def judge(self, configuration: Configuration, facts: Facts) -> Rejection | None:
        """None: only a measurement can tell. `margin` in [search.options.echo_limits] leaves room for noise."""
        section = facts.settings.engine_options
        workers, batch = int(configuration["WORKERS"]), int(configuration["ECHO_BATCH"])
        needed, there = workers * section["worker_mb"], section["memory_mb"]
        if needed > there:
            return Rejection(f"{workers} workers need {needed:g} MB, there are {there:g} MB")

        # No request is answered in less than `answer_ms` (longer in a batch), and so many are answered at a time.
        in_flight = min(workers * batch, int(configuration["CONCURRENCY"]))
        seconds = section["answer_ms"] / 1000.0 * (1.0 + 0.25 * (batch - 1))
        at_most = in_flight * WORDS / seconds
        margin = float(str(facts.options(self.name).get("margin", 1.0)))
        best = max((r.metrics.generate_speed for r in facts.results if r.metrics and r.feasible), default=0.0)
        if at_most * margin >= best:
            return None
        predicted = Metrics(
            generate_speed=at_most,
            throughput=at_most / WORDS,
            success_rate=1.0,
            completed=0,
            failed=0,
            duration=0.0,
            ttft={"mean": seconds / 2},
            tpot={"mean": seconds / 2 / (WORDS - 1)},
        )
        return Rejection(f"{at_most:.0f} tokens/s at most, and {best:.0f} were measured already", predicted)
