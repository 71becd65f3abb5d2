"""What each client takes of its data set's records: the (input, output) tokens of those that it sends.

The modules beside this one have the rules of one client each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Literal, get_args

from serviceoptd.predicting.data_set import of_ais_bench, of_guidellm, of_vllm
from serviceoptd.predicting.data_set.records import Content
from serviceoptd.predicting.data_set.taking import Taking, Talk
from serviceoptd.predicting.data_set.texts import Texts

Kind = Literal[
    "custom", "sharegpt", "burstgpt", "spec_bench", "speed_bench", "timed_trace",
    "ais_bench", "ais_bench_sharegpt", "ais_bench_mtbench", "guidellm",
]  # fmt: skip

TALKS: Mapping[Kind, Callable[[Content, Texts, Taking], Iterator[Talk]]] = {
    "custom": of_vllm.custom,
    "sharegpt": of_vllm.sharegpt,
    "burstgpt": of_vllm.burstgpt,
    "spec_bench": of_vllm.spec_bench,
    "speed_bench": of_vllm.speed_bench,
    "timed_trace": of_vllm.timed_trace,
    "ais_bench": of_ais_bench.ais_bench,
    "ais_bench_sharegpt": of_ais_bench.ais_bench_sharegpt,
    "ais_bench_mtbench": of_ais_bench.ais_bench_mtbench,
    "guidellm": of_guidellm.guidellm,
}
"""The conversations that the client could hold; they raise `NoDataSet` where the client would stop."""

COUNTED: frozenset[Kind] = frozenset(get_args(Kind)) - {"burstgpt", "timed_trace"}
"""The kinds that hold texts."""
