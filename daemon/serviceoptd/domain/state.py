"""What is true after a list of events. The fold itself is `evolve.py`; what is due next is `policy.py`.

A state has no cycles, so the cyclic collector need not search it (`gc=False`): a long replay would pay for that many times.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import msgspec

from serviceopt_journal.events import Configuration, EditedFile, SurroundingsFailed
from serviceopt_journal.metrics import Metrics
from serviceopt_journal.proof import Proof
from serviceoptd.domain.failures import Failed
from serviceoptd.domain.numbered import Numbered
from serviceoptd.domain.objective import Judgement, aggregate, judge, rank
from serviceoptd.domain.settings import RunSettings
from serviceoptd.domain.space.space import Space
from serviceoptd.domain.stopping.censoring import judged

BEYOND_THE_SEARCH = frozenset({"fine-tuning", "full-data-set"})
"""Origins of finalists in journals from before confirmations: measured after the search, beyond its budget."""
Moment = tuple[str, float]  # boot id, and monotonic seconds, which compare under the same boot alone
Phase = Literal["launching", "launched", "ready", "failed", "stopping", "stopped", "interrupted", "finished"]


class Imported(msgspec.Struct, frozen=True, kw_only=True):
    """Where a result comes from that was not measured here."""

    place: str  # FILE:LINE
    backup: str = ""  # where its data are kept, as the file says


class Particle(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A proposed point and what became of it."""

    number: int
    slot: int
    iteration: int
    position: tuple[float, ...]
    velocity: tuple[float, ...]
    configuration: Configuration
    strategy: str
    origin: str
    evaluation: int | None = None  # the launch on which it was (last) measured
    measurements: tuple[Metrics, ...] = ()
    confirmations: tuple[Metrics, ...] = ()  # measured again after the search, kept apart (domain/proof.py)
    confirmations_requested: int = 0
    unconfirmed: str = ""  # why a confirmation failed: it is not recommended
    error: str = ""  # why it did not run properly
    cause: str = ""  # the kind of that failure (failures.py); empty: not known
    censored: Metrics | None = None  # observed until its measurement was ended early, at its bound (censoring.py)
    censored_by: str = ""  # the statistic that decided: "ttft mean", or the objective
    matched: tuple[int, int] | None = None  # run and particle whose result it took
    rejected: str = ""  # why it was given up before its evaluation
    audited: str = ""  # why it would have been given up; it is measured anyway
    predicted: Metrics | None = None
    probability_feasible: float | None = None  # by the models of the search, when it was proposed
    expected_gain: float | None = None
    seconds: float = 0.0  # spent on it: waiting for its service, and measuring
    measuring_seconds: float = 0.0  # of its finished measurements alone: what the search learns costs from
    devices: int = 1  # accelerators of its service
    num_prompts: int | None = None  # requests of its (last) measurement
    simulated: bool = False
    remark: str = ""  # why its latest measurement should not be believed, or could not be looked at while it ran
    imported: Imported | None = None  # its result was read from a file

    @property
    def evaluated(self) -> bool:
        """Whether the particle is, or was, to be measured: neither matched nor rejected."""
        return self.matched is None and not self.rejected

    @property
    def admitted(self) -> bool:
        """Whether the particle counts against the budget of the search."""
        return self.evaluated and self.origin not in BEYOND_THE_SEARCH

    @property
    def confirmation_due(self) -> bool:
        """Whether its next measurement is a confirmation."""
        return self.confirmations_requested > len(self.confirmations) and not self.unconfirmed

    def settled(self, repeats: int) -> bool:
        """Whether nothing more is due for it."""
        if self.confirmation_due:
            return False
        return not self.evaluated or bool(self.error) or len(self.measurements) >= repeats

    @property
    def metrics(self) -> Metrics | None:
        """The particle's result in the search: the median over its measurements, or None when it has none that counts."""
        return aggregate(self.measurements) if self.measurements else None

    @property
    def confirmed(self) -> Metrics | None:
        """The median over its confirmations, which were measured with all of the data set; None without any."""
        return aggregate(self.confirmations) if self.confirmations else None


