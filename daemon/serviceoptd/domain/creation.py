"""How runs, particles and launches begin, how a run gets results that were not measured here, and how long things took."""

from __future__ import annotations

import msgspec
from msgspec.structs import replace

from serviceopt_journal import events as e
from serviceopt_journal.codec import Recorded
from serviceoptd.domain.numbered import Numbered
from serviceoptd.domain.settings import RunSettings
from serviceoptd.domain.space.space import Space
from serviceoptd.domain.state import Evaluation, Imported, Measurement, Moment, Particle, RunState, State

NOT_MEASURED = "predicted: the imported file says that it was not measured"


def born(event: e.RunSubmitted, time: float) -> RunState:
    """The run that was submitted at `time` (seconds since the epoch)."""
    settings = msgspec.convert(event.settings, RunSettings)
    return RunState(
        number=event.run,
        name=event.name,
        settings=settings,
        space=Space.of(settings.fields),
        seed=event.seed,
        run_identity=event.run_identity,
        measurement_identity=event.measurement_identity,
        identity_parts=event.identity_parts,
        configuration_path=event.configuration_path,
        configuration_text=event.configuration_text,
        working_directory=event.working_directory,
        environment_file=event.environment_file,
        environment_sha256=event.environment_sha256,
        submitted_through=event.submitted_through,
        submitter_uid=event.submitter_uid,
        submitted=time,
    )


def proposed(event: e.ParticleProposed) -> Particle:
    """The particle, of which nothing but the proposal is known."""
    return Particle(
        number=event.particle,
        slot=event.slot,
        iteration=event.iteration,
        position=event.position,
        velocity=event.velocity,
        configuration=event.configuration,
        strategy=event.strategy,
        origin=event.origin,
        predicted=event.predicted,
        probability_feasible=event.probability_feasible,
        expected_gain=event.expected_gain,
    )


def launching(event: e.ServiceLaunching, run: RunState, at: Recorded) -> Evaluation:
    """The launch that was announced by this record; a repeated one keeps what was measured."""
    known = run.evaluations.get(event.evaluation)
    return Evaluation(
        number=event.evaluation,
        particle=event.particle,
        configuration=run.particles[event.particle].configuration,
        phase="launching",
        attempt=event.attempt,
        launch_id=event.launch_id,
        cgroup=event.cgroup,
        log=event.log,
        argv=event.argv,
        environment=event.environment,
        stop_argv=event.stop_argv,
        working_directory=event.working_directory,
        device_memory=event.device_memory,
        edited_files=event.edited_files,
        managed=event.managed,
        simulated=event.simulated,
        launching_at=at.time,
        launching_clock=(at.boot_id, at.monotonic),
        launching_seq=at.seq,
        launch_seconds=known.launch_seconds if known else None,
        particles=known.particles if known else (),
        measurements=known.measurements if known else 0,
        client_attempts=known.client_attempts if known else 0,
        failures=known.failures if known else 0,
        killed=known.killed if known else False,
    )


def measuring(event: e.MeasurementStarted, evaluation: Evaluation, at: Recorded) -> Measurement:
    """The client that was announced by this record, of which no outcome is known."""
    return Measurement(
        number=event.measurement,
        particle=event.particle,
        attempt=event.attempt,
        launch_id=event.launch_id,
        cgroup=event.cgroup,
        log=event.log,
        started=at.time,
        started_after=waited(evaluation, (at.boot_id, at.monotonic)),
    )


def result_of_a_file(particle: Particle, event: e.ResultImported) -> Particle:
    """The particle with the result that a row of an imported file tells.

    What the file itself calls predicted stays a prediction: it is shown, and never recommended.
    """
    particle = replace(
        particle,
        imported=Imported(place=f"{event.source_file}:{event.line}", backup=event.backup),
        num_prompts=event.num_prompts,
        seconds=event.seconds,
    )
    if not event.measured:
        return replace(particle, predicted=event.metrics, rejected=event.error or NOT_MEASURED)
    return replace(particle, measurements=(event.metrics,) if event.metrics else (), error=event.error)


def matched(run: RunState, event: e.ParticleMatched) -> Particle:
    """The particle that took another's result. What was simulated stays so: it is never taken for measured."""
    particle = replace(run.particles[event.particle], matched=(event.same_as_run, event.same_as_particle))
    twin = run.twin(particle)
    return particle if twin is None else replace(particle, simulated=twin.simulated, remark=twin.remark)


def with_twin(source: RunState, run: RunState, event: e.ParticleMatched) -> RunState:
    """The run with the particle of another one whose result it takes."""
    known = run.imported.get(source.number, Numbered())
    if event.same_as_particle in known:
        return run
    known = known.with_entry(event.same_as_particle, source.particles[event.same_as_particle])
    return replace(run, imported=run.imported | {source.number: known})


def waited(evaluation: Evaluation, now: Moment) -> float:
    """Seconds since the launch was announced, but for what passed between two boots of the machine, which nobody knows."""
    (boot, begun), (present, moment) = evaluation.launching_clock, now
    return max(0.0, moment - begun) if boot == present else 0.0


def in_this_boot(state: State, recorded: Recorded) -> State:
    """The state whose open launches go by the clock of this record's boot: as if they had waited as long under it."""
    before, last = state.moment
    if recorded.boot_id == before:
        return state
    runs = state.runs
    for run in state.queue():
        launch = run.evaluation
        if launch is not None and launch.launching_clock[0] == before:
            begun = (recorded.boot_id, recorded.monotonic - waited(launch, (before, last)))
            moved = run.evaluations.with_entry(launch.number, replace(launch, launching_clock=begun))
            runs = runs.with_entry(run.number, replace(run, evaluations=moved))
    return replace(state, runs=runs)


def worked(state: State, run: RunState, recorded: Recorded) -> float:
    """Seconds since the record before, where the run was worked on meanwhile (one run at a time is)."""
    if run.status != "running" or run.paused or recorded.boot_id != state.moment[0]:
        return 0.0
    if state.daemon_started_seq == state.seq:
        return 0.0  # the record before is the daemon's start: what lies between the two may be another daemon's
    return max(0.0, recorded.monotonic - state.moment[1])
