"""Stands in for vLLM's toy_proxy_server.py: its options, and `GET /healthcheck`. Standard library.

Exits with status 4 where an instance does not answer GET /health when it starts. /stub/parameters is answered by the
first instance that decodes, for stub_client.py.

    --stub-die-after S  (in $STUB_PROXY) ends with status 5 after S seconds
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def main() -> None:
    """Serves until SIGTERM."""
    options = argparse.ArgumentParser(allow_abbrev=False)
    options.add_argument("--host", default="127.0.0.1")
    options.add_argument("--port", type=int, default=8000)
    for name in ("prefiller", "decoder"):
        options.add_argument(f"--{name}-hosts", nargs="+", required=True)
        options.add_argument(f"--{name}-ports", nargs="+", type=int, required=True)
    given = options.parse_args()
    prefillers = list(zip(given.prefiller_hosts, given.prefiller_ports, strict=True))
    decoders = list(zip(given.decoder_hosts, given.decoder_ports, strict=True))
    for host, port in [*prefillers, *decoders]:
        if answer_of(host, port, "/health")[0] != 200:
            sys.exit(4)
    counts = {"status": "ok", "prefill_instances": len(prefillers), "decode_instances": len(decoders)}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path == "/healthcheck":
                status, body = 200, json.dumps(counts).encode()
            elif self.path == "/stub/parameters":
                status, body = answer_of(*decoders[0], self.path)
            else:
                status, body = 404, b""
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    if seconds := os.environ.get("STUB_PROXY", "").removeprefix("--stub-die-after "):
        threading.Timer(float(seconds), lambda: os._exit(5)).start()
    print("stub-proxy:", json.dumps({"prefill": prefillers, "decode": decoders}), flush=True)
    ThreadingHTTPServer((given.host, given.port), Handler).serve_forever()


def answer_of(host: str, port: int, path: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(host, port, timeout=5)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read()
    except OSError:
        return 0, b""
    finally:
        connection.close()


if __name__ == "__main__":
    main()
