"""Runs in vLLM's own environment: its scheduler, without a device, a worker or a patch, answering JSON lines.

Started by `scheduler.py` as `python inside_vllm.py`. It imports nothing of ours, since ours is not installed there. Two
kinds of lines come in; each is answered by one line:

* `{"limits": {...}, "requests": [[prompt, output, prefix, prefix tokens, priority], ...]}`: start anew;
* `{"complete": n, "add": [request, ...]}`: the n oldest batches have ended, these requests have come; schedule. The
  answer: the tokens of each request in the batch, its context with them, who is given a token, preemptions so far.

The interfaces used here are vLLM's internal ones. They were tried with vLLM 0.32; with another version the contract tests
must pass before the results are believed.
"""

import json
import os
import sys
import tempfile
from collections import deque
from pathlib import Path
from typing import Any

MODEL = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 64,
    "intermediate_size": 64,
    "num_attention_heads": 1,
    "num_key_value_heads": 1,
    "num_hidden_layers": 1,
    "vocab_size": 1 << 20,
    "torch_dtype": "float16",
}
"""Full attention. Nothing else of a model changes what its scheduler does."""

FIRST_PREFIX, FIRST_REQUEST = 1_000, 100_000
"""Token values: of a prefix, and of all that only this request has, its output included."""


class Engine:
    """One scheduler, and the batches in flight."""

    def __init__(self, limits: dict[str, Any], requests: list[list[int]]) -> None:
        self.requests, self.block_size = requests, limits["block_size"]
        self.caching = limits["enable_prefix_caching"]
        self.scheduler = a_scheduler(limits)
        self.in_flight: deque[tuple[Any, list[str]]] = deque()
        self.preemptions = 0

    def step(self, complete: int, added: list[int]) -> dict[str, Any]:
        """Takes in the results of `complete` batches and the requests `added`, and schedules the next batch."""
        from vllm.v1.outputs import ModelRunnerOutput

        for _ in range(complete):
            output, emitting = self.in_flight.popleft()
            ids = list(output.num_scheduled_tokens)
            tokens = [[FIRST_REQUEST + int(request)] if request in emitting else [] for request in ids]
            index = {request: place for place, request in enumerate(ids)}
            done = ModelRunnerOutput(req_ids=ids, req_id_to_index=index, sampled_token_ids=tokens)
            self.scheduler.update_from_output(output, done)
        for request in added:
            self.scheduler.add_request(self.a_request(request))
        before = {request.request_id: request.num_preemptions for request in self.scheduler.running}
        output = self.scheduler.schedule()
        self.preemptions += sum(
            self.scheduler.requests[request].num_preemptions - count for request, count in before.items()
        )
        scheduled, known = output.num_scheduled_tokens, self.scheduler.requests
        emitting = [request for request in scheduled if not known[request].is_prefill_chunk]
        if scheduled:
            self.in_flight.append((output, emitting))
        else:
            empty = ModelRunnerOutput(req_ids=[], req_id_to_index={})
            self.scheduler.update_from_output(output, empty)
        return {
            "tokens": dict(scheduled),
            "context": {request: known[request].num_computed_tokens for request in scheduled},
            "emitting": [int(request) for request in emitting],
            "preemptions": self.preemptions,
        }

    def a_request(self, number: int) -> Any:
        """A request of vLLM with made-up tokens."""
        from vllm.sampling_params import SamplingParams
        from vllm.utils.hashing import sha256
        from vllm.v1.core.kv_cache_utils import get_request_block_hasher
        from vllm.v1.request import Request

        prompt, output, prefix, prefix_tokens, priority = self.requests[number]
        tokens = [FIRST_PREFIX + prefix] * prefix_tokens + [FIRST_REQUEST + number] * (prompt - prefix_tokens)
        return Request(
            request_id=str(number),
            prompt_token_ids=tokens,
            sampling_params=SamplingParams(max_tokens=output, ignore_eos=True),
            pooling_params=None,
            arrival_time=float(number),
            priority=priority,
            block_hasher=get_request_block_hasher(self.block_size, sha256) if self.caching else None,
        )


def a_scheduler(limits: dict[str, Any]) -> Any:
    """A scheduler of vLLM with these limits, without a model."""
    import torch
    from vllm.config import CacheConfig, DeviceConfig, ModelConfig, ParallelConfig, SchedulerConfig, VllmConfig
    from vllm.v1.core.sched.async_scheduler import AsyncScheduler
    from vllm.v1.core.sched.scheduler import Scheduler
    from vllm.v1.kv_cache_interface import FullAttentionSpec, KVCacheConfig, KVCacheGroupSpec
    from vllm.v1.structured_output import StructuredOutputManager

    length, blocks, size = limits["max_model_len"], limits["kv_blocks"], limits["block_size"]
    with tempfile.TemporaryDirectory() as directory:
        described = MODEL | {"max_position_embeddings": length}
        (Path(directory) / "config.json").write_text(json.dumps(described))
        model = ModelConfig(model=directory, skip_tokenizer_init=True, max_model_len=length)
    cache = CacheConfig(block_size=size, enable_prefix_caching=limits["enable_prefix_caching"])
    same = ("max_num_seqs", "max_num_batched_tokens", "enable_chunked_prefill", "long_prefill_token_threshold")
    others = ("policy", "async_scheduling", "scheduler_reserve_full_isl", "watermark")
    scheduling = SchedulerConfig(
        max_model_len=length, is_encoder_decoder=False, **{name: limits[name] for name in same + others}
    )
    config = VllmConfig(
        model_config=model,
        cache_config=cache,
        parallel_config=ParallelConfig(),
        scheduler_config=scheduling,
        device_config=DeviceConfig("cpu"),
    )
    # The CPU platform turns these off, or to its own; a virtual clock simulates other devices too.
    config.scheduler_config.async_scheduling = limits["async_scheduling"]
    config.scheduler_config.enable_chunked_prefill = limits["enable_chunked_prefill"]
    config.cache_config.block_size = size
    config.cache_config.enable_prefix_caching = limits["enable_prefix_caching"]
    config.cache_config.num_gpu_blocks = blocks
    attention = FullAttentionSpec(block_size=size, num_kv_heads=1, head_size=64, dtype=torch.float16)
    kv_cache = KVCacheConfig(
        num_blocks=blocks, kv_cache_tensors=[], kv_cache_groups=[KVCacheGroupSpec(["layer"], attention)]
    )
    kind = AsyncScheduler if limits["async_scheduling"] else Scheduler
    return kind(
        vllm_config=config,
        kv_cache_config=kv_cache,
        structured_output_manager=StructuredOutputManager(config),
        block_size=size,
        log_stats=False,
    )


def main() -> None:
    """Answers each line of the standard input with one line."""
    # What vLLM prints must not come between the answers.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    from vllm import __version__
    from vllm.utils.hashing import sha256
    from vllm.v1.core.kv_cache_utils import init_none_hash

    init_none_hash(sha256)
    engines: list[Engine] = []
    for line in sys.stdin:
        message = json.loads(line)
        if "limits" in message:
            engines = [Engine(message["limits"], message["requests"])]
            answer: dict[str, Any] = {"version": __version__}
        else:
            answer = engines[0].step(message["complete"], message["add"])
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
