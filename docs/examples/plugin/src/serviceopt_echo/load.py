"""The benchmark program itself, which knows nothing of serviceopt either: sends prompts and saves what each one took."""

from __future__ import annotations

import argparse
import http.client
import json
import random
import socket
import sys
import threading
import time
from pathlib import Path
from typing import Any

CONNECT, ANSWER = 30, 60  # seconds that a connection, and an answer, may take: a busy machine is no failure


def main() -> None:
    """Measures once. Exit status 1, and no result, where nobody answers."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--num-prompts", type=int, required=True)
    parser.add_argument("--warm-up", type=int, default=0)
    parser.add_argument("--concurrency", type=int, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep-alive", action=argparse.BooleanOptionalAction, default=False)
    parser.add_argument("--result", type=Path, required=True)
    given = parser.parse_args()
    numbers = random.Random(given.seed)  # noqa: S311 - prompts, not secrets
    try:
        send(given, [numbers.randbytes(16).hex() for _ in range(given.warm_up)])
        started = time.monotonic()
        requests = send(given, [numbers.randbytes(16).hex() for _ in range(given.num_prompts)])
    except OSError as error:
        sys.exit(f"Error: nobody answers on {given.host}:{given.port}: {error}")
    seconds = time.monotonic() - started
    failed = given.num_prompts - len(requests)
    given.result.write_text(
        json.dumps({"seed": given.seed, "seconds": seconds, "failed": failed, "requests": requests})
    )
    print(f"{len(requests)} requests in {seconds:.3f} s, {failed} failed")


def send(given: argparse.Namespace, prompts: list[str]) -> list[dict[str, Any]]:
    """What each request took that was answered, with `--concurrency` of them in flight."""
    if prompts:
        socket.create_connection((given.host, given.port), timeout=CONNECT).close()
    waiting, done = list(prompts), list[dict[str, Any]]()

    def work() -> None:
        connection = None
        while waiting:
            try:
                prompt = waiting.pop()
            except IndexError:  # another thread took the last one
                break
            if connection is None:
                connection = http.client.HTTPConnection(given.host, given.port, timeout=ANSWER)
            try:
                done.append(ask(connection, prompt))
                reused = given.keep_alive
            except (OSError, http.client.HTTPException):
                reused = False
            if not reused:
                connection.close()
                connection = None
        if connection is not None:
            connection.close()

    threads = [threading.Thread(target=work) for _ in range(min(given.concurrency, max(1, len(prompts))))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return done


def ask(connection: http.client.HTTPConnection, prompt: str) -> dict[str, Any]:
    """One request: seconds to the first half of the answer, and to all of it."""
    start = time.monotonic()
    connection.request("POST", "/generate", body=prompt)
    answer = connection.getresponse()
    first = time.monotonic() - start
    words = answer.read().split()
    if answer.status != 200:  # noqa: PLR2004
        raise http.client.HTTPException(answer.status)
    return {"ttft": first, "e2el": time.monotonic() - start, "tokens": len(words)}


if __name__ == "__main__":
    main()
