"""Stands in for the `ais_bench` command in tests: reads its configuration files as the real one does, and checks them.

    --stub-lie LIE           all-failed, some-failed, none, nan, two-runs or exit-1
    --stub-when NAME>NUMBER  only where this holds of its own arguments, or of batch_size

The service that it asks is the stub engine. As the real one it exits 0 when part of the requests failed, and 1 without a
result when no service answers. The files that it finds outside --config-dir are those of its installation, if any.
"""

from __future__ import annotations

import ast
import json
import sys
import time
from pathlib import Path
from typing import Any

import stub_client
from stub_arguments import Arguments

METRICS = (("E2EL", "e2el"), ("TTFT", "ttft"), ("TPOT", "tpot"), ("ITL", "itl"))


def main(given: list[str]) -> None:
    """Measures once."""
    arguments = Arguments(given)
    if arguments.has("debug") or arguments.text("mode") != "perf":
        fail(2, f"unexpected arguments {given}")
    model, place = configuration(arguments, "models", arguments.text("models"))
    configuration(arguments, "datasets", arguments.text("datasets").partition("/")[0])
    if Path(arguments.text("config-dir")) not in place.parents:
        fail(2, f"the model configuration is not the private one: {place}")
    if not {"batch_size", "request_rate", "host_ip", "host_port", "retry"} <= model.keys():
        fail(2, f"{place} lacks a key: {sorted(model)}")
    work = Path(arguments.text("work-dir"))
    if work.exists():
        fail(2, f"the work directory {work} is not new")
    Path("tmp").mkdir(exist_ok=True)  # as the real one: in its working directory
    run = work / time.strftime("%Y%m%d_%H%M%S") / "performances" / str(model["abbr"])
    print(f"stub: batch_size {model['batch_size']} request_rate {model['request_rate']} salt {salt(place)}", flush=True)
    asked = Arguments([])
    asked.values = arguments.values | {
        "host": str(model["host_ip"]), "port": str(model["host_port"]), "batch-size": str(model["batch_size"]),
        "max-concurrency": str(model["batch_size"]), "request-rate": str(model["request_rate"] or ""),
    }  # fmt: skip
    try:
        seqs, tokens = stub_client.parameters_of(asked)
    except (OSError, ValueError) as unreachable:
        log = run.parents[1] / "logs" / "infer" / str(model["abbr"]) / "synthetic.out"
        log.parent.mkdir(parents=True)
        log.write_text(f"RuntimeError: all warmup requests failed: {unreachable}\n")
        fail(1, "FileMatchError: can't find detail perf data file")
    lie = asked.text("stub-lie") if asked.misbehaves() else ""
    if lie == "exit-1":
        fail(1, "TypeError: something went wrong in the client")
    if lie != "none":
        write(run, stub_client.result(asked, seqs, tokens, lie), asked)
    if lie == "two-runs":
        write(
            run.parents[1].with_name("20200101_000000") / "performances" / "x",
            stub_client.result(asked, 1, 1, ""),
            asked,
        )


def configuration(arguments: Arguments, kind: str, name: str) -> tuple[dict[str, Any], Path]:
    """The literals of the first matching file, in --config-dir and then beside this program's interpreter."""
    roots = [Path(arguments.text("config-dir"))]
    roots += Path(sys.argv[0]).parent.parent.glob("lib/python3*/site-packages/ais_bench/benchmark/configs")
    found = [path for root in roots for path in sorted((root / kind).rglob(f"{name}.py"))]
    if len(found) != 1:
        fail(2, f"{kind} {name} matches {found or 'nothing'} in {roots}")
    literals: dict[str, Any] = {}
    for node in ast.walk(ast.parse(found[0].read_bytes())):
        if isinstance(node, ast.keyword) and node.arg and isinstance(node.value, ast.Constant):
            literals[node.arg] = node.value.value
    return literals, found[0]


def salt(place: Path) -> str:
    """What keeps the prefixes of this measurement apart from those of the others."""
    text = place.read_text()
    return text.partition("cache_salt=")[2].partition(")")[0]


def write(place: Path, told: dict[str, Any], asked: Arguments) -> None:
    sent, done = int(told["num_prompts"]), int(told["completed"])
    place.mkdir(parents=True)
    columns = ["Average", "Min", "Max", "Median", "P75", "P90", "P99"]
    rows = [["Performance Parameters", "Stage", *columns, "N"]]
    rows += [
        [name, "total", *[f"{told[f'mean_{key}_ms']:.4f} ms" for _ in columns], str(done)] for name, key in METRICS
    ]
    (place / "synthetic.csv").write_text("".join(",".join(row) + "\n" for row in rows))
    summary = {
        "Benchmark Duration": f"{1000 * told['duration']:.4f} ms", "Total Requests": sent,
        "Failed Requests": sent - done, "Success Requests": done,
        "Max Concurrency": int(asked.number("batch-size", 0)),
        "Request Throughput": f"{told['request_throughput']:.4f} req/s",
        "Total Input Tokens": told["total_input_tokens"], "Total Generated Tokens": told["total_output_tokens"],
        "Output Token Throughput": f"{told['output_throughput']:.4f} token/s",
    }  # fmt: skip
    (place / "synthetic.json").write_text(json.dumps({name: {"total": value} for name, value in summary.items()}))


def fail(status: int, text: str) -> None:
    print(text, flush=True)
    sys.exit(status)
