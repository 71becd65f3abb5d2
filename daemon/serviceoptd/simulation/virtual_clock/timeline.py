"""One benchmark on a virtual clock: requests are sent, batches follow each other, tokens come back. Pure.

The loop jumps from event to event: a batch ends, a request reaches the engine, a scheduler that waits on purpose wakes.
With asynchronous scheduling the next batch is composed while one runs, as vLLM's engine core does: when a batch ends, the
one after the next is composed with what is known then.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from heapq import heappop, heappush

from serviceopt_journal.errors import ServiceoptError
from serviceoptd.simulation.virtual_clock.interface import Batch, Request, Scheduler, StepTimes
from serviceoptd.simulation.virtual_clock.overheads import FrontEnd, Overheads

NEVER = -1.0


class Stuck(ServiceoptError):
    """Requests wait, nothing runs, and nothing will ever change: a fault of a scheduler."""


@dataclass(frozen=True)
class Timeline:
    """What happened, in seconds of the virtual clock; lists are by request, `NEVER` where the server refused it."""

    sent: list[float]
    first_token: list[float]
    last_token: list[float]
    gaps: list[float]  # between two tokens of a request, as the client sees them
    gap_counts: list[int]  # how often each occurred: requests in step share theirs
    ended: float  # when the client had the last token
    steps: int
    busy: float  # seconds in which a batch ran
    preemptions: int


def simulate(
    requests: Sequence[Request],
    scheduler: Scheduler,
    step_times: StepTimes,
    *,
    overheads: Overheads | None = None,
    concurrency: int | None = None,
) -> Timeline:
    """Runs the benchmark on the virtual clock.

    `requests` are in the order of their arrival; `concurrency` None: as many at once as arrive. A conversation holds one
    place from its first turn to its last.

    Raises:
        Stuck: the scheduler composes nothing though requests wait.
    """
    return _Run(requests, scheduler, step_times, overheads or Overheads(), concurrency).timeline()


class _Run:
    def __init__(
        self,
        requests: Sequence[Request],
        scheduler: Scheduler,
        step_times: StepTimes,
        overheads: Overheads,
        concurrency: int | None,
    ) -> None:
        self.requests, self.scheduler, self.step_times = requests, scheduler, step_times
        self.front_end = FrontEnd(overheads)
        count = len(requests)
        self.waiting = deque(number for number, request in enumerate(requests) if request.after is None)
        self.following = {request.after: number for number, request in enumerate(requests) if request.after is not None}
        # when each place of the client becomes free
        self.places = [0.0] * min(len(self.waiting), concurrency or count)
        self.coming: list[tuple[float, int]] = []  # when which request reaches the engine
        self.sent, self.first, self.last = [NEVER] * count, [NEVER] * count, [NEVER] * count
        self.token_times: list[float] = []  # of each batch, at the client
        self.gaps: list[float] = []
        self.gap_counts: list[int] = []
        self.open = 0  # requests sent and not finished
        self.busy = 0.0

    def timeline(self) -> Timeline:
        scheduler, seconds_of, coming = self.scheduler, self.step_times.step_seconds, self.coming
        running: deque[tuple[float, Batch]] = deque()
        now = engine_free = 0.0
        self.send()
        while self.open:
            while coming and coming[0][0] <= now:
                arrived, request = heappop(coming)
                scheduler.add(request, arrived)
            batch = scheduler.schedule(now)
            if batch is not None:
                seconds = seconds_of(batch)
                engine_free = max(now, engine_free) + seconds
                self.busy += seconds
                running.append((engine_free, batch))
                if len(running) < scheduler.in_flight:
                    continue
            if running:
                now, batch = running.popleft()
                scheduler.complete(batch)
                self.deliver(now, batch)
            else:
                now = self.next_event(now)
        return Timeline(
            sent=self.sent,
            first_token=self.first,
            last_token=self.last,
            gaps=self.gaps,
            gap_counts=self.gap_counts,
            ended=self.token_times[-1] if self.token_times else 0.0,
            steps=len(self.token_times),
            busy=self.busy,
            preemptions=scheduler.preemptions,
        )

    def next_event(self, now: float) -> float:
        """When an idle engine has something to do again."""
        wakes = self.scheduler.wakes(now)
        events = [time for time in (wakes, self.coming[0][0] if self.coming else None) if time is not None]
        if not events:
            raise Stuck(
                f"{self.open} requests wait at {now} s of the simulation, and none of them can run",
                hint="this is a fault of the simulated scheduler: report it with its limits",
            )
        return min(events)

    def send(self) -> None:
        """Requests for which the client has a place, in the order of their arrival; the longest free place first."""
        while self.waiting and self.places:
            number = self.waiting.popleft()
            self.send_at(number, max(self.requests[number].arrival, heappop(self.places)))

    def send_at(self, number: int, sent: float) -> None:
        """Sends this request; refused, it takes the turns that would follow with it."""
        self.sent[number] = sent
        if not self.scheduler.accepts(number):
            heappush(self.places, sent)
            return
        self.open += 1
        heappush(self.coming, (self.front_end.reaches_engine(sent, self.requests[number].prompt_tokens), number))

    def deliver(self, ended: float, batch: Batch) -> None:
        """What the client sees of a batch."""
        first, times = batch.first, self.token_times
        tokens = len(first) + sum(count for _, count in batch.gaps)
        seen = self.front_end.reaches_client(ended, tokens)
        times.append(seen)
        for before, count in batch.gaps:
            self.gaps.append(seen - times[before])
            self.gap_counts.append(count)
        for request in first:
            self.first[request] = seen
        for request in batch.finished:
            self.last[request] = seen
            if self.following and request in self.following:
                self.send_at(self.following[request], seen)
            else:
                heappush(self.places, seen)
        if batch.finished:
            self.open -= len(batch.finished)
            self.send()
