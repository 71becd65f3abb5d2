"""A run whose failures have one reason, whatever the parameters, is held; one that meets bad configurations is not."""

from __future__ import annotations

from typing import Any

import pytest

from run_stories import Story, some_metrics, some_settings
from serviceopt_journal import events as e
from serviceoptd.domain import failures
from serviceoptd.domain.holding.failing_alike import reason_to_hold
from serviceoptd.domain.policy import FinishRun, Hold, Launch, Propose, held_by, next_action
from serviceoptd.domain.settings import Budget, Field, Measuring, RunSettings
from serviceoptd.domain.space.space import Space

HEAD = "exited with status 1; its log says: "


def settings(**measuring: Any) -> RunSettings:
    return some_settings(budget=Budget(evaluations=50), measuring=Measuring(**measuring))


class Failing:
    """A run told launch by launch; each has other parameters."""

    def __init__(self, settings: RunSettings) -> None:
        self.story = Story(settings)
        self.number = 0

    def begun(self, seqs: int | None = None) -> None:
        self.number += 1
        configuration = {
            "MAX_NUM_SEQS": seqs if seqs is not None else (37 * self.number) % 480 + 32,
            "MAX_NUM_BATCHED_TOKENS": 8192 + (977 * self.number) % 50_000,
            "CONCURRENCY": (113 * self.number) % 1000 + 1,
        }
        self.story.tell(
            e.ParticleProposed(
                run=1, particle=self.number, slot=0, iteration=0, position=(0.5,) * 3, velocity=(0.0,) * 3,
                configuration=configuration, strategy="swarm", origin="swarm",
            ),
            e.ServiceLaunching(run=1, particle=self.number, evaluation=self.number, attempt=1, launch_id="l"),
        )  # fmt: skip

    def ended(self) -> None:
        self.story.tell(
            e.ServiceStopped(run=1, evaluation=self.number, attempt=1),
            e.EvaluationFinished(run=1, evaluation=self.number, particles=(self.number,)),
        )

    def failed(self, reason: str, cause: str = "", times: int = 1, seqs: int | None = None) -> Failing:
        for _ in range(times):
            self.begun(seqs)
            told = reason.format(number=self.number, seqs=self.story.run.particles[self.number].configuration)
            self.story.tell(
                e.ServiceFailed(run=1, evaluation=self.number, attempt=1, kind="exited", reason=told, cause=cause)
            )
            self.ended()
        return self

    def unmeasured(self, reason: str, times: int = 1) -> Failing:
        for _ in range(times):
            self.begun()
            self.story.tell(e.ServiceReady(run=1, evaluation=self.number, attempt=1, waited=1.0), self.started())
            self.story.tell(
                e.MeasurementFailed(
                    run=1, particle=self.number, evaluation=self.number, measurement=1, attempt=1, kind="unusable",
                    reason=reason,
                )
            )  # fmt: skip
            self.ended()
        return self

    def measured(self, seqs: int | None = None) -> Failing:
        self.begun(seqs)
        self.story.tell(
            e.ServiceReady(run=1, evaluation=self.number, attempt=1, waited=1.0),
            self.started(),
            e.MeasurementFinished(
                run=1, particle=self.number, evaluation=self.number, measurement=1, attempt=1,
                metrics=some_metrics(), seconds=1.0,
            ),
        )  # fmt: skip
        self.ended()
        return self

    def started(self) -> e.MeasurementStarted:
        return e.MeasurementStarted(
            run=1, particle=self.number, evaluation=self.number, measurement=1, attempt=1, launch_id="c",
            concurrency=1, request_rate=None, num_prompts=10, seed=1,
        )  # fmt: skip

    def goes_on(self) -> None:
        """Held as it should be, and resumed as the daemon does."""
        assert isinstance(self.due, Hold)
        run = self.story.tell(e.RunPaused(run=1, reason="held", held=True))
        self.story.tell(e.RunResumed(run=1, measured_again=held_by(run)))

    def launched(self, particle: int) -> None:
        """The service is started for a particle that was proposed before."""
        self.number = max(self.story.run.evaluations) + 1
        self.story.tell(
            e.ServiceLaunching(run=1, particle=particle, evaluation=self.number, attempt=1, launch_id="l"),
        )

    def fails_again(self, reason: str, cause: str) -> None:
        """What is due now is launched in vain."""
        assert isinstance(self.due, Launch)
        self.launched(self.due.particle)
        self.story.tell(
            e.ServiceFailed(run=1, evaluation=self.number, attempt=1, kind="exited", reason=reason, cause=cause)
        )
        self.ended()

    def measured_now(self, particle: int) -> None:
        """A particle that was proposed before is launched and measured."""
        self.launched(particle)
        again = {"run": 1, "particle": particle, "evaluation": self.number, "measurement": 1, "attempt": 1}
        self.story.tell(
            e.ServiceReady(run=1, evaluation=self.number, attempt=1, waited=1.0),
            e.MeasurementStarted(**again, launch_id="c", concurrency=1, request_rate=None, num_prompts=10, seed=1),
            e.MeasurementFinished(**again, metrics=some_metrics(), seconds=1.0),
        )
        self.ended()

    def resumed(self) -> Failing:
        self.story.tell(e.RunPaused(run=1, reason="held", held=True), e.RunResumed(run=1))
        return self

    @property
    def due(self) -> object:
        return next_action(self.story.run, active_seconds=0.0)


