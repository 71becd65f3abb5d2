"""What is true after a list of events. The fold itself is `evolve.py`; what is due next is `policy.py`.

A state has no cycles, so the cyclic collector need not search it (`gc=False`): a long replay would pay for that many times.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from operator import attrgetter
from typing import Literal

import msgspec

from serviceopt_journal.events import Configuration, EditedFile, SurroundingsFailed
from serviceopt_journal.metrics import Metrics
from serviceopt_journal.proof import Proof
from serviceoptd.domain.failures import Failed
from serviceoptd.domain.numbered import Numbered
from serviceoptd.domain.objective import Judgement, judge, standing
from serviceoptd.domain.particles.particle import BEYOND_THE_SEARCH, Imported, Particle, Place, own_place
from serviceoptd.domain.settings import RunSettings
from serviceoptd.domain.space.space import Space

__all__ = [
    "BEYOND_THE_SEARCH",
    "Evaluation",
    "Imported",
    "Measurement",
    "Moment",
    "Particle",
    "Phase",
    "RunState",
    "State",
]

Moment = tuple[str, float]  # boot id, and monotonic seconds, which compare under the same boot alone
Phase = Literal["launching", "launched", "ready", "failed", "stopping", "stopped", "interrupted", "finished"]
_admitted = attrgetter("admitted")


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
    imported: dict[int, Numbered[Particle]] = {}  # results taken from earlier runs, by run
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
        return sum(self.particles.made(_admitted))

    def pending(self) -> Iterator[Particle]:
        """Admitted particles for which something is still due, oldest first."""
        return self.particles.made(Particle.unsettled, self.settings.measuring.repeats)

    def due_on(self, evaluation: Evaluation) -> Particle | None:
        """The particle to be measured next on this service: one whose service parameters are the running ones."""
        key = self.space.service_key(evaluation.configuration)
        matching = [p for p in self.pending() if self.space.service_key(p.configuration) == key]
        begun = [p for p in matching if p.number in evaluation.particles or p.number == evaluation.particle]
        return next(iter(begun or matching), None)

    def result_of(self, particle: Particle) -> Metrics | None:
        """The metrics of a particle, or of its twin; None when it failed, was rejected, or is not measured yet."""
        return (self.twin(particle) or particle).result

    def twin(self, particle: Particle) -> Particle | None:
        """The particle whose result a matched one took."""
        if particle.matched is None:
            return None
        run, number = particle.matched
        held = self.particles if run == self.number else self.imported.get(run)
        return held.get(number) if held is not None else None

    def judgement(self, particle: Particle) -> Judgement:
        """The judgement of a particle by the present objective. Failed and unmeasured ones are judged as failed."""
        return (self.twin(particle) or particle).judgement(self.settings.objective)

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
        first = min(self._places(), default=None)
        return first[-1] if first is not None else None

    def ranked(self) -> list[Particle]:
        """What was measured and can be recommended, best first by the present objective, hard; earlier ones of equals.

        By the search's measurements alone. By rank and not by fitness: also where the soft formula leads the search,
        who keeps the objectives wins.
        """
        return [particle for *_, particle in sorted(self._places())]

    def _places(self) -> Iterator[Place]:
        taken = (p for p in self.particles.made(_taken, self.number) if self.result_of(p) is not None)
        return chain(
            self.particles.made(own_place, self.settings.objective),
            ((standing(self.judgement(p)), p.number, p) for p in taken if not p.unconfirmed),
        )


def _taken(particle: Particle, own: int) -> Particle | None:
    """A particle that took its result from another run than its own."""
    return particle if particle.matched is not None and particle.matched[0] != own else None


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
        return sorted(self.runs.made(_left), key=lambda run: (run.status == "queued", run.number))


def _left(run: RunState) -> RunState | None:
    return None if run.over else run
