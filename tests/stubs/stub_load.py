"""What a service would count of a load of like requests, at any time: for the stub engine's /metrics."""

from __future__ import annotations

import socket
import time

PROMPT = 128  # tokens of each request, as the stub client says
EDGES = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, float("inf"))


class Loads:
    """Those that have ended, and one that may be under way: it ends when its client closes the connection."""

    def __init__(self, *, linger: float) -> None:
        self.linger = linger
        self.connection: socket.socket | None = None
        self.load: dict[str, float] = {}
        self.clients, self.dead_after = 0, float("inf")  # how many began, and after how many the engine is dead
        self.stuck_after = float("inf")  # seconds of a load
        self.begun = self.gone = 0.0
        self.counts = {"first": 0.0, "finished": 0.0, "ttft": 0.0, "tpot": 0.0, "tokens": 0.0, "steps": 0.0}
        self.buckets = {"ttft": dict.fromkeys(EDGES, 0.0), "tpot": dict.fromkeys(EDGES, 0.0)}

    def begin(self, connection: socket.socket, path: str) -> None:
        self.load = {n: float(v) for n, v in (pair.split("=") for pair in path.partition("?")[2].split("&"))}
        self.connection, self.begun = connection, time.time()
        connection.setblocking(False)

    def told(self, *, steps: bool) -> str:
        """The text of /metrics; with `steps` also what an engine counts of its own."""
        now = time.time()
        if self.connection is not None and closed(self.connection):
            self.counts, self.buckets = self.added(now)
            self.connection, self.gone = None, now
        counts, buckets = self.added(now) if self.connection is not None else (self.counts, self.buckets)
        lingering = self.load and now < self.gone + self.linger
        running = self.load["concurrency"] if self.connection is not None or lingering else 0.0
        lines = [
            f'vllm:num_requests_running{{engine="0"}} {running}',
            'vllm:num_requests_waiting{engine="0"} 0.0',
            f'vllm:generation_tokens_total{{engine="0"}} {counts["tokens"]}',
            f'vllm:request_success_total{{engine="0",finished_reason="length"}} {counts["finished"]}',
        ]
        for series, name, count in (
            ("time_to_first_token_seconds", "ttft", counts["first"]),
            ("request_time_per_output_token_seconds", "tpot", counts["finished"]),
        ):
            lines += [f"vllm:{series}_count {count}", f"vllm:{series}_sum {counts[name]}"]
            for edge, value in buckets[name].items():
                shown = "+Inf" if edge == float("inf") else str(edge)
                lines.append(f'vllm:{series}_bucket{{le="{shown}"}} {value}')
        if steps:
            lines += [
                f'vllm:iteration_tokens_total_bucket{{le="{edge}"}} {counts["steps"] * (running <= edge)}'
                for edge in (1.0, 8.0, 16.0, 32.0, 64.0)
            ]
            lines += [
                f'vllm:iteration_tokens_total_bucket{{le="+Inf"}} {counts["steps"]}',
                f"vllm:iteration_tokens_total_count {counts['steps']}",
                f"vllm:iteration_tokens_total_sum {counts['tokens']}",
                f"vllm:prompt_tokens_total {PROMPT * counts['first']}",
                f"vllm:request_prompt_tokens_sum {PROMPT * counts['finished']}",
                f"vllm:request_generation_tokens_sum {counts['finished'] * self.load.get('length', 0.0)}",
            ]
        return "\n".join(lines) + "\n"

    def added(self, now: float) -> tuple[dict[str, float], dict[str, dict[float, float]]]:
        load, worked = self.load, min(now - self.begun, self.stuck_after)
        finished = float(min(load["requests"], int(worked * load["rate"])))
        first = min(load["requests"], finished + load["concurrency"])
        more = {
            "first": first,
            "finished": finished,
            "ttft": first * load["ttft"],
            "tpot": finished * load["tpot"],
            "tokens": min(load["requests"], worked * load["rate"]) * load["length"],
            "steps": float(int(min(load["requests"] / load["rate"], worked) / load["tpot"])),
        }
        of = {"ttft": first, "tpot": finished}
        buckets = {
            name: {edge: value + (of[name] if load[name] <= edge else 0.0) for edge, value in edges.items()}
            for name, edges in self.buckets.items()
        }
        return {name: value + more[name] for name, value in self.counts.items()}, buckets


def closed(connection: socket.socket) -> bool:
    try:
        return connection.recv(1, socket.MSG_PEEK) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True
