"""One batch of a predecessor's profile, from the list of its requests. Pure."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from typing import Any

from serviceopt_journal.foreign_text import json_value
from serviceoptd.profiling.data.predecessor_tables import Row
from serviceoptd.simulation.step_times.profile_data import ProfileRejected
from serviceoptd.simulation.virtual_clock.interface import StepComposition


def composed(row: Row, prompts: Mapping[str, int], *, framework: str) -> StepComposition | None:
    """What the batch consists of; None where the length of one of its requests is not known.

    `res_list` names each request with its iteration, 0 for its prompt; newer versions for vLLM add `num_computed_tokens` and
    `num_scheduled_tokens`, without which a prompt counts as processed in one piece.

    Raises:
        ProfileRejected: `res_list` is not a list of requests, or it is vLLM's and `framework` says otherwise.
    """
    decoding = str(row["batch_type"]).strip().lower() == "decode"
    prefill_sequences = prefill_tokens = prefill_attention = decode_sequences = decode_context = 0
    for request in _requests(row):
        if framework == "mindie" and ("iter_size" in request or "num_scheduled_tokens" in request):
            raise ProfileRejected(row.place, "is a batch of vLLM", hint="give `-t vllm`")
        chunk = _chunk(request, prompts, decoding, row.place)
        if chunk is None:
            return None
        computed, tokens, in_prefill = chunk
        if in_prefill:
            prefill_sequences += 1
            prefill_tokens += tokens
            prefill_attention += tokens * computed + tokens * (tokens + 1) // 2
        else:
            decode_sequences += 1
            decode_context += computed + tokens
    return StepComposition(prefill_sequences, prefill_tokens, prefill_attention, decode_sequences, decode_context)


def _requests(row: Row) -> list[dict[str, Any]]:
    text = str(row["res_list"])
    try:
        requests = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        requests = _as_json(text)
    if not isinstance(requests, list) or not requests or not all(isinstance(request, dict) for request in requests):
        raise ProfileRejected(row.place, f"res_list is {text[:60]!r}, not a list of requests")
    if missing := [request for request in requests if "rid" not in request]:
        raise ProfileRejected(row.place, f"res_list has a request without rid: {missing[0]!r}")
    return requests


def _as_json(text: str) -> Any:
    try:
        return json_value(text)
    except ValueError:
        return None


def _chunk(
    request: Mapping[str, Any], prompts: Mapping[str, int], decoding: bool, place: str
) -> tuple[int, int, bool] | None:
    """Tokens that are computed already, tokens of this step, and whether they belong to the prompt."""
    try:
        if "num_scheduled_tokens" in request and "num_computed_tokens" in request:
            computed, tokens = int(request["num_computed_tokens"]), int(request["num_scheduled_tokens"])
            prompt = int(request.get("num_prompt_tokens", 0)) or prompts.get(str(request["rid"]), 0)
            return computed, tokens, computed < prompt
        prompt = prompts.get(str(request["rid"]), 0)
        if not prompt:
            return None
        iteration = int(request["iter"] if "iter" in request else request["iter_size"])
    except (KeyError, TypeError, ValueError):
        raise ProfileRejected(place, f"res_list has a request without its iteration: {dict(request)!r}") from None
    if iteration == 0 and not decoding:
        return 0, prompt, True
    return prompt + max(iteration, 1) - 1, 1, False
