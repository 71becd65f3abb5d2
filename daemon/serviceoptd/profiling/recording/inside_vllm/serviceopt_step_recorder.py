"""Runs in vLLM's own environment: its scheduler, which also writes one line for each step of the engine.

vLLM is started with this directory on its PYTHONPATH and `--scheduler-cls serviceopt_step_recorder.factory`;
SERVICEOPT_STEPS names the recording. It imports nothing of ours, since ours is not installed there. Each engine process
writes `$SERVICEOPT_STEPS.PID` (the steps, as CSV) and `$SERVICEOPT_STEPS.PID.json` (what the scheduler was told).

vLLM's scheduler is no public interface; this was tried with vLLM 0.32. Whatever goes wrong while recording ends the
recording, with a line on standard error, and never the service.
"""

import json
import os
import sys
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

STEPS = "SERVICEOPT_STEPS"

COLUMNS = (
    "step", "t0", "n_seqs", "n_prefill", "n_decode", "prefill_tokens", "attn_prefill", "decode_ctx", "n_running",
    "n_waiting", "n_new", "cached_tokens", "n_preempt", "sched_ms", "exec_ms", "update_ms", "period_ms", "rec_us",
    "requests",
)  # fmt: skip
"""`t0`: when it was composed, in seconds of this machine's monotonic clock. `exec_ms`: from when the engine could begin it
until its result was there. `period_ms`: from the end of the step before, idleness included; -1 for the first. `rec_us`:
what the recording cost. `requests`: of each sequence the tokens of its prompt, those generated, and its KV blocks."""

SCHEDULING = (
    "max_num_seqs", "max_num_batched_tokens", "enable_chunked_prefill", "long_prefill_token_threshold", "policy",
    "async_scheduling", "scheduler_reserve_full_isl", "watermark",
)  # fmt: skip


def factory(*arguments: Any, **named: Any) -> Any:
    """Makes vLLM's own scheduler of this configuration, which records its steps."""
    config = named["vllm_config"] if "vllm_config" in named else arguments[0]
    if config.scheduler_config.async_scheduling:  # a subclass of the other one would turn it off
        from vllm.v1.core.sched.async_scheduler import AsyncScheduler as Kind
    else:
        from vllm.v1.core.sched.scheduler import Scheduler as Kind
    return recording(Kind)(*arguments, **named)


def recording(kind: type[Any]) -> type[Any]:
    """A scheduler of this kind that records."""

    class RecordingScheduler(kind):  # type: ignore[misc]
        def __init__(self, *arguments: Any, **named: Any) -> None:
            super().__init__(*arguments, **named)
            self._serviceopt_recording = Recording(self)

        def schedule(self, *arguments: Any, **named: Any) -> Any:
            began = time.perf_counter()
            output = super().schedule(*arguments, **named)
            self._serviceopt_recording.scheduled(output, began)
            return output

        def update_from_output(self, scheduler_output: Any, *arguments: Any, **named: Any) -> Any:
            came = time.perf_counter()
            result = super().update_from_output(scheduler_output, *arguments, **named)
            self._serviceopt_recording.ended(scheduler_output, came)
            return result

    return RecordingScheduler


class Step(NamedTuple):
    """A step in flight; two of them with asynchronous scheduling."""

    output: Any
    began: float
    composed: float
    values: dict[str, Any]


