"""What people and programs are shown of a run, from its state. Documented in docs/api.md.

The daemon's API answers with these documents, and the client builds the very same ones from the journal when the
daemon is down.
"""

from __future__ import annotations

from collections.abc import Mapping
from statistics import fmean

import msgspec

from serviceopt_journal.documents.particles import BestOfSearch, Recommendation
from serviceopt_journal.documents.particles import Particle as Shown
from serviceopt_journal.documents.runs import (
    Counts,
    Daemon,
    EvaluationUnderWay,
    Identity,
    Run,
    RunSummary,
    Status,
    TargetField,
)
from serviceopt_journal.metric_table import GENERATE_SPEED, METRIC, SUCCESS_RATE
from serviceopt_journal.proof import Proof
from serviceoptd.domain.creation import waited
from serviceoptd.domain.deployment import beyond_its_training, deployment, measured_on, positions
from serviceoptd.domain.particles.rejections import rejection_record
from serviceoptd.domain.settings import Objective
from serviceoptd.domain.state import BEYOND_THE_SEARCH, Evaluation, Moment, Particle, RunState, State
from serviceoptd.domain.table import kind_of


def status_document(state: State, *, now: Moment, daemon: Daemon | None) -> Status:
    """Everything at a glance: the daemon (None: it is down), the run that is worked on, the queue."""
    queue = state.queue()
    return Status(
        daemon=daemon,
        seq=state.seq,
        current=run_document(queue[0], now=now) if queue and queue[0].status == "running" else None,
        queued=tuple(run.number for run in queue if run.status == "queued"),
        runs=len(state.runs),
        last=run_document(max(state.runs.values(), key=lambda r: r.number), now=now) if state.runs else None,
    )


def run_summary(run: RunState) -> RunSummary:
    """One line of `runs`."""
    best = run.best()
    feasible = bool(best and run.feasible(best))
    return RunSummary(
        run=run.number,
        name=run.name,
        status=status_word(run),
        outcome=run.outcome,
        engine=run.settings.engine,
        benchmark=run.settings.benchmark,
        submitted=run.submitted,
        started=run.started,
        finished=run.finished,
        admitted=run.admitted,
        budget=run.settings.budget.evaluations,
        best_generate_speed=_speed(run, best),
        feasible=feasible,
        unsure=bool(best and not feasible and run.known_of(best) and not run.standing(best).broken),
        simulated=any(p.simulated or kind_of(run, p) == "simulated" for p in run.particles.values()),
        imported=run.imported_from,
    )


def run_document(run: RunState, *, now: Moment) -> Run:
    """One run in full."""
    settled = [p for p in run.particles.values() if p.settled(run.settings.measuring.repeats)]
    best = run.best()
    return Run(
        **msgspec.structs.asdict(run_summary(run)),
        reason=run.reason,
        paused=run.paused,
        held=run.held,
        identity=Identity(run=run.run_identity, measurement=run.measurement_identity, parts=run.identity_parts),
        seed=run.seed,
        working_directory=run.working_directory,
        configuration_path=run.configuration_path,
        objective=objective_text(run.settings.objective),
        fields=tuple(TargetField(**msgspec.structs.asdict(field)) for field in run.settings.fields),
        max_hours=run.settings.budget.max_hours,
        target=run.settings.budget.target,
        expected_gain=_expected_gain(settled),
        evaluations_left=0 if run.over else max(0, run.settings.budget.evaluations - run.admitted),
        confirmations_left=confirmations_left(run),
        active_seconds=run.active_seconds,
        counts=_counts(run, settled),
        rejections=rejection_record(run),
        best=particle_document(run, best) if best else None,
        latest=_latest(run),
        current=_current(run, run.evaluation, now) if run.evaluation and not run.over else None,
        seconds_left=seconds_left(run),
    )


def _latest(run: RunState) -> Shown | None:
    """The last that was measured on the last launch; where none was, the one it was launched for."""
    if not run.evaluations:
        return None
    last = run.evaluations[max(run.evaluations)]
    return particle_document(run, run.particles[last.particles[-1] if last.particles else last.particle])


def _counts(run: RunState, settled: list[Particle]) -> Counts:
    return Counts(
        proposed=len(run.particles),
        measured=sum(bool(p.measurements) and not p.error for p in settled),
        failed=sum(bool(p.error) for p in settled),
        rejected=sum(bool(p.rejected) for p in settled),
        finalists=sum(p.origin in BEYOND_THE_SEARCH or bool(p.confirmations) for p in settled),
        matched=sum(p.matched is not None for p in settled),
        evaluations=len(run.evaluations),
        measurements=sum(len(p.measurements) for p in run.particles.values()),
        confirmations=sum(len(p.confirmations) for p in run.particles.values()),
    )


def particle_document(run: RunState, particle: Particle) -> Shown:
    """A particle with its result and how it stands by the objective."""
    judgement = run.standing(particle)
    metrics = run.known_of(particle) or particle.metrics
    origin = run.twin(particle) or particle
    return Shown(
        particle=particle.number,
        evaluation=particle.evaluation,
        origin=particle.origin,
        configuration=particle.configuration,
        metrics=metrics,
        repeats=len(particle.confirmations or particle.measurements),
        confirmations=len(particle.confirmations),
        feasible=run.feasible(particle),
        violated=judgement.broken if metrics else (),
        fitness=judgement.fitness,
        error=particle.error or particle.unconfirmed,
        rejected=particle.rejected,
        audited=particle.audited,
        predicted=particle.predicted,
        matched=particle.matched,
        seconds=particle.seconds,
        simulated=particle.simulated or origin.simulated,
        kind=kind_of(run, particle),
        remark=particle.remark or origin.remark,
        imported=particle.imported.place if particle.imported else "",
    )


