"""Waiting for a process: until it is ready, or until something says that it is over."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Literal

from serviceoptd.domain.failures import LOG_ENDS, TIME_LIMIT
from serviceoptd.domain.settings import LogPatterns
from serviceoptd.toolkit.ended_logs.root_cause import Cause, kind_of, root_cause
from serviceoptd.toolkit.interface import HttpProbe, LogProbe, Probe

from .child import Child
from .http_probe import CLOSED, TLS, Answer, speaks_tls, told
from .http_probe import probe as ask
from .log_follower import LogFollower, Match, scan

OURS = "serviceopt: "
"""What a program of ours puts before its own words among an engine's."""
_EAGER = 2.0  # seconds during which a process that is done at once is looked at five times as often
_LONGEST_INTERVAL = 0.05


@dataclass(frozen=True)
class Readiness:
    """How the wait ended. `reason` is empty when ready."""

    ready: bool
    waited: float  # seconds
    kind: Literal["ready", "exited", "fatal", "retryable", "timeout"]
    reason: str = ""
    exit_status: int | None = None  # of the child, where it has ended
    cause: str = ""  # the kind of failure that the log tells (domain/failures.py), or that of the pattern in it


async def ready(
    probe: Probe | tuple[Probe, ...] | None,
    *,
    follower: LogFollower,
    child: Child | None,
    limit: float,
    patterns: LogPatterns,
    interval: float = _LONGEST_INTERVAL,
    http_limit: float = 5.0,
    snippet_length: int = 200,
) -> Readiness:
    """Waits for the first of: the good answer, the child's end, a fatal or retryable log line, `limit` seconds.

    What the log says comes before the child's exit status, and that before an answer: somebody else may listen on the
    port of a service that has ended. `interval`: seconds between two looks at the log or requests, 0.05 at most.
    `http_limit`: seconds for one request. `probe` None: ready at once, if the log and the child allow; of several
    probes each has to be good once, in any order.
    """
    signs = _SignsOfLife(probe, interval, http_limit)
    try:
        return await _wait(
            signs,
            follower=follower,
            child=child,
            limit=limit,
            patterns=patterns,
            interval=interval,
            snippet_length=snippet_length,
        )
    finally:
        await signs.forget()


class _SignsOfLife:
    """What is waited for: each probe has to be good once, in any order. The answers are asked for in the background."""

    def __init__(self, probe: Probe | tuple[Probe, ...] | None, interval: float, http_limit: float) -> None:
        probes = probe if isinstance(probe, tuple) else () if probe is None else (probe,)
        self._latest: dict[HttpProbe, Answer] = {}
        self.answers = [
            asyncio.ensure_future(_good_answer(each, interval, http_limit, self._latest))
            for each in probes
            if isinstance(each, HttpProbe)
        ]
        self._unsaid = {each.text for each in probes if isinstance(each, LogProbe)}

    def seen(self, lines: list[str]) -> bool:
        """Whether all were good by now. Raises what must not pass for an answer."""
        self._unsaid -= {text for text in self._unsaid if any(text in line for line in lines)}
        for answer in self.answers:
            if answer.done():
                answer.result()
        return not self._unsaid and all(answer.done() for answer in self.answers)

    def missing(self) -> str:
        """What was not good yet, and what came back last."""
        asked = [told(each, answer) for each, answer in self._latest.items() if answer.status != each.status]
        return "; ".join([*asked, *(f"its output did not contain {text!r}" for text in sorted(self._unsaid))])

    async def forget(self) -> None:
        """Asks no more."""
        for answer in self.answers:
            answer.cancel()
        await asyncio.gather(*self.answers, return_exceptions=True)


async def watch(
    *,
    follower: LogFollower,
    child: Child | None,
    limit: float,
    patterns: LogPatterns,
    interval: float = _LONGEST_INTERVAL,
    snippet_length: int = 200,
) -> Readiness:
    """Watches a process that has nothing to become ready for: a client that should end, a service that should not."""
    return await _wait(
        None,
        follower=follower,
        child=child,
        limit=limit,
        patterns=patterns,
        interval=interval,
        snippet_length=snippet_length,
    )


