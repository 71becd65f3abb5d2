"""Reads what a client measured while steps were recorded: the very requests, the scheduler's limits, and the figures."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import msgspec

from serviceopt_journal.codec import UNDECODABLE
from serviceopt_journal.errors import InvalidConfiguration
from serviceopt_journal.foreign_files import content
from serviceoptd.benchmarks.result_checks import LARGEST_RESULT
from serviceoptd.benchmarks.vllm_benchmark.result import metrics_of, parsed
from serviceoptd.simulation.schedulers.limits import limits
from serviceoptd.simulation.schedulers.vllm_limits import VllmLimits
from serviceoptd.simulation.step_times.profile_data import ProfileRejected, RecordedLoad
from serviceoptd.simulation.virtual_clock.interface import Request
from serviceoptd.toolkit.interface import UnusableResult

DESCRIPTION = "configuration.json"
"""What was served; lies beside its recordings, and says that each of them has its client's result."""

Times = list[float]


class _Description(msgspec.Struct):
    limits: dict[str, Any]  # by the names of VllmLimits


class _Requests(msgspec.Struct):
    """Of `vllm bench serve --save-detailed`, by request."""

    start_times: Times  # seconds of the client's clock; when it was sent, after its wait for a place
    input_lens: list[int]
    output_lens: list[int]
    ttfts: Times
    itls: list[Times]
    duration: float
    request_rate: float | str
    max_concurrency: int | None = None
    queue_times: Times | None = None  # seconds that it waited for a place; not told by older clients


def read_load(recording: Path, *, run: str) -> RecordedLoad | None:
    """What belongs to a recording: FILE.json beside FILE.csv, and the directory's `configuration.json`.

    None: the directory has no `configuration.json`, so these are steps and nothing else.

    Raises:
        ProfileRejected: one of the two cannot be used; names it.
    """
    description, result = recording.with_name(DESCRIPTION), recording.with_suffix(".json")
    if not description.is_file():
        return None
    if not result.is_file():
        raise ProfileRejected(result, "is missing", hint=f"measure again with `profile`, or remove {recording}")
    told = _decoded(description, _Description)
    try:
        scheduler = limits("vllm", told.limits)
    except InvalidConfiguration as error:
        raise ProfileRejected(description, error.message) from error
    assert isinstance(scheduler, VllmLimits)  # noqa: S101 - asked for
    sent = _decoded(result, _Requests)
    try:
        measured = metrics_of(parsed(content(result, LARGEST_RESULT, through_links=True), result.name))
    except UnusableResult as error:
        raise ProfileRejected(result, error.message) from error
    if measured.failed:
        raise ProfileRejected(result, f"{measured.failed} requests failed", hint="measure this load again")
    return RecordedLoad(run, _requests(sent, result), scheduler, sent.max_concurrency, measured)


def _decoded(path: Path, kind: type[Any]) -> Any:
    try:
        return msgspec.json.decode(content(path, LARGEST_RESULT, through_links=True), type=kind)
    except (OSError, *UNDECODABLE) as error:
        hint = "a client's result needs --save-detailed" if kind is _Requests else ""
        raise ProfileRejected(path, f"cannot be used: {error}", hint=hint) from error


def _requests(sent: _Requests, path: Path) -> tuple[Request, ...]:
    columns = (sent.start_times, sent.input_lens, sent.output_lens, sent.ttfts, sent.itls)
    if not sent.start_times or len({len(column) for column in columns}) > 1:
        raise ProfileRejected(
            path, "start_times, input_lens, output_lens, ttfts and itls do not describe the same requests"
        )
    if min(*sent.input_lens, *sent.output_lens) < 1:
        raise ProfileRejected(path, "a request has no tokens")
    arrived = _arrivals(sent, path)
    ends = [
        start + first + sum(later) for start, first, later in zip(sent.start_times, sent.ttfts, sent.itls, strict=True)
    ]
    # the client's clock of the benchmark runs from before the first arrival until the last end
    begin = min(*arrived, max(ends) - sent.duration)
    requests = [
        Request(prompt_tokens=prompt, output_tokens=output, arrival=arrival - begin)
        for arrival, prompt, output in zip(arrived, sent.input_lens, sent.output_lens, strict=True)
    ]
    return tuple(sorted(requests, key=lambda request: request.arrival))


def _arrivals(sent: _Requests, path: Path) -> Times:
    """When each request wanted to be sent."""
    if sent.queue_times is not None:
        if len(sent.queue_times) != len(sent.start_times):
            raise ProfileRejected(path, "queue_times and start_times do not describe the same requests")
        return [start - waited for start, waited in zip(sent.start_times, sent.queue_times, strict=True)]
    all_at_once = sent.max_concurrency is not None and math.isinf(float(sent.request_rate))
    return [min(sent.start_times)] * len(sent.start_times) if all_at_once else sent.start_times