def a_run(**measuring: Any) -> Failing:
    return Failing(settings(**measuring))


@pytest.mark.parametrize(
    ("reason", "cause"),
    [
        ("exited with status 1; model: OSError: gated repo (request {number}-ab12)", failures.MODEL),
        ("exited with status 1; port: [Errno 98] address already in use", failures.PORT),
        ("time limit of 600 s; its log ends: 10:0{number}:00 INFO waiting for pid {number}2", ""),
        ("exited with status 2; refused_argument: error: unrecognized arguments: --nope", failures.REFUSED_ARGUMENT),
        ("exited with status 1; communication: RuntimeError: NCCL error: unhandled", failures.COMMUNICATION),
    ],
)
def test_three_launches_that_fail_alike_hold_the_run_and_say_why(reason: str, cause: str) -> None:
    run = a_run().failed(reason, cause, times=2)
    assert isinstance(run.due, Propose)
    run.failed(reason, cause)
    assert isinstance(run.due, Hold)
    assert reason.partition("{")[0] in run.due.reason
    assert "3 launches" in run.due.reason
    assert "resume" in run.due.reason


def test_three_measurements_that_fail_alike_hold_it_too() -> None:
    run = a_run().unmeasured("none of 200 requests completed", times=3)
    assert isinstance(run.due, Hold)


def test_failures_of_different_kinds_do_not() -> None:
    run = a_run().failed(HEAD + "KeyError: 'rope'").failed(HEAD + "AssertionError in `a == b`", times=2)
    assert isinstance(run.due, Propose)


@pytest.mark.parametrize(
    "kinds",
    [
        [(HEAD + "KeyError: 'rope'", ""), (HEAD + "AssertionError in `a == b`", "")],
        [("exited with status 1; port: address in use", failures.PORT), (HEAD + "OutOfMemoryError", "out_of_memory")],
    ],
)
def test_reasons_that_take_turns_hold_it_when_the_latest_has_come_three_times_among_six(
    kinds: list[tuple[str, str]],
) -> None:
    run = a_run()
    for _ in range(2):
        for reason, cause in kinds[::-1]:
            run.failed(reason, cause)
    run.failed(*kinds[1])
    assert isinstance(run.due, Propose)
    run.failed(*kinds[0])
    assert isinstance(run.due, Hold)
    assert "3 launches or measurements (of the last 6)" in run.due.reason
    assert kinds[0][0] in run.due.reason
    run.goes_on()
    assert [particle.number for particle in run.story.run.pending()] == [2, 4, 6]


