"""Writes a result as `vllm bench serve` does, calculated from the service's parameters and the load.

    --stub-seconds S         takes S seconds
    --stub-hang              never ends; with --stub-paced its requests stay with the engine
    --stub-hold FILE         goes on as soon as this file is there
    --stub-faster F          everything takes a factor less time
    --stub-paced             takes as long as its result says, and has the stub engine count its requests meanwhile
    --stub-lie LIE           all-failed, some-failed, nan, none, pipe, other, exit-7, half-a-file, zero-latency,
                             one-piece (the first token comes with the last one), elsewhere or nearly-elsewhere (the
                             engine counts none or one of its requests)
    --stub-dated S           the result is S seconds younger than now
    --stub-lies N=LIE,...    another lie for each concurrency
    --stub-when NAME>NUMBER  the above only where this holds of its own arguments (`>`, `<` or `=`)
    --stub-once FILE         the above only once: the file remembers; with --stub-turn N the N-th time

As the real one it exits 0 when every request failed, and 1 without a file when no service answers.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sys
import time
from pathlib import Path
from typing import Any

from stub_arguments import Arguments, account, age

INPUT_LENGTH, OUTPUT_LENGTH = 128, 32
PERCENTILES = (50, 90, 95, 99)
FOREVER = 3600.0  # seconds


def main(given: list[str]) -> None:
    """Measures once."""
    account("client began")
    print(f"stub-client: began {time.time():.6f} age {age():.6f}", flush=True)
    print("Starting main benchmark run...", flush=True)
    arguments = Arguments(given)
    misbehaves = arguments.misbehaves()
    lie = chosen_lie(arguments) if misbehaves else ""
    try:
        seqs, tokens = parameters_of(arguments)
    except (OSError, ValueError) as unreachable:
        print(f"stub-client: no service answers: {unreachable}", flush=True)
        leave(1)
    if misbehaves:
        time.sleep(arguments.number("stub-seconds", 0.0))
        while arguments.has("stub-hold") and not Path(arguments.text("stub-hold")).exists():
            time.sleep(0.05)
    hangs = misbehaves and arguments.has("stub-hang")
    if hangs and not arguments.has("stub-paced"):
        time.sleep(FOREVER)
    if lie == "exit-7":
        print("stub-client: something went wrong in the client", flush=True)
        leave(7)
    document = result(arguments, seqs, tokens, lie)
    if arguments.has("stub-paced"):
        pace(arguments, document, FOREVER if hangs else document["duration"])
    else:
        count(arguments, {"elsewhere": 0, "nearly-elsewhere": 1}.get(lie, document["completed"]))
    write(arguments, document, lie)
    leave(0)


def count(arguments: Arguments, completed: int) -> None:
    """Has the stub engine count requests that nobody has sent; whoever else serves does not count."""
    with contextlib.suppress(OSError), socket.create_connection(address_of(arguments), timeout=5.0) as connection:
        connection.sendall(f"GET /stub/finished?{completed} HTTP/1.1\r\nHost: stub\r\n\r\n".encode())
        connection.recv(64)


def pace(arguments: Arguments, document: dict[str, Any], seconds: float) -> None:
    """The engine sees the connection end when this process does."""
    load = {
        "requests": document["num_prompts"],
        "concurrency": document["max_concurrent_requests"],
        "ttft": document["mean_ttft_ms"] / 1000.0,
        "tpot": document["mean_tpot_ms"] / 1000.0,
        "rate": document["request_throughput"],
        "length": OUTPUT_LENGTH,
    }
    query = "&".join(f"{name}={value}" for name, value in load.items())
    with socket.create_connection(address_of(arguments), timeout=5.0) as connection:
        connection.sendall(f"GET /stub/load?{query} HTTP/1.1\r\nHost: stub\r\n\r\n".encode())
        time.sleep(seconds)


def chosen_lie(arguments: Arguments) -> str:
    lies = dict(pair.split("=") for pair in arguments.text("stub-lies").split(",") if pair)
    return lies.get(arguments.text("max-concurrency"), arguments.text("stub-lie"))


def leave(status: int) -> None:
    """Ends at once: an interpreter's own end is not what the tests measure."""
    print(f"stub-client: ended {time.time():.6f}", flush=True)
    os._exit(status)


def parameters_of(arguments: Arguments) -> tuple[float, float]:
    """MAX_NUM_SEQS and MAX_NUM_BATCHED_TOKENS, as the stub engine tells them."""
    with socket.create_connection(address_of(arguments), timeout=5.0) as connection:
        connection.sendall(b"GET /stub/parameters HTTP/1.1\r\nHost: stub\r\nConnection: close\r\n\r\n")
        answer = b""
        while received := connection.recv(4096):
            answer += received
    seqs, tokens = answer.decode().rsplit("\r\n", 1)[1].split()
    return float(seqs), float(tokens)


