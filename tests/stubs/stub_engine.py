"""A service that answers `GET /health` and does nothing else: what the daemon must cope with, without a model.

    --stub-delay S           ready only after S seconds
    --stub-die-after S       ends with exit status 3 after S seconds
    --stub-die-measured      ends so as soon as a client has been told the parameters
    --stub-log TEXT          prints a line after --stub-log-after seconds (0), such as a fatal or a retryable pattern
    --stub-ready-line TEXT   prints a line when it is ready
    --stub-grandchild        starts a process that leaves its session and process group
    --stub-ignore-sigterm    goes on after SIGTERM, and the grandchild too
    --stub-hang              is never ready
    --stub-dead-after N      answers 503 from then on, but for its metrics, once N clients have begun: its engine is dead
    --stub-last-words TEXT   prints a line once a client has been told the parameters, and answers all the same
    --stub-metrics KIND      what GET /metrics tells of the loads of `stub-client --stub-paced`: "real", "steps"
                             (and what the engine counts of its own) or "garbage"
    --stub-stuck-after S     gives no token any more from S seconds after a load has begun, and answers all the same
    --stub-linger S          counts the requests of a client that has gone as running for so long
    --stub-when NAME>NUMBER  the above only where this holds of its own arguments (`>`, `<` or `=`)
    --stub-once FILE         the above only once: the file remembers; with --stub-turn N the N-th time

Prints when it began and when it was ready (seconds since the epoch), for tests/bench/evaluation_overhead.py.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import sys
import time

from stub_arguments import Arguments, account, age
from stub_load import Loads

ENGINE_S_OWN = ("/health", "/reset_prefix_cache")
FOREVER = 600.0  # seconds
CACHE = 'vllm:cache_config_info{block_size="128",engine="0",num_gpu_blocks="256"} 1.0\n'


def main(given: list[str]) -> None:
    """Serves until SIGTERM."""
    if "STUB_BYSTANDER" in os.environ:  # the same command line, of somebody else
        time.sleep(FOREVER)
    began = time.monotonic()
    account("service began")
    say(f"stub-engine: began {time.time():.6f} age {age():.6f}")
    arguments = Arguments(given)
    misbehaves = arguments.misbehaves()
    stubborn = misbehaves and arguments.has("stub-ignore-sigterm")
    signal.signal(signal.SIGTERM, signal.SIG_IGN if stubborn else end)
    if misbehaves and arguments.has("stub-grandchild"):
        leave_a_grandchild()
    serve(arguments, began, misbehaves=misbehaves)


def serve(arguments: Arguments, began: float, *, misbehaves: bool) -> None:
    loads = Loads(linger=arguments.number("stub-linger", 0.0))
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((arguments.text("host", "127.0.0.1"), int(arguments.number("port", 8000))))
    listener.listen(64)
    never = float("inf")
    loads.stuck_after = arguments.number("stub-stuck-after", never) if misbehaves else never
    loads.dead_after = arguments.number("stub-dead-after", never) if misbehaves else never
    ready_at = never if misbehaves and arguments.has("stub-hang") else began
    ready_at += arguments.number("stub-delay", 0.0) if misbehaves else 0.0
    dies_at = began + arguments.number("stub-die-after", never) if misbehaves else never
    logs_at = began + arguments.number("stub-log-after", 0.0) if misbehaves and arguments.has("stub-log") else never
    announced = False
    while True:
        now = time.monotonic()
        if now >= dies_at:
            say("stub-engine: dies")
            os._exit(3)
        if now >= logs_at:
            logs_at = never
            say(arguments.text("stub-log"))
        if now >= ready_at and not announced:
            announced = True
            say(f"stub-engine: ready {time.time():.6f}")
            if arguments.has("stub-ready-line"):
                say(arguments.text("stub-ready-line"))
        due = min(dies_at, logs_at, never if announced else ready_at)
        wait = None if due == never else max(0.0, due - now)
        if select.select([listener], [], [], wait)[0]:
            asked = answer(listener, arguments, loads, ready=announced)
            if asked.startswith("GET /stub/parameters") and misbehaves and arguments.has("stub-die-measured"):
                dies_at = now
            if asked.startswith("GET /stub/parameters") and misbehaves and arguments.has("stub-last-words"):
                say(arguments.text("stub-last-words"))


def answer(listener: socket.socket, arguments: Arguments, loads: Loads, *, ready: bool) -> str:
    """Answers one request, and returns its first line; an empty one where the other side gave up."""
    accepted, _ = listener.accept()
    with contextlib.ExitStack() as opened:
        connection = opened.enter_context(accepted)
        connection.settimeout(1.0)
        try:
            request = connection.recv(4096).decode("latin-1").split("\r\n", 1)[0]
            if request.startswith("GET /stub/load?"):
                opened.pop_all()  # open for as long as the client lives
                loads.begin(connection, request.split(" ")[1])
                return request
            if request.startswith(("POST /reset_prefix_cache", "POST /flush_cache")):
                say("stub-engine: prefix cache reset")
            body = body_of(request, arguments, loads) if ready else None
            alive = ready and not (loads.clients >= loads.dead_after and request.split(" ")[1] in ENGINE_S_OWN)
            status = "503 Service Unavailable" if not alive else "200 OK" if body is not None else "404 Not Found"
            text = body or ""
            connection.sendall(
                f"HTTP/1.1 {status}\r\nContent-Length: {len(text)}\r\nConnection: close\r\n\r\n{text}".encode()
            )
        except OSError:
            return ""  # the other side gave up: its business
    return request


def body_of(request: str, arguments: Arguments, loads: Loads) -> str | None:
    path = request.split(" ")[1] if request.count(" ") == 2 else ""
    loads.clients += path == "/stub/parameters"
    if path.startswith("/stub/finished?"):
        loads.counts["finished"] += float(path.partition("?")[2])
        return ""
    seqs, tokens = arguments.number("max-num-seqs", 256), arguments.number("max-num-batched-tokens", 8192)
    return {
        "/health": "",
        "/reset_prefix_cache": "",
        "/metrics": CACHE + told(arguments.text("stub-metrics"), loads),
        "/flush_cache": "",
        "/get_server_info": '{"max_total_num_tokens": 8192, "page_size": 32}',
        "/stub/parameters": f"{seqs:g} {tokens:g}",
    }.get(path)


def told(kind: str, loads: Loads) -> str:
    if kind == "garbage":
        return "vllm:num_requests_running{ NaN\nvllm:request_success_total many\n<html>"
    return loads.told(steps=kind == "steps") if kind in ("real", "steps") else ""


def leave_a_grandchild() -> None:
    """Double fork and setsid: no longer a child, a member of the session, or of the process group."""
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            say(f"stub-engine: grandchild {os.getpid()}")
            time.sleep(FOREVER)
        os._exit(0)
    os.wait()


def end(number: int, _frame: object) -> None:
    say(f"stub-engine: ended {time.time():.6f} by signal {number}")
    os._exit(0)


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
