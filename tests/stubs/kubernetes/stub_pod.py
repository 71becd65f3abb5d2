"""The only pod of the stand-in cluster: a coordinator that says when it is ready, and answers at the node port.

Arguments: the node port, and maxBatchSize of the config.json that was deployed. Faults: see stub_cluster.py.
"""

from __future__ import annotations

import os
import select
import socket
import sys
import time

LOADS, WARMS_UP = 0.1, 0.05  # seconds until the ready line, and from there to the first good answer


def main(port: str, batch: str) -> None:
    """Serves until it is killed."""
    words = (word.partition("=") for word in os.environ.get("STUB_FAULT", "").split(",") if word)
    faulty = {name: float(value or 0) for name, _, value in words}
    say("MindIE-MS coordinator is not ready...")
    time.sleep(LOADS)
    if "never-ready" not in faulty:
        say("MindIE-MS coordinator is ready!!!")
    if "never-answers" in faulty:
        time.sleep(600)
    ready = time.time()
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", int(port)))
    listener.listen(64)
    ends = ready + faulty.get("dies", float("inf"))
    while time.time() < ends:
        if select.select([listener], [], [], min(0.05, max(0.0, ends - time.time())))[0]:
            answer(listener, batch, good=time.time() > ready + WARMS_UP)
    say("coordinator: segmentation fault")


def answer(listener: socket.socket, batch: str, *, good: bool) -> None:
    connection, _ = listener.accept()
    with connection:
        connection.settimeout(1.0)
        try:
            head, _, body = connection.recv(4096).decode("latin-1").partition("\r\n\r\n")
            method, path = head.split(" ", 2)[:2]
            status, text = response(method, path, body) if good else ("503 Service Unavailable", "")
            text = f"{batch} 8192" if path == "/stub/parameters" else text
            connection.sendall(
                f"HTTP/1.1 {status}\r\nContent-Length: {len(text)}\r\nConnection: close\r\n\r\n{text}".encode()
            )
        except (OSError, ValueError):
            return  # the other side gave up, or talks nonsense: its business


def response(method: str, path: str, body: str) -> tuple[str, str]:
    if path == "/stub/parameters":
        return "200 OK", ""
    if (method, path) == ("POST", "/") and '"inputs"' in body:
        say("request answered")
        return "200 OK", '{"generated_text": " there"}'
    return "404 Not Found", ""


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