class Recording:
    """The file, and the steps that have not ended yet."""

    def __init__(self, scheduler: Any) -> None:
        self._scheduler = scheduler
        self._file: Any = None
        self._in_flight: deque[Step] = deque()
        self._number = 0
        self._last_end = 0.0
        self._harmless(self._open)

    def scheduled(self, output: Any, began: float) -> None:
        """A batch has been composed; it began to be then."""
        if self._file is not None:
            self._harmless(self._compose, output, began, time.perf_counter())

    def ended(self, output: Any, came: float) -> None:
        """The result of a batch came then, and has been dealt with now."""
        if self._file is not None:
            self._harmless(self._write, output, came, time.perf_counter())

    def _harmless(self, work: Callable[..., None], *arguments: Any) -> None:
        try:
            work(*arguments)
        except Exception as error:  # noqa: BLE001 - the service must go on, whatever it is
            self._file = None
            self._in_flight.clear()
            print(f"serviceopt_step_recorder: stopped: {type(error).__name__}: {error}", file=sys.stderr, flush=True)

    def _open(self) -> None:
        path = Path(f"{os.environ[STEPS]}.{os.getpid()}")
        path.with_name(path.name + ".json").write_text(json.dumps(told(self._scheduler)))
        # By lines: what is still buffered is lost when vLLM ends by a signal.
        self._file = path.open("w", buffering=1, encoding="utf-8")
        self._file.write(",".join(COLUMNS) + "\n")

    def _compose(self, output: Any, began: float, composed: float) -> None:
        if not output.total_num_scheduled_tokens:
            return
        scheduler, values = self._scheduler, dict.fromkeys(COLUMNS, 0)
        new = [request.num_computed_tokens for request in output.scheduled_new_reqs]
        requests = []
        for name, tokens in output.num_scheduled_tokens.items():
            request = scheduler.requests[name]
            context = request.num_computed_tokens  # those of this batch included
            before, prompt = context - tokens, request.num_prompt_tokens
            if tokens == 1 and before >= prompt and not request.is_prefill_chunk:
                values["n_decode"] += 1
                values["decode_ctx"] += context
            else:
                values["n_prefill"] += 1
                values["prefill_tokens"] += tokens
                values["attn_prefill"] += tokens * before + tokens * (tokens + 1) // 2
            requests.append(f"{prompt}:{max(0, context - prompt)}:{-(-context // scheduler.block_size)}")
        values["n_seqs"] = len(requests)
        values["n_new"], values["cached_tokens"] = len(new), sum(new)
        values["n_running"], values["n_waiting"] = len(scheduler.running), len(scheduler.waiting)
        values["n_preempt"] = len(output.preempted_req_ids or ())
        shown: dict[str, Any] = {**values, "t0": f"{began:.6f}", "requests": " ".join(requests)}
        shown["rec_us"] = (time.perf_counter() - composed) * 1e6
        self._in_flight.append(Step(output, began, composed, shown))

    def _write(self, output: Any, came: float, ended: float) -> None:
        while self._in_flight:
            step = self._in_flight.popleft()
            if step.output is output:
                break
        else:
            return  # nothing was scheduled in it
        began, composed, values = step.began, step.composed, step.values
        times = {
            "sched_ms": composed - began,
            "exec_ms": came - max(composed, self._last_end),
            "update_ms": ended - came,
            "period_ms": ended - self._last_end if self._last_end else -1e-3,
        }
        values |= {name: f"{seconds * 1e3:.4f}" for name, seconds in times.items()}
        values["step"] = self._number
        values["rec_us"] = f"{values['rec_us'] + (time.perf_counter() - ended) * 1e6:.1f}"
        self._number, self._last_end = self._number + 1, ended
        self._file.write(",".join(str(values[column]) for column in COLUMNS) + "\n")


def told(scheduler: Any) -> dict[str, Any]:
    """What the scheduler was told, by the names of `simulation.vllm_limits`, and vLLM's version."""
    from vllm import __version__

    config = scheduler.vllm_config
    scheduling, cache = config.scheduler_config, config.cache_config
    limits = {name: getattr(scheduling, name) for name in SCHEDULING if hasattr(scheduling, name)}
    limits |= {"max_model_len": config.model_config.max_model_len}
    limits |= {"kv_blocks": cache.num_gpu_blocks, "block_size": scheduler.block_size}
    limits["enable_prefix_caching"] = bool(cache.enable_prefix_caching)
    return {"vllm": __version__, "limits": limits}
