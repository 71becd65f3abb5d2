"""Configuration files of AISBench, results as it writes them, and an installation that holds nothing else."""

from __future__ import annotations

import io
import json
import os
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

MODEL = """\
from ais_bench.benchmark.models import VLLMCustomAPIChat

# the service under test
models = [
    dict(
        attr="service",
        type=VLLMCustomAPIChat,
        abbr="vllm-api-stream-chat",
        path="/srv/models/m",  # the tokenizer's
        model="m",
        stream=True,
        request_rate=0,   # 0: as fast as it goes
        use_timestamp=False,
        retry=2,
        host_ip="localhost",
        host_port=8080,
        url="",
        max_out_len=512,
        batch_size = 1,
        generation_kwargs=dict(
            temperature=0.01,  # nearly greedy
            ignore_eos=True,
        ),
    )
]
"""

DATASET = """\
from ais_bench.benchmark.datasets import SyntheticDataset

synthetic_config = {"Type": "tokenid", "RequestCount": 200, "TokenIdConfig": {"RequestSize": 64}}
synthetic_datasets = [dict(abbr="synthetic", type=SyntheticDataset, config=synthetic_config, reader_cfg=dict())]
"""

TABLE = """\
Performance Parameters,Stage,Average,Min,Max,Median,P75,P90,P99,N
E2EL,total,310.5 ms,120.0 ms,460.1 ms,300.0 ms,370.0 ms,421.0 ms,450.2 ms,{n}
TTFT,total,150.0 ms,24.0 ms,303.2 ms,160.0 ms,240.0 ms,254.5 ms,302.2 ms,{n}
TPOT,total,4.6 ms,0.0 ms,9.3 ms,4.5 ms,7.5 ms,8.3 ms,9.1 ms,{n}
ITL,total,5.5 ms,0.0 ms,0.2 s,0.0 ms,3.6 ms,7600 us,156.5 ms,{n}
InputTokens,total,73.0,73.0,73.0,73.0,73.0,73.0,73.0,{n}
OutputTokens,total,32.0,32.0,32.0,32.0,32.0,32.0,32.0,{n}
OutputTokenThroughput,total,117.0 token/s,70 token/s,281 token/s,112 token/s,131 token/s,149 token/s,275 token/s,{n}
"""


def summary(sent: int = 50, failed: int = 0, at_a_time: int = 16, **more: object) -> str:
    """The JSON beside the table. `more`: values by key, with `_` for spaces; None leaves a key out."""
    done = sent - failed
    told: dict[str, object] = {
        "Benchmark Duration": "1500.0 ms",
        "Total Requests": sent,
        "Failed Requests": failed,
        "Success Requests": done,
        "Concurrency": 10.0371,
        "Max Concurrency": at_a_time,
        "Request Throughput": f"{done / 1.5:.4f} req/s",
        "Total Input Tokens": 73 * done,
        "Prefill Token Throughput": "465.9422 token/s",
        "Total Generated Tokens": 32 * done,
        "Output Token Throughput": f"{32 * done / 1.5:.4f} token/s",
    }
    told |= {name.replace("_", " "): value for name, value in more.items()}
    return json.dumps({name: {"total": value} for name, value in told.items() if value is not None}, indent=4)


def table(done: int = 50) -> str:
    """The CSV, with so many completed requests."""
    return TABLE.format(n=done)


def a_result(
    work: Path, run: str = "20261123_101500", *, csv: str = "", told: str = "", name: str = "synthetic"
) -> Path:
    """A run directory as AISBench leaves it, written at 1010 s since the epoch."""
    place = work / run / "performances" / "vllm-api-stream-chat"
    place.mkdir(parents=True)
    for path, text in ((place / f"{name}.csv", csv or table()), (place / f"{name}.json", told or summary())):
        path.write_text(text)
        os.utime(path, (1010.0, 1010.0))
    return place


def requests_beside(place: Path, requests: Sequence[tuple[float, float, float, int]], name: str = "synthetic") -> Path:
    """The details of single requests and their database; each one: sent, first piece, last piece (s), output tokens."""
    import numpy as np

    (place / "db_data").mkdir()
    with closing(sqlite3.connect(place / "db_data/0b348d6e.db")) as database:
        database.execute("CREATE TABLE numpy_store (id INTEGER PRIMARY KEY AUTOINCREMENT, arr_blob BLOB NOT NULL)")
        for *times, _ in requests:
            np.save(content := io.BytesIO(), np.array(times))
            database.execute("INSERT INTO numpy_store (arr_blob) VALUES (?)", (content.getvalue(),))
        database.commit()
    details = place / f"{name}_details.jsonl"
    lines = [
        {"id": number, "success": True, "time_points": {"__db_ref__": number}, "output_tokens": request[-1],
         "turn_id": 0, "db_name": "0b348d6e.db"}
        for number, request in enumerate(requests, start=1)
    ]  # fmt: skip
    details.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return details


def a_config_directory(
    root: Path, model: str = MODEL, dataset: str = DATASET, *, names: tuple[str, str] = ("chat", "synthetic")
) -> Path:
    """`models` and `datasets` as AISBench looks for them, with one file each."""
    files = (root / f"models/vllm_api/{names[0]}.py", root / f"datasets/synthetic/{names[1]}.py")
    for path, text in zip(files, (model, dataset), strict=True):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def an_installation(prefix: Path, program: str = "#!/bin/sh\nexit 0\n", model: str = MODEL) -> Path:
    """A virtual environment with `ais_bench` and its configurations; returns the program."""
    script = prefix / "bin" / "ais_bench"
    script.parent.mkdir(parents=True)
    script.write_text(program)
    script.chmod(0o755)
    packages = prefix / "lib/python3.11/site-packages"
    (packages / "ais_bench_benchmark-3.1.20260630.dist-info").mkdir(parents=True)
    a_config_directory(packages / "ais_bench/benchmark/configs", model)
    return script
