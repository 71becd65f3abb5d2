"""The policy, walked through random outcomes, crashes, pauses and a cancellation."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from run_stories import Story, some_metrics, some_settings
from serviceopt_journal import events as e
from serviceoptd.domain import policy
from serviceoptd.domain.settings import Budget, Measuring, Proving
from serviceoptd.evaluating.proposing import propose
from serviceoptd.search.interface import Problem
from serviceoptd.search.particle_swarm import ParticleSwarm

MOST_STEPS = 2000


class World:
    """Does what the policy asks for, with outcomes drawn by hypothesis."""

    def __init__(self, story: Story, data: st.DataObject) -> None:
        self.story, self.data = story, data
        self.launches = self.interruptions = 0
        self.exhausted = False

    def draw(self, *choices: str) -> str:
        return self.data.draw(st.sampled_from(choices))

    def do(self, action: policy.Action) -> None:
        story, run = self.story, self.story.run
        match action:
            case policy.Propose(number):
                found = propose(story.state, run, number, ParticleSwarm)
                self.exhausted = found is None
                story.tell(*(found or ()))
            case policy.Launch(evaluation, particle, attempt):
                self.launches += 1
                story.tell(e.ServiceLaunching(run=1, particle=particle, evaluation=evaluation, attempt=attempt,
                                              launch_id=f"{evaluation}-{attempt}"))  # fmt: skip
                match self.draw("ready", "ready", "ready", "crash", "fatal", "retryable"):
                    case "ready":
                        story.tell(e.ServiceReady(run=1, evaluation=evaluation, attempt=attempt, waited=1.0))
                    case "crash":
                        self.crash()
                    case kind:
                        failures = run.evaluations[evaluation].failures if evaluation in run.evaluations else 0
                        retry = kind == "retryable" and failures + 1 < run.settings.measuring.attempts
                        story.tell(e.ServiceFailed(run=1, evaluation=evaluation, attempt=attempt, kind=kind,
                                                   reason="it failed", will_retry=retry))  # fmt: skip
            case policy.Measure(evaluation, particle, measurement, attempt, _):
                numbers = {"run": 1, "particle": particle, "evaluation": evaluation, "measurement": measurement,
                           "attempt": attempt}  # fmt: skip
                story.tell(e.MeasurementStarted(**numbers, launch_id="c", concurrency=1, request_rate=None,
                                                num_prompts=1, seed=1))  # fmt: skip
                match self.draw("finished", "finished", "finished", "crash", "unusable", "retryable"):
                    case "finished":
                        story.tell(e.MeasurementFinished(**numbers, metrics=some_metrics(), seconds=1.0))
                    case "crash":
                        self.crash()
                    case kind:
                        failures = run.evaluations[evaluation].failures
                        retry = kind == "retryable" and failures + 1 < run.settings.measuring.attempts
                        story.tell(e.MeasurementFailed(**numbers, kind=kind, reason="no result", will_retry=retry))
            case policy.Stop(evaluation, _):
                attempt = run.evaluations[evaluation].attempt
                story.tell(e.ServiceStopped(run=1, evaluation=evaluation, attempt=attempt))
            case policy.FinishEvaluation(evaluation):
                particles = run.evaluations[evaluation].particles
                story.tell(e.EvaluationFinished(run=1, evaluation=evaluation, particles=particles))
            case policy.Confirmation(particle, number, reason):
                story.tell(e.ConfirmationRequested(run=1, particle=particle, round=number, reason=reason))
            case policy.FinishRun(outcome, reason):
                story.tell(e.RunFinished(run=1, outcome=outcome, reason=reason))  # type: ignore[arg-type]
            case policy.Wait():
                story.tell(e.RunResumed(run=1))

    def crash(self) -> None:
        """What recovery commits for a launch that nobody saw end."""
        evaluation = self.story.run.evaluation
        assert evaluation is not None
        self.interruptions += 1
        self.story.tell(
            e.EvaluationInterrupted(run=1, evaluation=evaluation.number, attempt=evaluation.attempt, reason="crash")
        )


def walk(story: Story, data: st.DataObject, *, disturb: bool = True) -> World:
    world = World(story, data)
    for _ in range(MOST_STEPS):
        action = policy.next_action(story.run, active_seconds=0.0, exhausted=world.exhausted)
        if story.run.over:
            return world
        world.do(action)
        if disturb and not story.run.over:
            match world.draw(*["nothing"] * 30, "pause", "cancel"):
                case "pause" if not story.run.paused:
                    story.tell(e.RunPaused(run=1, reason="a person"))
                case "cancel" if not story.run.cancel_requested:
                    story.tell(e.RunCancelRequested(run=1))
    raise AssertionError("the run does not come to its end")


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_every_run_ends_within_its_budget_whatever_happens(data: st.DataObject) -> None:
    story = Story()
    walk(story, data)
    run = story.run
    assert run.admitted <= run.settings.budget.evaluations
    assert all(len(p.measurements) <= run.settings.measuring.repeats for p in run.particles.values())
    confirmations = sum(len(p.confirmations) for p in run.particles.values())
    assert confirmations <= run.confirmations_requested <= run.settings.proof.measurements
    assert all(evaluation.phase == "finished" for evaluation in run.evaluations.values())
    if run.outcome == "completed":
        assert run.admitted == run.settings.budget.evaluations
        assert not list(run.pending())


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_nothing_is_tried_more_often_than_configured(data: st.DataObject) -> None:
    story = Story(some_settings(measuring=Measuring(repeats=1, attempts=3), budget=Budget(evaluations=2)))
    world = walk(story, data, disturb=False)
    retries = sum(isinstance(event, e.ServiceFailed) and event.will_retry for event in story.events)
    assert world.launches <= story.run.admitted + story.run.confirmations_requested + world.interruptions + retries
    client_retries = sum(isinstance(event, e.MeasurementFailed) and event.will_retry for event in story.events)
    assert retries + client_retries <= 2 * (story.run.admitted + story.run.confirmations_requested)


def test_a_particle_that_differs_in_its_load_only_is_measured_on_the_running_service() -> None:
    story = Story(some_settings(measuring=Measuring(repeats=1)))
    service = {"MAX_NUM_SEQS": 64, "MAX_NUM_BATCHED_TOKENS": 8192}
    story.tell(a_particle(1, {**service, "CONCURRENCY": 100}), *launched(1, 1))
    story.tell(measured(1, 1, 1))
    assert policy.next_action(story.run, active_seconds=0.0) == policy.Propose(2)
    story.tell(a_particle(2, {**service, "CONCURRENCY": 200}))
    assert policy.next_action(story.run, active_seconds=0.0) == policy.Measure(1, 2, 2, attempt=1, repeat=1)


def test_a_particle_with_other_service_parameters_restarts_the_service() -> None:
    story = Story(some_settings(measuring=Measuring(repeats=1)))
    story.tell(a_particle(1, {"MAX_NUM_SEQS": 64, "MAX_NUM_BATCHED_TOKENS": 8192, "CONCURRENCY": 100}), *launched(1, 1))
    story.tell(measured(1, 1, 1))
    story.tell(a_particle(2, {"MAX_NUM_SEQS": 65, "MAX_NUM_BATCHED_TOKENS": 8192, "CONCURRENCY": 100}))
    assert isinstance(policy.next_action(story.run, active_seconds=0.0), policy.Stop)
    story.tell(e.ServiceStopped(run=1, evaluation=1, attempt=1))
    assert policy.next_action(story.run, active_seconds=0.0) == policy.FinishEvaluation(1)
    story.tell(e.EvaluationFinished(run=1, evaluation=1, particles=(1,)))
    assert policy.next_action(story.run, active_seconds=0.0) == policy.Launch(2, 2, 1)


def test_a_paused_run_stops_its_service_and_goes_on_with_what_is_missing() -> None:
    story = Story()
    story.tell(a_particle(1, {"MAX_NUM_SEQS": 64, "MAX_NUM_BATCHED_TOKENS": 8192, "CONCURRENCY": 100}), *launched(1, 1))
    story.tell(measured(1, 1, 1), e.RunPaused(run=1, reason="lunch"))
    assert isinstance(policy.next_action(story.run, active_seconds=0.0), policy.Stop)
    story.tell(e.ServiceStopped(run=1, evaluation=1, attempt=1))
    assert policy.next_action(story.run, active_seconds=0.0) == policy.Wait()
    story.tell(e.RunResumed(run=1))
    assert policy.next_action(story.run, active_seconds=0.0) == policy.Launch(1, 1, 2)
    story.tell(e.ServiceLaunching(run=1, particle=1, evaluation=1, attempt=2, launch_id="x"),
               e.ServiceReady(run=1, evaluation=1, attempt=2, waited=1.0))  # fmt: skip
    assert policy.next_action(story.run, active_seconds=0.0) == policy.Measure(1, 1, 2, attempt=1, repeat=2)


def test_the_time_budget_ends_the_run_after_the_evaluation_under_way() -> None:
    story = Story(some_settings(budget=Budget(evaluations=100, max_hours=1.0), measuring=Measuring(repeats=1)))
    story.tell(a_particle(1, {"MAX_NUM_SEQS": 64, "MAX_NUM_BATCHED_TOKENS": 8192, "CONCURRENCY": 100}), *launched(1, 1))
    assert isinstance(policy.next_action(story.run, active_seconds=3601.0), policy.Measure)
    story.tell(measured(1, 1, 1), e.ServiceStopped(run=1, evaluation=1, attempt=1),
               e.EvaluationFinished(run=1, evaluation=1, particles=(1,)))  # fmt: skip
    ending = policy.next_action(story.run, active_seconds=3601.0)
    assert isinstance(ending, policy.FinishRun)
    assert "1 hours" in ending.reason


def test_an_exhausted_space_ends_the_run() -> None:
    ending = policy.next_action(Story().run, active_seconds=0.0, exhausted=True)
    assert ending == policy.FinishRun("failed", "search space exhausted: every configuration has been measured")


def test_it_ends_when_the_models_expected_less_than_the_target_of_each_of_the_last_evaluations() -> None:
    one = Measuring(repeats=1)
    story = Story(
        some_settings(budget=Budget(evaluations=100, target=1.0), measuring=one, proof=Proving(measurements=0))
    )
    for number, gain in enumerate((0.005, None, 0.009, 0.02, 0.009, 0.0), 1):
        service = {"MAX_NUM_SEQS": 63 + number, "MAX_NUM_BATCHED_TOKENS": 8192, "CONCURRENCY": 100}
        story.tell(replace(a_particle(number, service), expected_gain=gain), *launched(number, number))
        story.tell(measured(number, number, 1), e.ServiceStopped(run=1, evaluation=number, attempt=1),
                   e.EvaluationFinished(run=1, evaluation=number, particles=(number,)))  # fmt: skip
        assert isinstance(policy.next_action(story.run, active_seconds=0.0), policy.Propose)
    story.tell(replace(a_particle(7, {"MAX_NUM_SEQS": 80, "MAX_NUM_BATCHED_TOKENS": 8192, "CONCURRENCY": 100}),
                       expected_gain=0.001), *launched(7, 7))  # fmt: skip
    story.tell(measured(7, 7, 1), e.ServiceStopped(run=1, evaluation=7, attempt=1),
               e.EvaluationFinished(run=1, evaluation=7, particles=(7,)))  # fmt: skip
    ending = policy.next_action(story.run, active_seconds=0.0)
    assert isinstance(ending, policy.FinishRun)
    assert ending.reason == "target reached: the last 3 evaluations promised less than 1 % each"


def a_particle(number: int, configuration: e.Configuration) -> e.ParticleProposed:
    return e.ParticleProposed(run=1, particle=number, slot=0, iteration=0, position=(0.5, 0.5, 0.5),
                              velocity=(0.0, 0.0, 0.0), configuration=configuration, strategy="swarm",
                              origin="swarm")  # fmt: skip


def launched(evaluation: int, particle: int) -> tuple[e.Event, ...]:
    return (
        e.ServiceLaunching(run=1, particle=particle, evaluation=evaluation, attempt=1, launch_id=f"{evaluation}"),
        e.ServiceReady(run=1, evaluation=evaluation, attempt=1, waited=1.0),
    )


def measured(evaluation: int, particle: int, measurement: int) -> e.MeasurementFinished:
    return e.MeasurementFinished(run=1, particle=particle, evaluation=evaluation, measurement=measurement, attempt=1,
                                 metrics=some_metrics(), seconds=1.0)  # fmt: skip


def test_the_strategy_gets_the_problem_of_the_run() -> None:
    seen: list[Problem] = []

    def strategy(problem: Problem) -> ParticleSwarm:
        seen.append(problem)
        return ParticleSwarm(problem)

    story = Story()
    propose(story.state, story.run, 1, strategy)
    assert seen[0].seed == 7
    assert seen[0].current == story.run.space.encode(story.run.space.current() or {})
