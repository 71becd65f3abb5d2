"""What the processes of the world do: an engine like `vllm serve`, a client like `vllm bench serve`, and their faults."""

from __future__ import annotations

import json
import math
import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from histories.world import Process, World
from serviceoptd.io.http_probe import Answer
from serviceoptd.toolkit.interface import HttpProbe

SERVICE_FAULTS = (
    "exits before it is ready", "out of memory", "never ready", "connection reset", "killed before it is ready",
    "dies while it is measured", "killed while it is measured", "engine dead", "hangs", "ignores SIGTERM",
    "leaves a process behind", "says garbage",
)  # fmt: skip
CLIENT_FAULTS = (
    "hangs", "no result", "empty result", "half a result", "foreign result", "not a number", "all requests failed",
    "some requests failed", "exit status 1", "killed", "ignores SIGTERM", "result of an earlier measurement",
)  # fmt: skip
INPUT, OUTPUT = 128, 32  # tokens of each request


def option(argv: tuple[str, ...], name: str, default: str = "") -> str:
    """The value after a flag."""
    return argv[argv.index(name) + 1] if name in argv else default


def lasts(argv: tuple[str, ...], shortest: float, longest: float) -> float:
    """Seconds that a program takes: always the same with the same arguments; each attempt has a seed of its own."""
    told = " ".join(option(argv, f"--max-{name}") for name in ("num-seqs", "num-batched-tokens", "concurrency"))
    return Random(told).uniform(shortest, longest)


def truth(seqs: float, tokens: float, concurrency: float) -> dict[str, float]:
    """Milliseconds and requests/s of this service at this load."""
    batch = min(seqs, concurrency)
    tpot = 5.0 + 1.5 * batch + 40.0 * batch / tokens
    ttft = 30.0 + OUTPUT * tpot * (concurrency - batch) / batch
    rate = batch / (OUTPUT * tpot / 1000.0 + 0.03)
    return {"ttft": ttft, "tpot": tpot, "itl": tpot, "e2el": ttft + (OUTPUT - 1) * tpot, "rate": rate}


@dataclass
class Service:
    """One engine, and what it counts."""

    process: Process
    fault: str
    listens: bool = False
    healthy: bool = True
    finished: float = 0.0
    clients: int = 0
    load: Load | None = None


@dataclass
class Load:
    """Requests that a client sends."""

    begun: float
    seconds: float
    requests: int
    concurrency: int
    frozen_at: float | None = None

    def finished(self, now: float) -> float:
        """Requests that were answered by now."""
        until = now if self.frozen_at is None else min(now, self.frozen_at)
        return math.floor(self.requests * min(1.0, max(0.0, until - self.begun) / self.seconds))