def address_of(arguments: Arguments) -> tuple[str, int]:
    return arguments.text("host", "127.0.0.1"), int(arguments.number("port", 8000))


def result(arguments: Arguments, seqs: float, tokens: float, lie: str) -> dict[str, Any]:
    """More sequences at a time: more throughput, and slower tokens. Fewer than are sent: they wait for the first."""
    prompts = int(arguments.number("num-prompts", 1000))
    limit = arguments.text("max-concurrency")
    concurrency = float(limit) if limit else float(prompts)
    batch = min(seqs, concurrency)
    tpot = 5.0 + 1.5 * batch + 40.0 * batch / max(tokens, 1.0)  # ms
    ttft = 30.0 + OUTPUT_LENGTH * tpot * max(0.0, concurrency - batch) / batch  # ms
    e2el = ttft + (OUTPUT_LENGTH - 1) * tpot
    rate = batch / (OUTPUT_LENGTH * tpot / 1000.0 + 0.03)  # requests/s
    faster = arguments.number("stub-faster", 1.0)
    ttft, tpot, e2el, rate = ttft / faster, tpot / faster, e2el / faster, rate * faster
    completed = {"all-failed": 0, "some-failed": prompts - prompts // 3}.get(lie, prompts)
    times = {"ttft": ttft, "tpot": tpot, "itl": tpot, "e2el": e2el}
    if lie == "one-piece":
        times["ttft"] = 0.9995 * e2el
        times["tpot"] = times["itl"] = (e2el - times["ttft"]) / (OUTPUT_LENGTH - 1)
    if lie in ("all-failed", "zero-latency"):
        times = dict.fromkeys(times, 0.0)
    if lie == "all-failed":
        rate = 0.0
    document: dict[str, Any] = {
        "date": time.strftime("%Y%m%d-%H%M%S"),
        "endpoint_type": "openai",
        "backend": "openai",
        "label": None,
        "model_id": "another-model" if lie == "other" else arguments.text("model"),
        "tokenizer_id": arguments.text("model"),
        "num_prompts": prompts + 1 if lie == "other" else prompts,
        "request_rate": arguments.number("request-rate", 0.0) or "inf",
        "burstiness": 1.0,
        "max_concurrency": int(concurrency) if limit else None,
        "duration": completed / rate if rate else 1.0,
        "completed": completed,
        "failed": prompts - completed,
        "total_input_tokens": INPUT_LENGTH * completed,
        "total_output_tokens": OUTPUT_LENGTH * completed,
        "request_throughput": rate,
        "request_goodput": rate if arguments.has("goodput") else None,
        "output_throughput": rate * OUTPUT_LENGTH,
        "total_token_throughput": rate * (INPUT_LENGTH + OUTPUT_LENGTH),
        "max_concurrent_requests": int(concurrency),
    }
    for name, value in times.items():
        document |= {f"mean_{name}_ms": value, f"median_{name}_ms": value, f"std_{name}_ms": 0.0}
        document |= {f"p{percentile}_{name}_ms": value for percentile in percentiles(arguments)}
    if arguments.has("save-detailed"):
        document |= {
            "start_times": [float(number) for number in range(completed)],
            "output_lens": [OUTPUT_LENGTH] * completed,
            "ttfts": [ttft / 1000.0] * completed,
            "itls": [[tpot / 1000.0] * (OUTPUT_LENGTH - 1)] * completed,
            "generated_texts": ["word"] * completed,
            "errors": [""] * completed,
        }
    if lie == "nan":
        document |= {"mean_ttft_ms": float("nan"), "output_throughput": float("nan")}
    return document


def percentiles(arguments: Arguments) -> list[str]:
    asked = arguments.text("metric-percentiles")
    return asked.split(",") if asked else [str(percentile) for percentile in PERCENTILES]


def write(arguments: Arguments, document: dict[str, Any], lie: str) -> None:
    if lie == "none":
        return
    path = Path(arguments.text("result-dir", "."), arguments.text("result-filename", "result.json"))
    if lie == "pipe":
        os.mkfifo(path)
        return
    text = json.dumps(document)
    path.write_text(text[: len(text) // 2] if lie == "half-a-file" else text)
    account(f"client measured {document['output_throughput']!r}")
    if dated := arguments.number("stub-dated", 0.0):
        os.utime(path, (time.time() + dated,) * 2)


if __name__ == "__main__":
    main(sys.argv[1:])
