"""The service itself, which knows nothing of serviceopt: answers POST /generate with 4 words, in two halves.

Each worker answers `$ECHO_BATCH` requests at a time, and is slower for it. Workers that do not fit into the memory keep it
from starting, as a real engine's would.
"""

from __future__ import annotations

import argparse
import os
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

WORDS = 4
HALVES = ("one " * (WORDS // 2), "two " * (WORDS // 2))


def main() -> None:
    """Serves until it is ended by a signal."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--answer-ms", type=float, default=4.0)
    parser.add_argument("--worker-mb", type=float, default=8.0)
    parser.add_argument("--memory-mb", type=float, default=64.0)
    given = parser.parse_args()
    batch = int(os.environ.get("ECHO_BATCH", "1"))
    if given.workers * given.worker_mb > given.memory_mb:
        sys.exit(f"out of memory: {given.workers} workers need {given.workers * given.worker_mb:g} MB")
    places = threading.BoundedSemaphore(given.workers * batch)
    half = given.answer_ms / 1000.0 * (1.0 + 0.25 * (batch - 1)) / 2

    class Answers(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # the second half would wait for the client's acknowledgement of the first

        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/health" else 404)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", "0")))
            with places:
                time.sleep(half)
                self.send_response(200)
                self.send_header("Content-Length", str(sum(map(len, HALVES))))
                self.end_headers()
                self.wfile.write(HALVES[0].encode())
                self.wfile.flush()
                time.sleep(half)
                self.wfile.write(HALVES[1].encode())

        def log_message(self, *_: object) -> None:
            """Quiet: one line for each request would be the service's whole log."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        # The 5 of the standard library are fewer than a load connects at once: the next waits a second, or is reset.
        request_queue_size = 1024

    print(f"echo: {given.workers} workers, batches of {batch}", flush=True)
    Server((given.host, given.port), Answers).serve_forever()


if __name__ == "__main__":
    main()
