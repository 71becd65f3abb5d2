"""What an engine did between two looks at its counters: sums over the steps of a window of time. Pure.

No single step is seen, but a time that is a sum of terms over a step's batch has a known sum over the window's steps, so
each window is one equation about the engine (latency_model/stored_windows.py learns from them).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise

import msgspec

from serviceopt_journal.events import Configuration
from serviceopt_journal.metric_table import TTFT
from serviceoptd.domain.stopping.service_counters import Counters, EngineCounters


class Window(msgspec.Struct, frozen=True, kw_only=True):
    """Sums over the steps of one window, in which the engine was never idle."""

    seconds: float
    steps: int  # those that gave at least one token
    prefill_steps: int  # of these, those that surely completed a prompt
    prompts: int  # that were completed
    prompt_tokens: int  # of these prompts, those that were computed
    cached_tokens: int  # and those that the prefix cache had
    decode_tokens: int  # all tokens but the first of each answer
    decode_context: int  # tokens that these attended to


class StoredService(msgspec.Struct, frozen=True, kw_only=True):
    """Whose windows they are: the first line of a file."""

    engine: str
    version: str
    configuration: Configuration  # values of the fields that need the service restarted
    options: dict[str, str]  # its fixed ones, limits of the scheduler among them
    kv_blocks: int | None  # as the service reported them
    concurrency: int | None
    request_rate: float | None
    num_prompts: int


ARTEFACT = "engine_windows.csv"
"""The file's name among the artefacts of a measurement."""

COLUMNS = Window.__struct_fields__


def windows(looks: Sequence[Counters], at_rest: Counters | None, *, replaced: bool) -> list[Window]:
    """Every busy window between two looks in a row.

    Between two looks a request runs all the time if fewer have finished than there were before. Left out is what does not
    tell: windows with a preemption (what is computed again is not counted), and pages without the engine's own counters.

    Args:
        looks: in the order of time.
        at_rest: a look at which no request ran, so that tokens of aborted requests can be told from those in use.
        replaced: the client sends a request at once for each that ends, so that two in flight keep the engine busy.
    """
    if at_rest is None or at_rest.engine is None:
        return []
    abandoned = at_rest.engine.in_use + at_rest.tokens
    found = []
    for before, after in pairwise(looks):
        added = after.since(before)
        busy = added.finished < before.in_flight or (replaced and min(before.in_flight, after.in_flight) >= 2)
        if before.engine is None or after.engine is None or not busy or added.preemptions:
            continue
        if (window := _window(before, after, before.engine, after.engine, abandoned)) is not None:
            found.append(window)
    return found


def _window(
    before: Counters, after: Counters, first: EngineCounters, last: EngineCounters, abandoned: float
) -> Window | None:
    """None: the counters contradict each other, or there was no step."""
    steps = last.steps.since(first.steps)
    prompts = after.latencies[TTFT].count - before.latencies[TTFT].count
    cached = last.cached_tokens - first.cached_tokens
    computed = last.prompt_tokens - first.prompt_tokens - cached
    decoded = after.tokens - before.tokens - prompts
    in_use = (first.in_use + before.tokens + last.in_use + after.tokens) / 2 - abandoned
    if steps.count < 1 or min(prompts, cached, computed, decoded, in_use) < 0 or (prompts == 0) != (computed == 0):
        return None
    # a step without a prompt has no more tokens than sequences that decode
    with_prompts = steps.above(max(before.running, after.running))
    return Window(
        seconds=round(after.time - before.time, 6),
        steps=round(steps.count),
        prefill_steps=round(min(max(with_prompts, 1.0), prompts, steps.count)),
        prompts=round(prompts),
        prompt_tokens=round(computed),
        cached_tokens=round(cached),
        decode_tokens=round(decoded),
        decode_context=round(in_use * steps.count) if decoded else 0,
    )


def as_csv(service: StoredService, found: Iterable[Window]) -> str:
    """The service as a comment in JSON, a header, and one line a window."""
    described = msgspec.json.encode(service, order="sorted").decode()
    rows = (",".join(str(value) for value in msgspec.structs.astuple(window)) for window in found)
    return "\n".join((f"# {described}", ",".join(COLUMNS), *rows)) + "\n"