class Measurement(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A benchmark client that was announced and has no outcome yet."""

    number: int
    particle: int
    attempt: int
    launch_id: str
    cgroup: str
    log: str
    started: float  # seconds since the epoch: shown only
    started_after: float = 0.0  # seconds since the launch was announced


class Evaluation(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One launch of the service (several, when it was interrupted or retried) and its measurements."""

    number: int
    particle: int  # for which it was launched
    configuration: Configuration
    phase: Phase
    attempt: int
    launch_id: str
    cgroup: str = ""
    log: str = ""
    argv: tuple[str, ...] = ()
    environment: dict[str, str] = {}
    stop_argv: tuple[str, ...] = ()
    working_directory: str = ""
    device_memory: dict[str, int] = {}
    edited_files: tuple[EditedFile, ...] = ()
    managed: bool = True
    simulated: bool = False
    pid: int | None = None
    process_started: float | None = None
    launching_at: float = 0.0  # seconds since the epoch, of the present attempt: shown only
    launching_clock: Moment = ("", 0.0)
    launching_seq: int = 0  # of the announcement: the order of launches, whatever a clock says
    launch_seconds: float | None = None  # until the first attempt that became ready; None: it never was
    particles: tuple[int, ...] = ()  # those measured on it so far
    measurements: int = 0  # the highest measurement number so far
    measured_since_launch: int = 0  # on the present attempt: decides about warm-up and cache reset
    measuring: Measurement | None = None
    client_attempts: int = 0  # how often the measurement that is due was started, interrupted ones included
    killed: bool = False  # what was tried last was: it is done once more
    failures: int = 0  # of launches and clients since a measurement finished: no endless retry
    failure: str = ""
    kv_blocks: int | None = None
    kv_block_size: int | None = None
    backup: str = ""

    @property
    def announced(self) -> bool:
        """Whether a launch was announced whose end is not in the journal: something of it may be alive."""
        return self.phase in ("launching", "launched", "ready", "failed", "stopping")


class RunState(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The state of one run, as its events leave it."""

    number: int
    name: str
    settings: RunSettings
    space: Space
    seed: int
    run_identity: str
    measurement_identity: str
    identity_parts: dict[str, str] = {}
    configuration_path: str | None = None
    configuration_text: str = ""
    working_directory: str = ""
    environment_file: str = ""
    environment_sha256: str = ""
    submitted_through: str = "socket"
    submitter_uid: int = 0
    submitted: float = 0.0  # seconds since the epoch
    started: float | None = None
    finished: float | None = None
    status: Literal["queued", "running", "finished"] = "queued"
    paused: str = ""  # the reason; empty when it is not paused
    held: bool = False  # paused by the daemon itself
    cancel_requested: bool = False
    outcome: str = ""
    reason: str = ""
    recommended: int | None = None
    declared_feasible: bool = False  # the recommended one
    proof: Proof | None = None  # of the recommended one
    confirmations_requested: int = 0  # of the proof's budget, since the search went on last
    served: tuple[tuple[Metrics, Metrics], ...] = ()  # the client's and the service's own numbers, where both are known
    active_seconds: float = 0.0  # spent working on it: neither paused, nor with the daemon down
    particles: Numbered[Particle] = msgspec.field(default_factory=Numbered)
    evaluations: Numbered[Evaluation] = msgspec.field(default_factory=Numbered)
    open_evaluation: int | None = None
    imported: dict[int, tuple[Particle, ...]] = {}  # results taken from earlier runs, by run
    failed_in_a_row: tuple[Failed, ...] = ()  # since a measurement ended well, or somebody resumed the run
    interruptions: tuple[SurroundingsFailed, ...] = ()  # that nothing has overcome yet (holding/interruptions.py)
    refuted: tuple[str, ...] = ()  # rules of theory that a service has refuted

    @property
    def over(self) -> bool:
        return self.status == "finished"

    @property
    def imported_from(self) -> str:
        """The file that all its results were read from; empty where they were measured here."""
        return self.identity_parts.get("file", "") if self.submitted_through == "import" else ""

    @property
    def evaluation(self) -> Evaluation | None:
        """The evaluation that is not finished, if any."""
        return self.evaluations[self.open_evaluation] if self.open_evaluation is not None else None

    @property
    def admitted(self) -> int:
        """How much of the budget by evaluations is used."""
        return sum(particle.admitted for particle in self.particles.values())

    def pending(self) -> Iterator[Particle]:
        """Admitted particles for which something is still due, oldest first."""
        repeats = self.settings.measuring.repeats
        return (particle for particle in self.particles.values() if not particle.settled(repeats))

    def due_on(self, evaluation: Evaluation) -> Particle | None:
        """The particle to be measured next on this service: one whose service parameters are the running ones."""
        key = self.space.service_key(evaluation.configuration)
        matching = [p for p in self.pending() if self.space.service_key(p.configuration) == key]
        begun = [p for p in matching if p.number in evaluation.particles or p.number == evaluation.particle]
        return next(iter(begun or matching), None)

    def result_of(self, particle: Particle) -> Metrics | None:
        """The metrics of a particle, or of its twin; None when it failed, was rejected, or is not measured yet."""
        if particle.matched is not None:
            twin = self.twin(particle)
            return self.result_of(twin) if twin is not None else None
        return None if particle.error else particle.metrics

    def twin(self, particle: Particle) -> Particle | None:
        """The particle whose result a matched one took."""
        if particle.matched is None:
            return None
        run, number = particle.matched
        others = (p for p in self.imported.get(run, ()) if p.number == number)
        return self.particles.get(number) if run == self.number else next(others, None)

    def judgement(self, particle: Particle) -> Judgement:
        """The judgement of a particle by the present objective. Failed and unmeasured ones are judged as failed."""
        measured, result = self.twin(particle) or particle, self.result_of(particle)
        if result is None and measured.censored is not None:
            return judged(measured.censored, measured.censored_by, self.settings.objective, measured.devices)
        return judge(result, self.settings.objective, measured.devices)

    def known_of(self, particle: Particle) -> Metrics | None:
        """What its confirmations tell; without any, what the search measured."""
        return particle.confirmed or self.result_of(particle)

    def standing(self, particle: Particle) -> Judgement:
        """The judgement of a particle by the best that is known of it. The search goes by `judgement`, and never by this."""
        known = particle.confirmed
        return judge(known, self.settings.objective, particle.devices) if known else self.judgement(particle)

    def feasible(self, particle: Particle) -> bool:
        """Whether a particle counts as feasible: the recommended one as declared at the end, any other as measured."""
        return self.declared_feasible if particle.number == self.recommended else self.standing(particle).feasible

    def best(self) -> Particle | None:
        """The recommended particle; while there is none, the best one of the search so far."""
        if self.recommended is not None:
            return self.particles.get(self.recommended)
        return next(iter(self.ranked()), None)

    def ranked(self) -> list[Particle]:
        """What was measured and can be recommended, best first by the present objective, hard; earlier ones of equals.

        By the search's measurements alone. By rank and not by fitness: also where the soft formula leads the search,
        who keeps the objectives wins.
        """
        foreign = (p for p in self.particles.values() if p.matched is None or p.matched[0] != self.number)
        counted = (p for p in foreign if not p.unconfirmed and self.result_of(p) is not None)
        measured = sorted(counted, key=lambda p: p.number)
        return [measured[index] for index in rank([self.judgement(p) for p in measured])]


class State(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The state of the daemon: all that its journal says."""

    runs: Numbered[RunState] = msgspec.field(default_factory=Numbered)
    seq: int = 0
    time: float = 0.0
    moment: Moment = ("", 0.0)  # of the last event
    daemon_started_seq: int = 0  # number of the last daemon's start: a clock may be set back
    daemon_started: float | None = None  # of the last daemon that started and did not say that it stopped

    def queue(self) -> list[RunState]:
        """Runs that are not over, in the order in which they are worked on."""
        left = (run for run in self.runs.values() if not run.over)
        return sorted(left, key=lambda run: (run.status == "queued", run.number))
