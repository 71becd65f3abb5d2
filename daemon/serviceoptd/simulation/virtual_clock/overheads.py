"""What a request meets before and after the engine: client, HTTP, tokeniser, detokeniser. Pure.

Two kinds of time. A *delay* passes for each request by itself. Work is done by one thread, one request after another, so
that a burst of requests queues there: the API server and the client are such threads.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Overheads:
    """Seconds, fitted to what a client measured. All 0: only the engine takes time."""

    delay: float = 0.0  # from the client's sending until the engine has it, whatever else happens
    work_per_request: float = 0.0  # one after another
    work_per_prompt_token: float = 0.0  # one after another
    return_delay: float = 0.0  # from the end of a step until the client has its token
    work_per_token: float = 0.0  # one after another: each token that a step gives to a request


class FrontEnd:
    """The server in front of the engine, at the time of what it did last. Both directions keep their order."""

    def __init__(self, overheads: Overheads) -> None:
        self._overheads = overheads
        self._in_free = self._out_free = 0.0

    def reaches_engine(self, sent: float, prompt_tokens: int) -> float:
        """When a request that is sent now (later than those before it) reaches the engine."""
        costs = self._overheads
        work = costs.work_per_request + costs.work_per_prompt_token * prompt_tokens
        self._in_free = max(self._in_free, sent) + work
        return self._in_free + costs.delay

    def reaches_client(self, ended: float, tokens: int) -> float:
        """When the client has the tokens of a step that ended now."""
        self._out_free = max(self._out_free, ended) + self._overheads.work_per_token * tokens
        return self._out_free + self._overheads.return_delay
