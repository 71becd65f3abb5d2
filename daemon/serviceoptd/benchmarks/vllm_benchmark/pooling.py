"""Embeddings, classification and reranking: services that generate no tokens cannot be tuned here. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence

from serviceopt_journal.errors import InvalidConfiguration
from serviceoptd.benchmarks.vllm_benchmark.flags import SPELLINGS
from serviceoptd.toolkit.arguments import value_of
from serviceoptd.toolkit.position_checks import GENERATES_TEXT

BACKEND = re.compile(r".*(embedding|pooling|rerank|classif|score).*")
ENDPOINT = re.compile(r".*/(embeddings|pooling|rerank|classify|score|encode)/?")
DATA_SET = "random-rerank"


def refuse_pooling(others: Sequence[str], dataset_name: str = "") -> None:
    """Raises InvalidConfiguration where these arguments of `vllm bench serve` ask for embeddings or the like.

    Its back ends of that kind report neither output tokens nor TTFT and TPOT.
    """
    wanted = {flag: value_of(flag, others, SPELLINGS) or "" for flag in ("--backend", "--endpoint-type", "--endpoint")}
    found = [
        f"{flag} {value}" for flag, value in wanted.items() if BACKEND.fullmatch(value) or ENDPOINT.fullmatch(value)
    ]
    if dataset_name == DATA_SET:
        found.append(f'dataset_name = "{dataset_name}"')
    if found:
        raise InvalidConfiguration(
            f"{found[0]}: embeddings, classification and reranking are not supported, for they generate no tokens",
            hint=GENERATES_TEXT,
        )
