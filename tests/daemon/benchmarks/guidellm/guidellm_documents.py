"""Results in the shape of `guidellm run` 0.8.1, as far as they are read, from requests with round numbers."""

from __future__ import annotations

from typing import Any

STARTED = 1_795_000_000.0


def a_request(number: int, **changes: Any) -> dict[str, Any]:
    """A request that began `number` x 0.1 s after the first, took 1 s, and gave 11 tokens: TTFT 0.4 s, TPOT 0.05 s."""
    start = STARTED + 0.1 * number
    return {
        "type_": "generative_request_stats",
        "request_id": f"{number:08x}",
        "info": {"status": "completed", "error": None},
        "request_start_time": start,
        "request_end_time": start + 1.0,
        "request_latency": 1.0,
        "prompt_tokens": 40,
        "output_tokens": 11,
        "time_to_first_token_ms": 400.0,
        "time_per_output_token_ms": 90.9,  # includes the first token: not what we call TPOT
        "inter_token_latency_ms": 50.0,
    } | changes


def an_error(number: int, text: str = "HTTPStatusError(\"Server error '500'\")\nTraceback") -> dict[str, Any]:
    """A request that was answered with an error after 0.02 s."""
    missing = ("request_latency", "output_tokens", "time_to_first_token_ms", "inter_token_latency_ms")
    end = STARTED + 0.1 * number + 0.02
    return a_request(number, request_end_time=end, info={"status": "errored", "error": text}) | dict.fromkeys(missing)


def a_document(
    successful: list[dict[str, Any]], errored: list[dict[str, Any]] | None = None, **spec: Any
) -> dict[str, Any]:
    """The whole file. `spec`: what GuideLLM says that it was told."""
    errored = errored or []
    told = {
        "profile": {"kind": "concurrent", "rampup_duration": 0.0, "streams": [16]},
        "seed": {"kind": "static", "value": 7},
        "backend": {"kind": "openai_http", "target": "http://127.0.0.1:8000", "model": "m", "http2": True},
    }
    counts = {"successful": len(successful), "errored": len(errored), "incomplete": 0}
    return {
        "metadata": {"version": 2, "guidellm_version": "0.8.1"},
        "config": {"metadata": {}, "spec": told | spec},
        "benchmarks": [
            {
                "type_": "generative_benchmark",
                "metrics": {"request_totals": {**counts, "total": sum(counts.values())}},
                "requests": {"successful": successful, "errored": errored, "incomplete": [], "total": None},
            }
        ],
    }