def recommendation(run: RunState, runs: Mapping[int, RunState] | None = None) -> Recommendation | None:
    """The particle to deploy, why, and how; None when nothing has been measured.

    `deploy` holds what was really run: the service's arguments and what we set in its environment; of a result that was
    taken from another run, as it was run there, if that is among `runs`.
    """
    chosen = run.best()
    if chosen is None:
        return None
    baseline = next((p for p in run.particles.values() if p.origin == "current-setting"), None)
    proof = run.proof if chosen.number == run.recommended and not beyond_its_training(chosen) else None
    service = measured_on(chosen, run, runs or {})
    told = chosen.configuration  # of an imported one perhaps without some fields
    return Recommendation(
        **msgspec.structs.asdict(particle_document(run, chosen)),
        run=run.number,
        final=run.over,
        objective=objective_text(run.settings.objective),
        rejections=rejection_record(run),
        load={f.name: told[f.name] for f in run.settings.fields if f.load and f.name in told},
        current_setting=particle_document(run, baseline) if baseline else None,
        gain=_gain(run, chosen, baseline, proof),
        unit="tokens/s" if run.settings.objective.maximise == GENERATE_SPEED else "requests/s",
        proof=proof,
        best_of_search=_best_of_search(run) if proof is not None else None,
        positions=positions(run, chosen),
        deploy=deployment(run, service) if service else None,
    )


def _best_of_search(run: RunState) -> BestOfSearch | None:
    best = next(iter(run.ranked()), None)
    judged = run.judgement(best) if best is not None else None
    if best is None or judged is None or judged.objective is None or not judged.feasible:
        return None
    return BestOfSearch(particle=best.number, value=judged.objective, measurements=max(1, len(best.measurements)))


def _current(run: RunState, evaluation: Evaluation, now: Moment) -> EvaluationUnderWay:
    measuring = evaluation.measuring
    particle = measuring.particle if measuring else evaluation.particle
    return EvaluationUnderWay(
        evaluation=evaluation.number,
        attempt=evaluation.attempt,
        phase="measuring" if measuring else evaluation.phase,
        particle=particle,
        configuration=run.particles[particle].configuration,
        service_log=evaluation.log,
        client_log=measuring.log if measuring else "",
        measurement=measuring.number if measuring else None,
        since=measuring.started if measuring else evaluation.launching_at,
        seconds=max(0.0, waited(evaluation, now) - (measuring.started_after if measuring else 0.0)),
        pid=evaluation.pid,
    )


def seconds_left(run: RunState) -> float | None:
    """Estimated seconds to the end of both budgets: what a finished configuration took, times what is left.

    It took its launch and its measurements, or its share of all the time that was worked on the run, where that is
    more: a proposal can take longer than a simulated measurement.
    """
    if run.over:
        return 0.0
    spent = [p.seconds for p in _finished(run)]
    if not spent:
        return None
    done = len(spent) + sum(len(p.confirmations) for p in run.particles.values())
    each = max(fmean(spent), run.active_seconds / done)
    left = (configurations_left(run) + confirmations_left(run)) * each
    hours = run.settings.budget.max_hours
    return min(left, max(0.0, hours * 3600.0 - run.active_seconds)) if hours is not None else left


def status_word(run: RunState) -> str:
    """A run's status in one word: queued, running, paused, held, cancelling, or how it ended."""
    if run.over:
        return run.outcome
    if run.cancel_requested:
        return "cancelling"
    if run.paused:
        return "held" if run.held else "paused"
    return run.status


def objective_text(objective: Objective) -> str:
    """The objective in one line, such as `generate_speed; mean TTFT <= 1 s; success rate >= 0.99`."""
    parts = [objective.maximise + (" per device" if objective.per_device else "")]
    parts += [f"{slo.statistic} {METRIC[slo.metric].abbreviation} <= {slo.limit:g} s" for slo in objective.slos]
    parts.append(f"{METRIC[SUCCESS_RATE].label} >= {objective.success_rate:g}")
    if objective.soft is not None:
        parts.append("soft formula")
    return "; ".join(parts)


def _speed(run: RunState, particle: Particle | None) -> float | None:
    metrics = run.known_of(particle) if particle else None
    return metrics.generate_speed if metrics else None


def _gain(run: RunState, chosen: Particle, baseline: Particle | None, proof: Proof | None) -> float | None:
    """As proven; where nothing was confirmed, as the search measured it."""
    if baseline is None or not run.feasible(chosen):
        return None
    if proof is not None and chosen is not baseline:
        return proof.gain
    before, after = run.judgement(baseline).objective, run.judgement(chosen).objective
    return after / before - 1.0 if before and after else None


def _expected_gain(settled: list[Particle]) -> float | None:
    """What the models expected of the last evaluation."""
    return next((p.expected_gain for p in reversed(settled) if p.admitted), None)


def configurations_left(run: RunState) -> int:
    """How many the budget of the search allows at most, the one that is worked on included."""
    return 0 if run.over else max(0, run.settings.budget.evaluations - len(_finished(run)))


def _finished(run: RunState) -> list[Particle]:
    repeats = run.settings.measuring.repeats
    return [particle for particle in run.particles.values() if particle.admitted and particle.settled(repeats)]


def confirmations_left(run: RunState) -> int:
    """How many the budget of the proof allows at most."""
    return 0 if run.over else max(0, run.settings.proof.measurements - run.confirmations_requested)
