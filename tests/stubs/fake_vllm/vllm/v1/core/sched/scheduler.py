"""A scheduler without KV blocks: running requests first, chunks of prompts within the token budget."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any


class Scheduler:
    block_size = 16

    def __init__(self, vllm_config: Any, **_others: Any) -> None:
        self.vllm_config = vllm_config
        self.requests: dict[str, Any] = {}
        self.running: list[Any] = []
        self.waiting: list[Any] = []

    def add_request(self, name: str, prompt: int, output: int, cached: int = 0) -> None:
        request = SimpleNamespace(
            request_id=name, num_prompt_tokens=prompt, output=output, num_computed_tokens=cached, is_prefill_chunk=True
        )
        self.requests[name] = request
        self.waiting.append(request)

    def schedule(self, throttle_prefills: bool = False) -> Any:
        limits = self.vllm_config.scheduler_config
        budget, new, scheduled = limits.max_num_batched_tokens, [], {}
        self.requests = {name: each for name, each in self.requests.items() if each in self.running + self.waiting}
        while self.waiting and len(self.running) < limits.max_num_seqs:
            request = self.waiting.pop(0)
            self.running.append(request)
            new.append(SimpleNamespace(req_id=request.request_id, num_computed_tokens=request.num_computed_tokens))
        for request in self.running:
            left = request.num_prompt_tokens + request.output - 1 - request.num_computed_tokens
            wanted = min(left, max(1, request.num_prompt_tokens - request.num_computed_tokens))
            if tokens := min(budget, wanted):
                budget -= tokens
                scheduled[request.request_id] = tokens
                request.num_computed_tokens += tokens
                request.is_prefill_chunk = request.num_computed_tokens < request.num_prompt_tokens
        return SimpleNamespace(
            num_scheduled_tokens=scheduled, total_num_scheduled_tokens=sum(scheduled.values()),
            scheduled_new_reqs=new, preempted_req_ids=None,
        )  # fmt: skip

    def update_from_output(self, scheduler_output: Any, model_runner_output: Any) -> list[str]:
        ended = [
            request
            for request in self.running
            if request.request_id in scheduler_output.num_scheduled_tokens
            and request.num_computed_tokens == request.num_prompt_tokens + request.output - 1
        ]
        self.running = [request for request in self.running if request not in ended]
        return [request.request_id for request in ended]
