"""Waiting for a benchmark client: until it ends, its service fails, or nobody needs the rest of it."""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from serviceopt_journal.metrics import Metrics
from serviceoptd.domain.state import RunState
from serviceoptd.domain.stopping.early_stopping import Verdict
from serviceoptd.evaluating.launching import LiveService
from serviceoptd.io.log_follower import LogFollower
from serviceoptd.io.processes import Child
from serviceoptd.io.readiness import watch

Kind = Literal["fatal", "retryable", "exited", "timeout", "unusable", "service"]


@dataclass(frozen=True)
class Failure:
    """Why a measurement does not count. `service`: the service is to blame, in these words."""

    kind: Kind
    reason: str
    exit_status: int | None = None
    metrics: Metrics | None = None
    service: Literal["fatal", "retryable", "exited"] | None = None


async def watch_service(run: RunState, live: LiveService) -> Failure:
    """Returns only when the service fails."""
    if live.child is None:  # simulated, or somebody else's: its log is not ours to read
        await asyncio.Event().wait()
    failed = await watch(
        follower=live.log,
        child=live.child,
        limit=math.inf,
        patterns=run.settings.service_errors,
        snippet_length=run.settings.measuring.log_snippet_length,
    )
    if live.ended_by_us:
        return Failure("service", "the service was stopped while the disk was full", service="retryable")
    if failed.kind == "exited":
        reason = f"the service ended while it was measured: {failed.reason}"
        return Failure("service", reason, failed.exit_status, service="exited")
    blamed: Literal["fatal", "retryable"] = "fatal" if failed.kind == "fatal" else "retryable"
    return Failure("service", f"the service's log says: {failed.reason}", failed.exit_status, service=blamed)


async def watch_client(
    run: RunState,
    client: Child,
    output: Path,
    service: asyncio.Future[Failure],
    early: asyncio.Future[Verdict],
) -> int | Failure | Verdict:
    """The client's exit status, or why it was not waited for: `service` has failed, or `early` says so."""
    watching = asyncio.ensure_future(
        watch(
            follower=LogFollower(output),
            child=client,
            limit=run.settings.limits.measurement,
            patterns=run.settings.benchmark_errors,
            snippet_length=run.settings.measuring.log_snippet_length,
        )
    )
    try:
        any_of: list[asyncio.Future[Any]] = [watching, service, early]
        await asyncio.wait(any_of, return_when=asyncio.FIRST_COMPLETED)
        if service.done():
            return service.result()
        if early.done() and not watching.done():
            return early.result()
        ended = watching.result()
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
    if ended.kind == "exited" and ended.exit_status is not None:
        return ended.exit_status
    if ended.kind == "timeout":
        return Failure("timeout", f"the client did not end: {ended.reason}")
    severity: Kind = "fatal" if ended.kind == "fatal" else "retryable"
    return Failure(severity, f"the client's output says: {ended.reason}", ended.exit_status)
