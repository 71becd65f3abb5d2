"""What this machine does with a real vLLM: measured once for each `make test-real`, and told to all its tests.

SERVICEOPT_REAL_MACHINE names a file: what it tells is believed, and where it is not there yet it is written.
SERVICEOPT_REAL_FLAGS pretends to a processor with these flags alone; PyTorch and oneDNN are held to them.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from real.sizes import LATENCIES_NEED, Speed, dtype_for
from real.tuning import FLAGS, QUIET, wait_until_healthy
from stubs.scenario import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

FILE = "SERVICEOPT_REAL_MACHINE"
FIRST_LOOK, OF_TOKENS = 16, 8
"""Requests, all at a time, and their tokens: seconds also where there are only 17 tokens/s."""


@dataclass(frozen=True)
class Machine:
    """What the model does here, so that the sizes and the limit suit a fast machine and a slow one."""

    flags: frozenset[str]
    speed: Speed
    tpot_alone: float  # seconds, one request at a time
    tpot_crowded: float  # seconds, 64 at a time

    @property
    def limit(self) -> float:
        """Between the two, so that neither every configuration nor none keeps it; other work may slow the machine."""
        return round(0.6 * self.tpot_crowded + 0.4 * self.tpot_alone, 4)


def machine(real_engines: Path, directory: Path) -> Machine:
    """What is known of this machine, or what is measured now and written down."""
    known = Path(os.environ.get(FILE) or directory / "machine.json")
    if known.exists() and known.stat().st_size:
        told = json.loads(known.read_text())
        return Machine(flags(), Speed(**told.pop("speed")), **told)
    found = measured(real_engines, directory)
    known.write_text(json.dumps({name: value for name, value in asdict(found).items() if name != "flags"}))
    return found


def flags() -> frozenset[str]:
    """What the processor can do, or is to be taken for."""
    if pretended := os.environ.get(FLAGS):
        return frozenset(pretended.split())
    line = next((line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("flags")), "")
    return frozenset(line.partition(":")[2].split())


def measured(real_engines: Path, directory: Path, quiet: Mapping[str, str] = QUIET) -> Machine:
    """Starts the service once, without serviceopt: its start, its tokens, its client, one request alone and 64 at a time."""
    began = time.monotonic()
    model = real_engines / "model-88m"
    with service(real_engines, model, directory / "calibration-service.log", dtype_for(flags()), quiet) as port:
        launch = time.monotonic() - began
        answered(port, 1)
        began = time.monotonic()
        tokens = answered(port, FIRST_LOOK) / (time.monotonic() - began)
        if tokens < LATENCIES_NEED:
            return Machine(flags(), Speed(launch, launch / 2, tokens), 1 / tokens, FIRST_LOOK / tokens)
        tpot, took, clients = {}, {}, []
        for concurrency, least, most in ((1, 4, 16), (64, 32, 64)):
            prompts = max(least, min(most, int(tokens * 10 / 16)))
            began = time.monotonic()
            told = by_the_client(real_engines, model, port, directory, prompts, concurrency)
            clients.append(time.monotonic() - began - told["duration"])
            tpot[concurrency], took[concurrency] = told["mean_tpot_ms"] / 1000.0, told["output_throughput"]
    return Machine(flags(), Speed(launch, min(clients), took[64]), tpot[1], tpot[64])


@contextmanager
def service(real_engines: Path, model: Path, log: Path, dtype: str, quiet: Mapping[str, str]) -> Iterator[int]:
    """A `vllm serve` for 64 sequences, started by hand; its port."""
    port = free_port()
    with log.open("wb") as output:
        process = subprocess.Popen(
            [
                str(real_engines / "vllm/bin/vllm"), "serve", str(model), "--served-model-name", "tiny",
                "--host", "127.0.0.1", "--port", str(port), "--max-model-len", "1024", "--enforce-eager",
                "--max-num-seqs", "64", "--max-num-batched-tokens", "2048", "--dtype", dtype,
            ],
            env={**os.environ, **quiet}, stdout=output, stderr=output,
        )  # fmt: skip
    try:
        wait_until_healthy(port, process)
        yield port
    finally:
        process.terminate()
        process.wait(timeout=60)


def answered(port: int, requests: int) -> int:
    """Output tokens of so many requests, all sent at once."""

    def ask(number: int) -> int:
        prompt = [100 + (37 * number + place) % 4000 for place in range(64)]
        body = {"model": "tiny", "prompt": prompt, "max_tokens": OF_TOKENS, "ignore_eos": True, "temperature": 0}
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/v1/completions", json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=1800) as answer:  # noqa: S310
            return int(json.load(answer)["usage"]["completion_tokens"])

    with ThreadPoolExecutor(requests) as at_once:
        return sum(at_once.map(ask, range(requests)))


def by_the_client(
    real_engines: Path, model: Path, port: int, directory: Path, prompts: int, concurrency: int
) -> dict[str, float]:
    """The result of vLLM's own client, started by hand."""
    file = directory / f"calibration-{concurrency}.json"
    subprocess.run(
        [
            str(real_engines / "vllm/bin/vllm"), "bench", "serve", "--host", "127.0.0.1", "--port", str(port),
            "--model", str(model), "--served-model-name", "tiny", "--dataset-name", "random",
            "--num-prompts", str(prompts), "--max-concurrency", str(concurrency), "--save-result",
            "--result-dir", str(directory), "--result-filename", file.name,
            "--random-input-len", "64", "--random-output-len", "16", "--ignore-eos",
        ],
        env={**os.environ, **QUIET}, check=True, capture_output=True, timeout=1800,
    )  # fmt: skip
    told: dict[str, float] = json.loads(file.read_text())
    return told
