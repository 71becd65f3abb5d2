"""Journals for tests, told in the domain's words: a small vLLM run with everything that can become of a particle."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from serviceopt_journal import events as e
from serviceopt_journal.metrics import Metrics
from serviceopt_journal.store import Journal
from serviceoptd.domain.settings import Budget, Field, Objective, RunSettings, Search, Slo

BEGIN = 1_772_366_400.0  # seconds since the epoch: 2026-03-01 12:00:00 UTC
SECRET = "hf_thisIsVerySecret"
SPACE = (
    Field(name="MAX_NUM_SEQS", dtype="int", min=32, max=512, value=256),
    Field(name="CONCURRENCY", dtype="int", min=1, max=1000, value=100, load=True),
)


class SteppingClock:
    """Every commit is `step` seconds after the one before."""

    def __init__(self, *, begin: float = BEGIN, step: float = 10.0) -> None:
        self._now = begin
        self._step = step

    def wall(self) -> float:
        """Seconds since the epoch; moves the clock on."""
        self._now += self._step
        return self._now

    def monotonic(self) -> float:
        """The same moment."""
        return self._now - BEGIN

    def boot_id(self) -> str:
        """Always the same boot."""
        return "0b5b0000-0000-4000-8000-000000000000"


def some_metrics(
    speed: float = 1000.0, *, ttft: float = 0.4, tpot: float = 0.035, completed: int = 500, failed: int = 0
) -> Metrics:
    """A result whose percentiles lie where they usually do."""
    return Metrics(
        generate_speed=speed,
        throughput=speed / 200,
        success_rate=completed / (completed + failed),
        completed=completed,
        failed=failed,
        duration=completed / (speed / 200),
        ttft={"mean": ttft, "p50": ttft * 0.9, "p99": ttft * 2.5},
        tpot={"mean": tpot, "p50": tpot, "p99": tpot * 1.5},
    )


def some_settings(
    *,
    engine: str = "vllm",
    benchmark: str = "vllm_benchmark",
    budget: int = 8,
    fields: tuple[Field, ...] = SPACE,
    ttft: float = 1.0,
    store_dir: str = "result/store",
) -> RunSettings:
    """Settings of a run that keeps the mean TTFT below a limit."""
    return RunSettings(
        engine=engine,
        benchmark=benchmark,
        fields=fields,
        objective=Objective(slos=(Slo(metric="ttft", limit=ttft),)),
        search=Search(n_particles=4, iters=2),
        budget=Budget(evaluations=budget),
        benchmark_options={"command": {"num_prompts": 500}},
        store_dir=store_dir,
    )


@dataclass
class Story:
    """The events of one run, told particle by particle. Each method yields what would be committed one by one."""

    run: int = 1
    name: str = "overnight"
    settings: RunSettings = field(default_factory=some_settings)
    simulated: bool = False
    particles: int = 0
    evaluations: int = 0

    def submitted(self) -> Iterator[e.Event]:
        yield e.RunSubmitted(
            run=self.run,
            name=self.name,
            settings=msgspec.to_builtins(self.settings),
            seed=7,
            run_identity="a" * 64,
            measurement_identity="b" * 64,
            identity_parts={
                "model": "Qwen/Qwen3-8B",
                "engine": "vllm 0.9.1",
                "engine.environment": "ASCEND_RT_VISIBLE_DEVICES=2,3 CUDA_VISIBLE_DEVICES=7",
            },
            configuration_path="/srv/tuning/config.toml",
            working_directory="/srv/tuning",
            environment_names=("CUDA_VISIBLE_DEVICES", "HF_TOKEN"),
        )
        yield e.RunStarted(run=self.run)

    def proposed(self, origin: str = "swarm", **configuration: e.Value) -> Iterator[e.Event]:
        self.particles += 1
        yield e.ParticleProposed(
            run=self.run,
            particle=self.particles,
            slot=(self.particles - 1) % 4,
            iteration=(self.particles - 1) // 4,
            position=(0.5,) * len(configuration),
            velocity=(0.0,) * len(configuration),
            configuration=configuration,
            strategy="swarm",
            origin=origin,
        )

    def launching(self) -> Iterator[e.Event]:
        self.evaluations += 1
        yield e.ServiceLaunching(
            run=self.run,
            particle=self.particles,
            evaluation=self.evaluations,
            attempt=1,
            launch_id=f"launch-{self.run}-{self.evaluations}",
            argv=() if self.simulated else ("vllm", "serve", "Qwen/Qwen3-8B", "--max-num-seqs", "128", "--seed", "a b"),
            working_directory="/srv/tuning",
            environment={} if self.simulated else {"MAX_NUM_SEQS": "128", "CUDA_VISIBLE_DEVICES": "0"},
            log=f"/srv/state/runs/{self.run}/evaluations/{self.evaluations}/service.log",
            simulated=self.simulated,
        )

    def ready(self) -> Iterator[e.Event]:
        yield from self.launching()
        if not self.simulated:
            yield e.ServiceLaunched(
                run=self.run, evaluation=self.evaluations, attempt=1, pid=4242, process_started=BEGIN
            )
        yield e.ServiceReady(run=self.run, evaluation=self.evaluations, attempt=1, waited=42.5, kv_blocks=27000)

    def measuring(self) -> Iterator[e.Event]:
        yield e.MeasurementStarted(
            run=self.run,
            particle=self.particles,
            evaluation=self.evaluations,
            measurement=1,
            attempt=1,
            launch_id=f"client-{self.run}-{self.evaluations}",
            concurrency=100,
            request_rate=None,
            num_prompts=500,
            seed=1,
            log=f"/srv/state/runs/{self.run}/evaluations/{self.evaluations}/client.log",
            simulated=self.simulated,
        )

    def measured(self, metrics: Metrics, origin: str = "swarm", **configuration: e.Value) -> Iterator[e.Event]:
        yield from self.proposed(origin, **configuration)
        yield from self.ready()
        yield from self.measuring()
        yield e.MeasurementFinished(
            run=self.run,
            particle=self.particles,
            evaluation=self.evaluations,
            measurement=1,
            attempt=1,
            metrics=metrics,
            seconds=95.0,
            simulated=self.simulated,
        )
        yield from self.stopped()

    def failed(self, reason: str, origin: str = "initial", **configuration: e.Value) -> Iterator[e.Event]:
        yield from self.proposed(origin, **configuration)
        yield from self.launching()
        yield e.ServiceFailed(
            run=self.run, evaluation=self.evaluations, attempt=1, kind="fatal", reason=reason, exit_status=1
        )
        yield from self.stopped(error=reason)

    def stopped(self, error: str = "") -> Iterator[e.Event]:
        yield e.ServiceStopping(run=self.run, evaluation=self.evaluations, attempt=1, reason="measured")
        yield e.ServiceStopped(run=self.run, evaluation=self.evaluations, attempt=1, exit_status=0, seconds=2.5)
        yield e.EvaluationFinished(
            run=self.run, evaluation=self.evaluations, particles=(self.particles,), error=error, seconds=150.0
        )

    def matched(self, same_as: int, **configuration: e.Value) -> Iterator[e.Event]:
        yield from self.proposed(**configuration)
        yield e.ParticleMatched(run=self.run, particle=self.particles, same_as_run=self.run, same_as_particle=same_as)

    def rejected(self, reason: str, predicted: Metrics | None, **configuration: e.Value) -> Iterator[e.Event]:
        yield from self.proposed(**configuration)
        yield e.ParticleRejected(
            run=self.run, particle=self.particles, rule="memory-bound", reason=reason, predicted=predicted
        )

    def finished(
        self, outcome: str = "completed", *, recommended: int | None = None, feasible: bool = False
    ) -> Iterator[e.Event]:
        yield e.RunFinished(
            run=self.run,
            outcome=outcome,  # type: ignore[arg-type]
            reason="budget used (8 configurations)" if outcome == "completed" else outcome,
            recommended=recommended,
            feasible=feasible,
            evaluations=self.evaluations,
            seconds=3600.0,
        )


def a_finished_story(story: Story | None = None) -> Iterator[e.Event]:
    """A run with a measured current setting, a failure, a broken SLO, a winner, a repetition and a rejection."""
    story = story or Story()
    yield from story.submitted()
    yield from story.measured(some_metrics(900), "current-setting", MAX_NUM_SEQS=256, CONCURRENCY=100)
    yield from story.failed("CUDA out of memory: tried to allocate 2.00 GiB", MAX_NUM_SEQS=512, CONCURRENCY=100)
    yield from story.measured(some_metrics(1500, ttft=1.6), "initial", MAX_NUM_SEQS=400, CONCURRENCY=800)
    yield from story.measured(some_metrics(1234.5, ttft=0.8), MAX_NUM_SEQS=128, CONCURRENCY=200)
    yield from story.matched(4, MAX_NUM_SEQS=128, CONCURRENCY=200)
    yield from story.rejected("needs 84 GiB of 80 GiB", some_metrics(700), MAX_NUM_SEQS=510, CONCURRENCY=900)
    yield from story.finished(recommended=4, feasible=True)


def an_unfinished_story(story: Story | None = None) -> Iterator[e.Event]:
    """A run that is measuring its third particle."""
    story = story or Story()
    yield from story.submitted()
    yield from story.measured(some_metrics(900), "current-setting", MAX_NUM_SEQS=256, CONCURRENCY=100)
    yield from story.failed("CUDA out of memory: tried to allocate 2.00 GiB", MAX_NUM_SEQS=512, CONCURRENCY=100)
    yield from story.proposed(MAX_NUM_SEQS=128, CONCURRENCY=200)
    yield from story.ready()
    yield from story.measuring()


def an_infeasible_story(story: Story | None = None) -> Iterator[e.Event]:
    """A run in which nothing meets the SLO."""
    story = story or Story()
    yield from story.submitted()
    yield from story.measured(some_metrics(900, ttft=1.8), "current-setting", MAX_NUM_SEQS=256, CONCURRENCY=100)
    yield from story.measured(some_metrics(800, ttft=1.2), MAX_NUM_SEQS=64, CONCURRENCY=100)
    yield from story.finished(recommended=2, feasible=False)


def a_failed_story(story: Story | None = None) -> Iterator[e.Event]:
    """A run in which nothing could be measured."""
    story = story or Story()
    yield from story.submitted()
    yield from story.failed(
        "the service ended with exit status 1", "current-setting", MAX_NUM_SEQS=256, CONCURRENCY=100
    )
    yield from story.finished("failed")


def the_rest(story: Story) -> Iterator[e.Event]:
    """What an unfinished story lacks: its third particle wins."""
    yield e.MeasurementFinished(
        run=story.run, particle=3, evaluation=3, measurement=1, attempt=1, metrics=some_metrics(1200), seconds=90.0
    )
    yield from story.stopped()
    yield from story.finished(recommended=3, feasible=True)


def a_journal(directory: Path, *stories: Iterator[e.Event], step: float = 10.0) -> Path:
    """Writes the stories (one finished run where none is given), one commit for each event; returns `directory`."""
    with Journal.open(directory, clock=SteppingClock(step=step)) as journal:
        journal.append(e.DaemonStarted(version="0.1.0", pid=100, host="here", python="3.11.2"))
        for story in stories or (a_finished_story(),):
            for event in story:
                journal.append(event)
        journal.append(e.DaemonStopped(reason="asked to stop"))
    return directory


def go_on(directory: Path, *stories: Iterator[e.Event]) -> None:
    """Appends to a journal that is there already, an hour later."""
    with Journal.open(directory, clock=SteppingClock(begin=BEGIN + 3600.0)) as journal:
        for story in stories:
            for event in story:
                journal.append(event)