@dataclass
class Programs:
    """Begins the program of each process that is started. `faults`: how many of a hundred processes have one."""

    world: World
    faults: int
    services: dict[int, Service] = field(default_factory=dict)
    wrote: dict[str, float] = field(
        default_factory=dict
    )  # launch id of a client -> tokens/s in a sound result of its own
    blamed: dict[str, str] = field(default_factory=dict)  # launch id -> what went wrong with its process
    reached: Callable[[str], None] = lambda what: None

    def begin(self, process: Process) -> None:
        """What the program does from now on."""
        match process.kind:
            case "service":
                self._serve(process)
            case "client":
                self._measure(process)
            case _:
                pass

    def answer(self, request: HttpProbe) -> Answer:
        """What comes back of one request."""
        service = self._listening()
        if service is None:
            raise ConnectionRefusedError
        if request.path == "/metrics":
            return Answer(200, self._metrics(service))
        return Answer(200 if service.healthy else 503)

    def spoil(self) -> None:
        """From now on nothing new goes wrong."""
        self.faults = 0

    def _fault(self, process: Process, known: tuple[str, ...]) -> str:
        random = self.world.random
        if random.randrange(100) >= self.faults:
            return ""
        fault = random.choice(known)
        self.reached(f"{process.kind} {fault}")
        return fault

    def _blame(self, process: Process, fault: str) -> None:
        self.blamed[process.launch_id] = f"{process.kind} {fault}"

    # The engine

    def _serve(self, process: Process) -> None:
        fault = self._fault(process, SERVICE_FAULTS)
        service = self.services[process.pid] = Service(process, fault)
        after, random = self.world.after, self.world.random
        takes = lasts(process.argv, 0.1, 1.2)
        match fault:
            case "exits before it is ready":
                self._blame(process, fault)
                after(takes, lambda: self._says_and_ends(process, "ValueError: unsupported head size 7", 1))
            case "out of memory":
                self._blame(process, fault)
                after(takes, lambda: self._says_and_ends(process, "torch.OutOfMemoryError: CUDA out of memory", 1))
            case "connection reset":
                self._blame(process, fault)
                after(takes, lambda: self._says_and_ends(process, "RuntimeError: connection reset by peer", 1))
            case "killed before it is ready":
                self._blame(process, fault)
                after(takes, lambda: self.world.end(process, -signal.SIGKILL))
            case "never ready":
                self._blame(process, fault)
            case _:
                after(takes, lambda: self._ready(service))
        if fault == "ignores SIGTERM":
            process.obeys_sigterm = False
        if fault == "leaves a process behind":
            left = self.world.begin("helper", process.launch_id)
            left.obeys_sigterm = random.random() < 0.5
        if fault == "says garbage":
            process.says("\x1b[31m\udcff\x00".encode("utf-8", "replace").decode() * 40)

    def _ready(self, service: Service) -> None:
        if service.process.alive:
            service.listens = True

    def _says_and_ends(self, process: Process, line: str, status: int) -> None:
        if process.alive:
            process.says(line)
            self.world.end(process, status)

    def _listening(self) -> Service | None:
        return next((each for each in self.services.values() if each.process.alive and each.listens), None)

    def _metrics(self, service: Service) -> str:
        load, now = service.load, self.world.clock.now
        done = load.finished(now) if load else 0.0
        running = load.concurrency if load and done < load.requests else 0.0
        finished = service.finished + done
        return "\n".join(
            [
                f'vllm:num_requests_running{{engine="0"}} {running}',
                'vllm:num_requests_waiting{engine="0"} 0.0',
                f'vllm:generation_tokens_total{{engine="0"}} {finished * OUTPUT}',
                f'vllm:request_success_total{{engine="0",finished_reason="length"}} {finished}',
                'vllm:cache_config_info{block_size="16",num_gpu_blocks="4096"} 1.0',
            ]
        )

    # The client

    def _measure(self, process: Process) -> None:
        fault = self._fault(process, CLIENT_FAULTS)
        service = self._listening()
        process.says("Starting main benchmark run...")
        if service is None or not service.healthy:
            self._blame(process, "found no service")
            self.world.after(0.2, lambda: self._says_and_ends(process, "ConnectionError: no service answers", 1))
            return
        takes = lasts(process.argv, 0.2, 2.0)
        requests = int(option(process.argv, "--num-prompts"))
        service.clients += 1
        load = Load(self.world.clock.now, takes, requests, int(option(process.argv, "--max-concurrency", "24")))
        service.load = load
        process.waited_for.append(lambda _: self._leave(service, load))
        self._service_fault_during(service, process, load, takes)
        if fault == "ignores SIGTERM":
            process.obeys_sigterm = False
        elif fault == "killed":
            self._blame(process, fault)
            self.world.after(takes / 2, lambda: self.world.end(process, -signal.SIGKILL))
            return
        elif fault == "hangs":
            self._blame(process, fault)
            return
        elif fault:
            self._blame(process, fault)
        self.world.after(takes, lambda: self._finish(process, service, load, fault))

    def _service_fault_during(self, service: Service, client: Process, load: Load, takes: float) -> None:
        process, half = service.process, takes / 2

        def dies(status: int) -> None:
            if client.alive:
                self._blame(process, service.fault)
                load.frozen_at = self.world.clock.now
                self.world.end(process, status)

        def stops_working() -> None:
            if client.alive:
                self._blame(process, service.fault)
                load.frozen_at = self.world.clock.now
                service.healthy = service.fault == "hangs"

        match service.fault:
            case "dies while it is measured":
                self.world.after(half, lambda: dies(1))
            case "killed while it is measured":
                self.world.after(half, lambda: dies(-signal.SIGKILL))
            case "engine dead" | "hangs":
                self.world.after(half, stops_working)

    def _leave(self, service: Service, load: Load) -> None:
        """A client has ended, however: what it still waited for is aborted."""
        if service.load is load:
            service.finished += load.finished(self.world.clock.now)
            service.load = None

    def _finish(self, process: Process, service: Service, load: Load, fault: str) -> None:
        if not process.alive:
            return
        if not service.process.alive or not service.healthy:
            self._blame(process, "lost its service")
            self._says_and_ends(process, "aiohttp.ClientOSError: connection lost", 1)
            return
        if load.frozen_at is not None:
            return  # it waits for an engine that hangs
        self._write(process, service, fault)
        self.world.end(process, 1 if fault == "exit status 1" else 0)

    def _write(self, process: Process, service: Service, fault: str) -> None:
        path = Path(option(process.argv, "--result-dir"), option(process.argv, "--result-filename"))
        document = _document(process, service, fault)
        text = json.dumps(document)
        match fault:
            case "no result" | "result of an earlier measurement":
                return
            case "empty result":
                text = ""
            case "half a result":
                text = text[: len(text) // 2]
        path.write_text(text, encoding="utf-8")
        if fault in ("", "ignores SIGTERM", "some requests failed"):
            self.wrote[process.launch_id] = document["output_throughput"]


def _document(process: Process, service: Service, fault: str) -> dict[str, Any]:
    argv, serving = process.argv, service.process.argv
    prompts, limit = int(option(argv, "--num-prompts")), option(argv, "--max-concurrency")
    concurrency = float(limit or prompts)
    told = truth(
        float(option(serving, "--max-num-seqs", "16")), float(option(serving, "--max-num-batched-tokens", "2048")),
        concurrency,
    )  # fmt: skip
    completed = {"all requests failed": 0, "some requests failed": prompts - prompts // 3}.get(fault, prompts)
    document: dict[str, Any] = {
        "backend": "openai", "model_id": "another" if fault == "foreign result" else option(argv, "--model"),
        "num_prompts": prompts, "request_rate": "inf",
        "max_concurrency": int(concurrency) if limit else None, "completed": completed, "failed": prompts - completed,
        "duration": prompts / told["rate"], "total_input_tokens": INPUT * completed,
        "total_output_tokens": OUTPUT * completed, "request_throughput": told["rate"],
        "output_throughput": told["rate"] * OUTPUT,
    }  # fmt: skip
    for name in ("ttft", "tpot", "itl", "e2el"):
        value = told[name] if completed else 0.0
        document |= {f"{kind}_{name}_ms": value for kind in ("mean", "median", "p50", "p90", "p95", "p99")}
    if fault == "not a number":
        document |= {"mean_ttft_ms": math.nan, "output_throughput": math.nan}
    key, _, value = option(argv, "--metadata").partition("=")
    return {**document, key: "another" if fault == "foreign result" else value}