def test_twelve_failures_in_a_row_hold_it_whatever_their_reasons() -> None:
    run = a_run()
    for word in ("one two", "red green", "north south", "salt pepper", "up down", "hot cold"):
        run.failed(HEAD + f"{word.title().replace(' ', '')}Error: {word} {word}", times=2)
        assert isinstance(run.due, Hold) == (run.number == 12)
    assert "12 launches or measurements (every one so far) failed, none was measured" in run.due.reason
    assert "HotColdError" in run.due.reason
    assert "RedGreenError" in run.due.reason


@pytest.mark.parametrize(
    "reason",
    [
        "time limit of 600 s: GET /health: status 503; its log ends: {seqs} INFO args: max_num_seqs loading step {number}",
        "the client did not end: time limit of 90 s; its log ends: {number}%|####| {seqs}",
        "the client ended with exit status 1: aiohttp.Error: [{number}] request 7f3e{number}a1b2c3d4 at 0x7f{number}abc",
        "exited with status 1; its log says: RuntimeError: /tmp/tmp{number}xk/torch_{number}.so at 10:0{number}:00.123",
    ],
)
def test_numbers_addresses_and_how_far_a_log_had_come_make_no_other_reason(reason: str) -> None:
    assert isinstance(a_run().failed(reason, times=3).due, Hold)
    assert isinstance(a_run().unmeasured(reason.format(number=3, seqs="x"), times=3).due, Hold)


def test_later_on_six_are_waited_for_where_a_parameter_seems_to_tell_them_apart() -> None:
    run = a_run().measured(seqs=40).measured(seqs=60)
    run.failed(HEAD + "AssertionError in `a == b`", seqs=300, times=5)
    assert isinstance(run.due, Propose)
    assert isinstance(run.failed(HEAD + "AssertionError in `a == b`", seqs=400).due, Hold)


def test_running_out_of_memory_is_no_reason_until_many_do() -> None:
    run = a_run().failed(HEAD + "CUDA out of memory", failures.OUT_OF_MEMORY, times=11)
    assert isinstance(run.due, Propose)
    assert isinstance(run.failed(HEAD + "CUDA out of memory, 2 GiB", failures.OUT_OF_MEMORY).due, Hold)


def test_a_reason_that_names_a_searched_parameter_is_no_reason_until_many_have_it() -> None:
    run = a_run().failed(HEAD + "ValueError: max-num-seqs {number} is refused", failures.REFUSED_ARGUMENT, times=11)
    assert isinstance(run.due, Propose)
    assert isinstance(run.failed(HEAD + "ValueError: max-num-seqs 9 is refused", failures.REFUSED_ARGUMENT).due, Hold)


def test_failures_that_one_parameter_tells_from_what_was_measured_are_waited_for_longer() -> None:
    run = a_run().measured(seqs=40).measured(seqs=60)
    for seqs in (300, 400, 500):
        run.failed(HEAD + "AssertionError in `a == b`", seqs=seqs)
    assert isinstance(run.due, Propose)


