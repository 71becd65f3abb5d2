"""What vLLM's scheduler is told, and what vLLM refuses at its start. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from serviceopt_journal.errors import InvalidConfiguration


@dataclass(frozen=True, kw_only=True)
class VllmLimits:
    """The settings of vLLM of the same names, with its defaults.

    Raises:
        InvalidConfiguration: vLLM itself would not start with these.
    """

    max_num_seqs: int
    max_num_batched_tokens: int
    max_model_len: int
    kv_blocks: int  # as the server reports them (`num_gpu_blocks`); one of them is never given out
    block_size: int = 16
    enable_chunked_prefill: bool = True
    enable_prefix_caching: bool = False  # vLLM's own default is True
    long_prefill_token_threshold: int = 0
    policy: Literal["fcfs", "priority"] = "fcfs"
    async_scheduling: bool = False  # vLLM's own default is True, except on CPUs
    scheduler_reserve_full_isl: bool = True
    watermark: float = 0.0

    def __post_init__(self) -> None:
        for name in ("max_num_seqs", "max_num_batched_tokens", "max_model_len", "kv_blocks", "block_size"):
            if getattr(self, name) < 1:
                raise InvalidConfiguration(f"{name} must be 1 or more", hint=f"it is {getattr(self, name)}")
        if self.max_num_batched_tokens < self.max_num_seqs:
            raise InvalidConfiguration(
                f"max_num_batched_tokens ({self.max_num_batched_tokens}) is below max_num_seqs ({self.max_num_seqs})",
                hint="raise the one or lower the other: every running sequence needs a token of each batch",
            )
        if not self.enable_chunked_prefill and self.max_num_batched_tokens < self.max_model_len:
            raise InvalidConfiguration(
                f"max_num_batched_tokens ({self.max_num_batched_tokens}) is below max_model_len ({self.max_model_len})"
                " without chunked prefill",
                hint="raise max_num_batched_tokens, lower max_model_len, or enable chunked prefill",
            )
        if self.long_prefill_token_threshold > self.max_model_len:
            raise InvalidConfiguration(
                f"long_prefill_token_threshold ({self.long_prefill_token_threshold}) is above max_model_len"
                f" ({self.max_model_len})",
                hint="lower the threshold; 0 turns it off",
            )
        if (self.kv_blocks - 1) * self.block_size < self.max_model_len:
            raise InvalidConfiguration(
                f"{self.kv_blocks} KV blocks of {self.block_size} tokens cannot hold one sequence of max_model_len"
                f" ({self.max_model_len})",
                hint="lower max_model_len, or leave more memory to the KV cache",
            )