async def _wait(
    signs: _SignsOfLife | None,
    *,
    follower: LogFollower,
    child: Child | None,
    limit: float,
    patterns: LogPatterns,
    interval: float,
    snippet_length: int,
) -> Readiness:
    begun = time.monotonic()
    since = follower.position
    ended = asyncio.ensure_future(child.wait()) if child is not None else None
    try:
        while True:
            status = child.exit_status if child is not None else None
            waited = time.monotonic() - begun
            lines = follower.lines(ended=status is not None)
            if match := _worst(lines, patterns):
                cause = kind_of(match.line) or match.kind
                return Readiness(False, waited, match.severity, match.reason(snippet_length), status, cause)
            if status is not None:
                found = root_cause(follower.written_since(since))
                reason = exit_reason(status) + _told(found, follower, snippet_length)
                return Readiness(False, waited, "exited", reason, status, found.kind if found else "")
            if signs is not None and signs.seen(lines):
                return Readiness(True, waited, "ready")
            if waited >= limit:
                what = f": {said}" if signs is not None and (said := signs.missing()) else ""
                found = root_cause(follower.written_since(since))
                reason = f"{TIME_LIMIT}{limit:g} s{what}{_told(found, follower, snippet_length)}"
                return Readiness(False, waited, "timeout", reason, cause=found.kind if found else "")
            pause = min(interval, _LONGEST_INTERVAL, limit - waited) / (5 if waited < _EAGER else 1)
            # those that are done would end the pause at once
            awaited = [
                future
                for future in (ended, *(signs.answers if signs else ()))
                if future is not None and not future.done()
            ]
            if awaited:
                await asyncio.wait(awaited, timeout=pause, return_when=asyncio.FIRST_COMPLETED)
            else:
                await asyncio.sleep(pause)
    finally:
        if ended is not None:
            ended.cancel()
            await asyncio.gather(ended, return_exceptions=True)


async def _good_answer(probe: HttpProbe, interval: float, http_limit: float, latest: dict[HttpProbe, Answer]) -> None:
    """Ends with the good answer; until then `latest` has what came back last."""
    begun = time.monotonic()
    handshakes = 1  # one is enough to know, and may be the cause of a line in the service's log
    while (answer := await ask(probe, http_limit)).status != probe.status:
        if answer.error == CLOSED and handshakes:
            handshakes -= 1
            answer = Answer(None, error=TLS) if await speaks_tls(probe, http_limit) else answer
        known = latest.get(probe)
        latest[probe] = known if known and known.error == TLS and answer.error == CLOSED else answer
        eager = time.monotonic() - begun < _EAGER
        await asyncio.sleep(min(interval, _LONGEST_INTERVAL) / (5 if eager else 1))
    latest[probe] = answer


def _worst(lines: list[str], patterns: LogPatterns) -> Match | None:
    """The first fatal line, otherwise the first retryable one: what caused an end may come before what ended it."""
    matches = [match for line in lines if (match := scan(line, patterns))]
    return next((match for match in matches if match.severity == "fatal"), matches[0] if matches else None)


def exit_reason(status: int) -> str:
    """How a process ended (`status` as `Child.wait` gives it)."""
    return f"ended by signal {-status}" if status < 0 else f"exited with status {status}"


def _told(found: Cause | None, follower: LogFollower, length: int) -> str:
    """The beginning of the line that shows why; where none does, the end of the log; `length` characters of either."""
    said = follower.tail(length)
    if found is not None and length > 0:
        # what a supervisor of ours says at the end is the step that failed; the line that shows why stood before it
        _, ours, step = said.rpartition(OURS)
        told = f"; {found.kind or 'its log says'}: {found.line[:length].rstrip()}"
        return f"; {step.strip()}{told}" if ours and step.strip() not in told else told
    return f"{LOG_ENDS}{said}" if said else "; its log is empty"