@pytest.mark.parametrize(
    ("field", "held"),
    [
        (Field(name="TP", dtype="int", min=1, max=16), False),
        (Field(name="LAYOUT", config_position="argument:--data-parallel-size", dtype="int", min=1, max=16), False),
        (Field(name="MAX_NUM_SEQS", dtype="int", min=1, max=16), True),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_too_few_devices_are_no_reason_while_their_number_is_searched(field: Field, *, held: bool) -> None:
    reason = HEAD + "ValueError: World size (16) is larger than the number of available GPUs (8)"
    failed = [failures.Failed(configuration={field.name: 16}, reason=reason, cause=failures.TOO_FEW_DEVICES)] * 11
    assert bool(reason_to_hold(failed, [], Space.of([field]), 3)) is held


def test_later_on_the_last_three_alike_hold_it_though_others_were_measured() -> None:
    run = a_run().measured(seqs=100).measured(seqs=300).measured(seqs=200).measured(seqs=500)
    for _ in range(3):
        run.failed("exited with status 1; no_device: RuntimeError: No CUDA GPUs are available", failures.NO_DEVICE)
    assert isinstance(run.due, Hold)
    assert "in a row" in run.due.reason


def test_a_measurement_between_them_ends_the_row() -> None:
    run = a_run().failed(HEAD + "KeyError: 'rope'", times=2).measured().failed(HEAD + "KeyError: 'rope'", times=2)
    assert isinstance(run.due, Propose)


def test_a_resume_of_an_earlier_release_measures_nothing_again_and_gives_as_many_tries() -> None:
    run = a_run().failed(HEAD + "KeyError: 'rope'", times=3).resumed()
    assert isinstance(run.due, Propose)
    assert isinstance(run.failed(HEAD + "KeyError: 'rope'", times=2).due, Propose)
    assert isinstance(run.failed(HEAD + "KeyError: 'rope'").due, Hold)


def test_particles_whose_failures_held_the_run_are_due_again_when_it_goes_on() -> None:
    run = a_run().measured().failed(HEAD + "AssertionError in `a == b`")
    run.failed(HEAD + "No CUDA GPUs are available", failures.NO_DEVICE, times=3)
    before = run.story.run.admitted
    run.goes_on()
    assert run.story.run.admitted == before
    assert [particle.number for particle in run.story.run.pending()] == [3, 4, 5]
    assert run.due == Launch(6, 3, attempt=1)
    assert "AssertionError" in run.story.run.particles[2].error
    for _ in range(3):
        run.fails_again(HEAD + "No CUDA GPUs are available", failures.NO_DEVICE)
    assert isinstance(run.due, Hold)


def test_a_measurement_that_failed_is_due_again_too_and_its_result_counts() -> None:
    run = a_run().unmeasured("none of 200 requests completed", times=3)
    run.goes_on()
    for number in (1, 2, 3):
        assert run.due == Launch(number + 3, number, attempt=1)
        run.measured_now(number)
    assert isinstance(run.due, Propose)
    assert [particle.error for particle in run.story.run.particles.values()] == [""] * 3
    assert all(run.story.run.result_of(particle) for particle in run.story.run.particles.values())


def test_a_confirmation_whose_failure_held_the_run_is_due_again() -> None:
    run = a_run(hold_after=1).measured()
    run.story.tell(e.ConfirmationRequested(run=1, particle=1, round=1, reason="finalist"))
    run.launched(1)
    run.story.tell(
        e.ServiceFailed(run=1, evaluation=2, attempt=1, kind="exited", reason="status 1", cause=failures.PORT)
    )
    run.ended()
    assert run.story.run.particles[1].unconfirmed
    run.goes_on()
    assert run.due == Launch(3, 1, attempt=1)
    assert run.story.run.result_of(run.story.run.particles[1])


def test_nothing_is_measured_again_of_a_run_that_was_held_or_paused_for_another_reason() -> None:
    run = a_run().failed(HEAD + "KeyError: 'rope'", times=2)
    run.story.tell(e.RunPaused(run=1, reason="interrupted", held=True))
    assert held_by(run.story.run) == ()
    run = a_run().failed(HEAD + "KeyError: 'rope'", times=3)
    run.story.tell(e.RunPaused(run=1, reason="lunch"))
    assert held_by(run.story.run) == ()


def test_the_number_can_be_set_and_0_never_holds() -> None:
    assert isinstance(a_run(hold_after=1).failed(HEAD + "KeyError: 'rope'").due, Hold)
    assert isinstance(a_run(hold_after=0).failed(HEAD + "KeyError: 'rope'", times=49).due, Propose)


def test_a_run_that_is_over_anyway_is_not_held() -> None:
    run = Failing(some_settings(budget=Budget(evaluations=3), measuring=Measuring()))
    assert isinstance(run.failed(HEAD + "KeyError: 'rope'", times=3).due, FinishRun)
