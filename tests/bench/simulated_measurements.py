"""Measurements of services that queue, batch and waver, request by request: what their /metrics would have told.

A closed loop keeps `concurrency` requests in flight, an open one sends them at a mean rate. A request waits for one of
`slots`, then for its turn in the prefill, then is decoded at a speed that depends on how many run with it and on the
service's mood: a slow autoregressive process, which makes neighbouring latencies alike.
"""

from __future__ import annotations

import heapq
import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from random import Random

from serviceopt_journal.metrics import Metrics
from serviceoptd.domain.stopping.service_counters import Counters, Distribution

EDGES = (
    0.01,
    0.02,
    0.04,
    0.06,
    0.08,
    0.1,
    0.25,
    0.5,
    0.75,
    1.0,
    2.5,
    5.0,
    7.5,
    10.0,
    20.0,
    40.0,
    80.0,
    160.0,
    math.inf,
)
"""Buckets of vLLM's TTFT histogram."""


@dataclass(frozen=True)
class Scenario:
    """What is measured."""

    name: str
    requests: int = 600
    concurrency: int | None = 32
    rate: float = 0.0  # requests/s of an open loop
    slots: int = 1000
    lengths: float = 0.5  # spread of the output lengths, log scale; 0: all alike
    mood: float = 0.1  # standard deviation of the slow process, log scale
    memory: float = 20.0  # seconds until it has forgotten
    drift: float = 0.0  # how much slower it is at first, and at its end how much faster; over the first 100 s


SCENARIOS = (
    Scenario("closed loop"),
    Scenario("closed loop, equal lengths", lengths=0.0),
    Scenario("closed loop, long queue", concurrency=96, slots=24),
    Scenario("closed loop, strong slow noise", mood=0.25, memory=40.0),
    Scenario("closed loop, slow at first", drift=0.4),
    Scenario("closed loop, slower and slower", drift=-0.4),
    Scenario("few in flight", requests=300, concurrency=4),
    Scenario("long and steady", requests=1500, concurrency=16, mood=0.01),
    Scenario("open loop, half loaded", concurrency=None, rate=2.0, slots=64),
    Scenario("open loop, nearly full", concurrency=None, rate=5.0, slots=32),
    Scenario("open loop, overloaded", concurrency=None, rate=6.0, slots=32),
)


@dataclass(frozen=True)
class Request:
    """When it was sent, when its first token came, when its last, and how many there were."""

    sent: float
    first: float
    ended: float
    tokens: int


@dataclass(frozen=True)
class Measurement:
    """A complete one."""

    scenario: Scenario
    done: tuple[Request, ...]

    def final(self) -> Metrics:
        """What a client would report at the end that sees exactly what the service sees."""
        duration = max(r.ended for r in self.done)
        tokens, count = sum(r.tokens for r in self.done), len(self.done)
        ttft, tpot = sorted(r.first - r.sent for r in self.done), [_tpot(r) for r in self.done]
        return Metrics(
            generate_speed=tokens / duration, throughput=count / duration, success_rate=1.0, completed=count, failed=0,
            duration=duration, ttft={"mean": sum(ttft) / count, "p90": ttft[math.floor((count - 1) * 0.9)]},
            tpot={"mean": sum(tpot) / count}, output_tokens=tokens,
        )  # fmt: skip

    def looks(self, interval: float) -> list[Counters]:
        """What a look every `interval` seconds finds, from the start until the last request has ended."""
        end = max(r.ended for r in self.done)
        firsts = sorted((r.first, r.first - r.sent) for r in self.done)
        ends = sorted((r.ended, _tpot(r)) for r in self.done)
        tokens = _tokens_at(self.done)
        sent = sorted(r.sent for r in self.done)
        found = []
        for step in range(math.ceil(end / interval) + 1):
            now = step * interval
            finished = bisect_right(ends, (now, math.inf))
            found.append(
                Counters(
                    time=now,
                    latencies={
                        "ttft": _histogram([value for _, value in firsts[: bisect_right(firsts, (now, math.inf))]]),
                        "tpot": _histogram([value for _, value in ends[:finished]]),
                    },
                    tokens=tokens(now),
                    finished=finished,
                    in_flight=bisect_right(sent, now) - finished,
                )
            )
        return found


def measured(scenario: Scenario, seed: int) -> Measurement:
    """One measurement; the same seed gives the same."""
    random = Random(f"{scenario.name} {seed}")
    mood = _Mood(scenario, random)
    due = _arrivals(scenario, random)
    waiting = [(time, number) for number, time in enumerate(due)]
    heapq.heapify(waiting)
    running: list[float] = []  # ends
    done: list[Request] = []
    prefill_free, sent_so_far = 0.0, len(due)
    while waiting:
        sent, _ = heapq.heappop(waiting)
        begin = sent
        while running and (running[0] <= begin or len(running) >= scenario.slots):
            begin = max(begin, heapq.heappop(running))
        factor = mood.at(begin)
        prefill_free = max(prefill_free, begin) + 0.04 * factor * random.lognormvariate(0.0, 0.3)
        first = prefill_free
        tokens = max(2, round(200 * random.lognormvariate(-(scenario.lengths**2) / 2, scenario.lengths)))
        step = (0.01 + 0.0006 * (len(running) + 1)) * factor * random.lognormvariate(0.0, 0.05)
        ended = first + step * (tokens - 1)
        heapq.heappush(running, ended)
        done.append(Request(sent, first, ended, tokens))
        if scenario.concurrency is not None and sent_so_far < scenario.requests:
            heapq.heappush(waiting, (ended, sent_so_far))
            sent_so_far += 1
    return Measurement(scenario, tuple(done))


class _Mood:
    """A first-order autoregressive process on a grid of seconds, and a drift that fades."""

    def __init__(self, scenario: Scenario, random: Random) -> None:
        self._scenario, self._random = scenario, random
        self._values = [random.gauss(0.0, scenario.mood)]

    def at(self, time: float) -> float:
        keep = math.exp(-1.0 / self._scenario.memory)
        while len(self._values) <= time:
            fresh = self._random.gauss(0.0, self._scenario.mood * math.sqrt(1 - keep**2))
            self._values.append(keep * self._values[-1] + fresh)
        drift = self._scenario.drift * max(-1.0, 1.0 - time / 50.0)
        return math.exp(self._values[int(time)] + drift)


def _arrivals(scenario: Scenario, random: Random) -> list[float]:
    """The first wave of a closed loop, or every request of an open one."""
    if scenario.concurrency is not None:
        return [0.0] * min(scenario.concurrency, scenario.requests)
    return list(accumulate(random.expovariate(scenario.rate) for _ in range(scenario.requests)))


def _tpot(request: Request) -> float:
    return (request.ended - request.first) / (request.tokens - 1)


def _histogram(values: Sequence[float]) -> Distribution:
    ordered = sorted(values)
    return Distribution(len(values), sum(values), tuple((edge, bisect_right(ordered, edge)) for edge in EDGES))


def _tokens_at(done: Sequence[Request]) -> Callable[[float], float]:
    def tokens(now: float) -> float:
        return float(
            sum(
                r.tokens if r.ended <= now else 1 + int((now - r.first) / (r.ended - r.first) * (r.tokens - 1))
                for r in done
                if r.first <= now
            )
        )

    return tokens
