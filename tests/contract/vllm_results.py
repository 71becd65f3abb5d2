"""Results of `vllm bench serve` 0.32.0: a real one with the lists per request taken out, and others made from it."""

from __future__ import annotations

from typing import Any

REAL: dict[str, Any] = {
    "date": "20261122-134948",
    "endpoint_type": "vllm",
    "backend": "vllm",
    "label": None,
    "model_id": "org/model",
    "tokenizer_id": "org/model",
    "num_prompts": 50,
    "request_rate": "inf",
    "burstiness": 1.0,
    "max_concurrency": 16,
    "serviceopt_seed": "7",
    "duration": 1.7759787979999828,
    "completed": 50,
    "failed": 0,
    "total_input_tokens": 3206,
    "total_output_tokens": 1600,
    "request_throughput": 28.153489251283553,
    "request_goodput": None,
    "output_throughput": 900.9116560410737,
    "total_token_throughput": 2706.113386833375,
    "max_output_tokens_per_s": 1024.0,
    "max_concurrent_requests": 48,
    "rtfx": 0.0,
    "mean_ttft_ms": 411.45919436000213,
    "median_ttft_ms": 249.258784999995,
    "std_ttft_ms": 313.0254879717793,
    "p50_ttft_ms": 249.258784999995,
    "p90_ttft_ms": 869.4624735000048,
    "p95_ttft_ms": 869.4900710000468,
    "p99_ttft_ms": 906.9241878999263,
    "mean_tpot_ms": 2.8081825193548715,
    "median_tpot_ms": 3.6620178225825106,
    "std_tpot_ms": 1.9843721686599158,
    "p50_tpot_ms": 3.6620178225825106,
    "p90_tpot_ms": 4.521591648385986,
    "p95_tpot_ms": 4.5628428048396765,
    "p99_tpot_ms": 5.622314760000677,
    "mean_itl_ms": 2.808182519354872,
    "median_itl_ms": 0.0029604999554067035,
    "p99_itl_ms": 70.26138512998614,
    "mean_e2el_ms": 498.51285246000316,
    "median_e2el_ms": 288.8947945000382,
    "p99_e2el_ms": 1003.8164236799856,
}

SOME_FAILED = REAL | {"completed": 30, "failed": 20, "output_throughput": 610.33, "request_throughput": 19.07}

ALL_FAILED = REAL | {
    "completed": 0,
    "failed": 50,
    "total_input_tokens": 0,
    "total_output_tokens": 0,
    "request_throughput": 0.0,
    "output_throughput": 0.0,
    **{key: 0.0 for key in REAL if key.endswith("_ms")},
}
"""What the real client writes, and exits 0."""
