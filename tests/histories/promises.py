"""What has to hold in every history: docs/guarantees.md, in the words of events and processes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from histories.programs import Programs
from histories.world import Process, World
from serviceopt_journal import events as e
from serviceopt_journal.codec import Recorded
from serviceoptd.domain.evolve import fold
from serviceoptd.domain.state import State

CLOSE = 1e-6


@dataclass
class Promises:
    """Watches one history; `broken` has a line for each promise that did not hold."""

    world: World
    programs: Programs
    bystander: Process
    broken: list[str] = field(default_factory=list)
    began: float = 0.0
    _launches: dict[tuple[int, int, int], str] = field(default_factory=dict)  # run, evaluation, attempt -> launch id
    _clients: dict[tuple[int, int, int, int], str] = field(default_factory=dict)
    _finished: set[tuple[int, int, int]] = field(default_factory=set)
    _announced: set[str] = field(default_factory=set)

    def _break(self, promise: str, told: str) -> None:
        self.broken.append(f"{promise}: {told} (at {self.world.clock.now:.3f} s)")

    def at_start_of(self, process: Process) -> None:
        """When a process is started."""
        if process.kind in ("service", "client") and process.launch_id not in self._announced:
            self._break("announced", f"{process.kind} {process.pid} was started before an event announced it")
        services = self.world.living("service")
        if process.kind == "service" and len(services) > 1:
            self._break("one at a time", f"services {', '.join(str(each.pid) for each in services)} run at once")
        clients = self.world.living("client")
        if process.kind == "client" and len(clients) > 1:
            self._break("one at a time", f"clients {', '.join(str(each.pid) for each in clients)} run at once")

    def at(self, record: Recorded, state: State) -> None:
        """When an event has been committed."""
        event = record.event
        match event:
            case e.ServiceLaunching():
                self._launches[(event.run, event.evaluation, event.attempt)] = event.launch_id
                self._announced.add(event.launch_id)
            case e.MeasurementStarted():
                key = (event.run, event.evaluation, event.measurement, event.attempt)
                self._clients[key] = event.launch_id
                self._announced.add(event.launch_id)
            case e.MeasurementFinished():
                self._is_true(event)
            case e.MeasurementFailed():
                self._is_to_blame(event)
            case e.ServiceFailed():
                self._service_is_to_blame(event)
        self._lasted(event)

    def _is_true(self, event: e.MeasurementFinished) -> None:
        once = (event.run, event.evaluation, event.measurement)
        if once in self._finished:
            self._break("measured once", f"measurement {once} was finished twice")
        self._finished.add(once)
        wrote = self.programs.wrote.get(self._clients[(*once, event.attempt)])
        if not event.stopped_early and (wrote is None or abs(wrote - event.metrics.generate_speed) > CLOSE):
            told = "nothing that counts" if wrote is None else f"{wrote:g} tokens/s"
            self._break("true", f"measurement {once} counts {event.metrics.generate_speed:g}, its client wrote {told}")

    def _is_to_blame(self, event: e.MeasurementFailed) -> None:
        client = self._clients[(event.run, event.evaluation, event.measurement, event.attempt)]
        launches = [
            launch
            for (run, number, _), launch in self._launches.items()
            if (run, number) == (event.run, event.evaluation)
        ]
        if not {client, *launches} & self.programs.blamed.keys():
            self._break(
                "blameless", f"evaluation {event.evaluation} failed by no fault of its programs: {event.reason}"
            )

    def _service_is_to_blame(self, event: e.ServiceFailed) -> None:
        launch = self._launches[(event.run, event.evaluation, event.attempt)]
        clients = {
            client
            for (run, number, *_), client in self._clients.items()
            if (run, number) == (event.run, event.evaluation)
        }
        if not {launch, *clients} & self.programs.blamed.keys():
            self._break("blameless", f"launch {event.evaluation} failed by no fault of its programs: {event.reason}")

    def _lasted(self, event: e.Event) -> None:
        elapsed = self.world.clock.now - self.began
        for name in ("seconds", "waited"):
            value = getattr(event, name, 0.0) or 0.0
            if not -CLOSE <= value <= elapsed + CLOSE:
                self._break("durations", f"{type(event).__name__}.{name} is {value:g} s after {elapsed:g} s in all")

    def at_end_of_life(self, records: Sequence[Recorded], state: State) -> None:
        """When a daemon has ended, however."""
        told = State()
        for record in records[: state.seq]:
            told = fold(told, record)
        if told != state:
            self._break("replay", f"the records up to {state.seq} do not make the state that the daemon had")

    def after_an_orderly_end(self) -> None:
        """When the daemon has ended by itself: nothing of its launches may run."""
        if left := self.world.living("service", "client", "helper"):
            self._break("nothing left", ", ".join(f"{each.kind} {each.pid}" for each in left))

    def at_end(self, records: Sequence[Recorded], state: State) -> None:
        """When every run is over."""
        if not self.bystander.alive or self.world.signalled["bystander"]:
            self._break("bystander", "a process of somebody else was signalled")
        self._closed([record.event for record in records])
        for run in state.runs.values():
            if run.admitted > run.settings.budget.evaluations:
                self._break("budget", f"run {run.number} took {run.admitted} of {run.settings.budget.evaluations}")
            if run.recommended is not None and run.result_of(run.particles[run.recommended]) is None:
                self._break("recommended", f"run {run.number} recommends what it never measured")

    def _closed(self, events: Sequence[e.Event]) -> None:
        open_: dict[tuple[int, int, int], str] = {}
        for event in events:
            match event:
                case e.ServiceLaunching():
                    key = (event.run, event.evaluation, event.attempt)
                    if open_:
                        self._break("closed", f"{key} was launched while {list(open_)} was open")
                    open_[key] = event.launch_id
                case e.ServiceStopped() | e.EvaluationInterrupted():
                    key = (event.run, event.evaluation, event.attempt)
                    if open_.pop(key, None) is None:
                        self._break("closed", f"launch {key} has a second end")
        for key in open_:
            self._break("closed", f"launch {key} has no end")
