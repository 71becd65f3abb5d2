"""One load: the real client with detailed results, and the steps that the engine made for these requests."""

from __future__ import annotations

import asyncio
import csv
import json
import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from serviceopt_journal.errors import EnvironmentLacks
from serviceopt_journal.foreign_files import lines
from serviceoptd.benchmarks.interface import Benchmark, ClientOutcome, MeasurementOrder
from serviceoptd.benchmarks.result_checks import result_in
from serviceoptd.benchmarks.vllm_benchmark.result import parsed
from serviceoptd.domain.settings import RunSettings
from serviceoptd.io.http_probe import probe
from serviceoptd.io.log_follower import LogFollower
from serviceoptd.io.processes import Child, spawn, stop
from serviceoptd.io.readiness import watch
from serviceoptd.profiling.data.recorded_steps import LARGEST_RECORDING
from serviceoptd.profiling.recording.recorded_service import LOG, TRIED, NotServed, RecordedService, complaint

DETAILED = "--save-detailed"
CLIENT_LOG = "client.log"
CLIENT_GRACE = 5.0  # seconds from SIGTERM to SIGKILL
TEXTS = ("generated_texts",)  # what was answered teaches nothing, and may be private


class NotMeasured(EnvironmentLacks):
    """The client gave no result that can be learnt from; another load may do."""


async def measure(
    service: RecordedService, benchmark: Benchmark, order: MeasurementOrder, settings: RunSettings, target: Path
) -> int:
    """Measures once and writes `target`.json, the client's result, and `target`.csv, the steps. Both or neither.

    Returns:
        The number of steps.

    Raises:
        NotMeasured: the client failed, or some of its requests did.
        NotServed: the service failed meanwhile.
    """
    if service.plan.reset_cache is not None:
        await probe(service.plan.reset_cache, settings.limits.http)
    plan, place = benchmark.plan(order), order.workplace
    assert plan.command is not None  # noqa: S101 - the client is a process
    detailed = () if DETAILED in plan.command.argv else (DETAILED,)
    plan = replace(plan, command=replace(plan.command, argv=(*plan.command.argv, *detailed)))
    assert plan.command is not None  # noqa: S101 - the client is a process
    output = place.directory / CLIENT_LOG
    client = await spawn(
        plan.command,
        environment=place.environment,
        working_directory=place.working_directory,
        launch_id=os.urandom(16).hex(),
        output=output,
    )
    try:
        status = await _exit_status(client, output, service, settings)
    finally:
        await stop(client, grace=CLIENT_GRACE)
    outcome = ClientOutcome(exit_status=status, output=output, order=order, plan=plan)
    metrics = benchmark.read(outcome)
    if metrics.failed:
        raise NotMeasured(f"{metrics.failed} requests failed", hint=f"the client's output: {output}")
    (result,) = (plan.artefacts or {}).values()
    document = parsed(result_in(result, outcome), result.name)
    steps = list(_steps(service.steps, *_while_measured(document, output)))
    found = complaint(service.steps.with_name(LOG))
    if found or len(steps) < 2:
        raise NotMeasured(f"the steps were not recorded: {found or 'the service has another clock'}", hint=TRIED)
    kept = {key: value for key, value in document.items() if key not in TEXTS}
    _write(target.with_suffix(".json"), json.dumps(kept))
    _write(target.with_suffix(".csv"), "".join(steps))
    result.unlink()
    return len(steps) - 1


async def _exit_status(client: Child, output: Path, service: RecordedService, settings: RunSettings) -> int:
    length = settings.measuring.log_snippet_length
    watching = [
        asyncio.ensure_future(
            watch(follower=follower, child=child, limit=limit, patterns=patterns, snippet_length=length)
        )
        for follower, child, limit, patterns in (
            (LogFollower(output), client, settings.limits.measurement, settings.benchmark_errors),
            (service.log, service.child, math.inf, settings.service_errors),
        )
    ]
    try:
        await asyncio.wait(watching, return_when=asyncio.FIRST_COMPLETED)
        of_client, of_service = watching
        if of_service.done():
            raise NotServed(f"the service failed while it was measured: {of_service.result().reason}")
        ended = of_client.result()
    finally:
        for each in watching:
            each.cancel()
        await asyncio.gather(*watching, return_exceptions=True)
    if ended.kind != "exited" or ended.exit_status is None:
        raise NotMeasured(f"the client failed: {ended.reason}", hint=f"its output: {output}")
    return ended.exit_status


def _while_measured(document: Mapping[str, Any], output: Path) -> tuple[float, float]:
    """From the first measured request's sending until the last token, in seconds of the monotonic clock.

    So warm-up requests, and the one by which the client looks whether the service answers, are no part of it.
    """
    try:
        starts, firsts, gaps = document["start_times"], document["ttfts"], document["itls"]
        ends = [start + first + sum(later) for start, first, later in zip(starts, firsts, gaps, strict=True)]
        return min(starts), max(ends)
    except (KeyError, TypeError, ValueError) as error:
        raise NotMeasured(
            f"the client's result lacks {error}, the times of single requests",
            hint=f"a `vllm bench serve` with {DETAILED} is needed; its output: {output}",
        ) from error


def _steps(recording: Path, begin: float, end: float) -> Iterator[str]:
    """The header, and the lines of the steps composed in this time. Whole lines only: the service writes on."""
    found = (line.decode() for line in lines(recording, LARGEST_RECORDING))
    header = next(found)
    place = next(csv.reader([header])).index("t0")
    yield header
    for line in found:
        if line.endswith("\n") and begin <= float(line.split(",", place + 1)[place]) <= end:
            yield line


def _write(path: Path, text: str) -> None:
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)
