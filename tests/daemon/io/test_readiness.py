from __future__ import annotations

import asyncio
import shutil
import socket
import subprocess
from pathlib import Path

import pytest

from child_stage import Stage
from serviceoptd.domain.settings import LogPatterns
from serviceoptd.io.child import Child
from serviceoptd.io.log_follower import LogFollower
from serviceoptd.io.processes import stop
from serviceoptd.io.readiness import Readiness, ready, watch
from serviceoptd.toolkit.interface import HttpProbe, LogProbe, Probe

PATTERNS = LogPatterns(fatal={"out_of_memory": ("out of memory",)}, retryable={"network_error": ("timed out",)})
SERVER = """
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    answers = [503, 200]
    def do_GET(self):
        self.send_response(self.answers.pop(0) if len(self.answers) > 1 else self.answers[0])
        self.end_headers()
server = http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler)
server.serve_forever()
"""


def a_free_port() -> int:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        return int(reserved.getsockname()[1])


def wait_for(
    stage: Stage, probe: Probe | tuple[Probe, ...] | None, code: str, *arguments: str, limit: float = 20.0
) -> Readiness:
    async def run() -> Readiness:
        child = await stage.start(code, *arguments)
        try:
            return await ready(probe, follower=LogFollower(stage.output), child=child, limit=limit, patterns=PATTERNS)
        finally:
            await stop(child, grace=10)
            assert asyncio.all_tasks() - {asyncio.current_task()} == set()

    return asyncio.run(run())


def test_a_service_is_ready_when_it_answers_with_the_right_status(stage: Stage) -> None:
    port = a_free_port()
    found = wait_for(stage, HttpProbe("127.0.0.1", port, "/health"), SERVER, str(port))
    assert (found.ready, found.kind, found.reason) == (True, "ready", "")
    assert stage.printed().count("GET /health") == 2  # the first answer was 503


def test_a_service_is_ready_when_its_log_says_so(stage: Stage) -> None:
    code = "import time; print('Daemon start'); print('Daemon start success!', flush=True); time.sleep(60)"
    assert wait_for(stage, LogProbe("start success!"), code).ready


def test_a_service_that_cannot_be_asked_is_ready_at_once(stage: Stage) -> None:
    assert wait_for(stage, None, "import time; time.sleep(60)").kind == "ready"


def test_a_service_that_ends_instead_is_reported_with_its_last_words(stage: Stage) -> None:
    code = "import sys; print('usage: vllm serve'); sys.exit('unrecognized arguments: --max-num-sqes')"
    found = wait_for(stage, HttpProbe("127.0.0.1", a_free_port(), "/health"), code)
    assert (found.ready, found.kind, found.exit_status) == (False, "exited", 1)
    assert found.reason.startswith("exited with status 1; its log ends: ")
    assert "unrecognized arguments: --max-num-sqes" in found.reason


def test_a_service_that_is_killed_in_silence_is_reported_with_the_signal(stage: Stage) -> None:
    found = wait_for(stage, LogProbe("up"), "import os; os.kill(os.getpid(), 9)")
    assert (found.kind, found.exit_status) == ("exited", -9)
    assert found.reason == "ended by signal 9; its log is empty"


def test_an_answer_of_somebody_else_does_not_make_a_dead_service_ready(stage: Stage) -> None:
    async def run() -> Readiness:
        server = await asyncio.start_server(lambda _, writer: writer.write(b"HTTP/1.1 200 OK\r\n\r\n"), "127.0.0.1", 0)
        child = await stage.start("raise SystemExit(1)")
        await child.wait()
        probe = HttpProbe("127.0.0.1", server.sockets[0].getsockname()[1], "/health")
        found = await ready(probe, follower=LogFollower(stage.output), child=child, limit=10, patterns=PATTERNS)
        server.close()
        await stop(child, grace=1)
        return found

    assert asyncio.run(run()).kind == "exited"


@pytest.mark.parametrize(
    ("said", "kind", "reason"),
    [
        ("RuntimeError: CUDA out of memory", "fatal", "out_of_memory: RuntimeError: CUDA out of memory"),
        ("download timed out", "retryable", "network_error: download timed out"),
        ("download timed out\\nout of memory", "fatal", "out_of_memory: out of memory"),
    ],
)
@pytest.mark.parametrize("ends", [False, True])
def test_a_pattern_in_the_log_ends_the_wait_at_once(
    stage: Stage, said: str, kind: str, reason: str, ends: bool
) -> None:
    after = "sys.exit(5)" if ends else "time.sleep(60)"
    # Without a line end, when it is the last that a dying process says; of two lines the first would be seen alone.
    end = "" if ends and "\\n" not in said else "\n"
    code = f"import sys, time; sys.stdout.write('{said}' + {end!r}); sys.stdout.flush(); {after}"
    found = wait_for(stage, HttpProbe("127.0.0.1", a_free_port(), "/health"), code)
    assert (found.ready, found.kind, found.reason) == (False, kind, reason)


def test_a_service_that_says_nothing_is_given_up_after_the_limit(stage: Stage) -> None:
    found = wait_for(stage, LogProbe("up"), "import time; time.sleep(60)", limit=0.1)
    assert (found.ready, found.kind, found.exit_status) == (False, "timeout", None)
    assert "time limit of 0.1 s" in found.reason
    assert found.waited >= 0.1


ANSWERS = """
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if sys.argv[2] != "0":
            self.send_response(int(sys.argv[2]))
            self.end_headers()
    def log_message(self, *words): pass
print("up", flush=True)
server = http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler)
if len(sys.argv) > 3:
    import ssl
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(sys.argv[3])
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    server.handle_error = lambda request, address: None
server.serve_forever()
"""


def given_up_on(stage: Stage, port: int, code: str, *arguments: str) -> str:
    return wait_for(stage, HttpProbe("127.0.0.1", port, "/health"), code, str(port), *arguments, limit=3.0).reason


@pytest.mark.parametrize(
    ("status", "came"),
    [
        ("503", "503 Service Unavailable"),
        ("401", "401 Unauthorized"),
        ("404", "404 Not Found"),
        ("0", "the connection was closed without an answer"),
    ],
)
def test_a_service_that_is_given_up_is_reported_with_what_was_asked_and_what_came_back(
    stage: Stage, status: str, came: str
) -> None:
    port = a_free_port()
    reason = given_up_on(stage, port, ANSWERS, status)
    assert reason == f"time limit of 3 s: GET http://127.0.0.1:{port}/health: {came}; its log ends: up"


def test_a_service_that_does_not_listen_is_reported_so(stage: Stage) -> None:
    port = a_free_port()
    reason = given_up_on(stage, port, "import time; time.sleep(60)")
    assert reason == f"time limit of 3 s: GET http://127.0.0.1:{port}/health: connection refused; its log is empty"


@pytest.mark.skipif(shutil.which("openssl") is None, reason="makes the certificate")
def test_a_service_that_speaks_tls_is_reported_so(stage: Stage, tmp_path: Path) -> None:
    certificate, port = tmp_path / "both.pem", a_free_port()
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=here", "-days", "1"]
    subprocess.run([*made, "-keyout", "key.pem", "-out", "own.pem"], cwd=tmp_path, check=True, capture_output=True)
    certificate.write_bytes((tmp_path / "key.pem").read_bytes() + (tmp_path / "own.pem").read_bytes())
    reason = given_up_on(stage, port, ANSWERS, "200", str(certificate))
    assert f"GET http://127.0.0.1:{port}/health: the server speaks TLS, not plain HTTP" in reason


def test_a_line_that_never_came_is_named_too(stage: Stage) -> None:
    probes = (LogProbe("Daemon start success!"), HttpProbe("127.0.0.1", a_free_port(), "/v2/health/ready"))
    reason = wait_for(stage, probes, "import time; time.sleep(60)", limit=1.0).reason
    assert "/v2/health/ready: connection refused; its output did not contain 'Daemon start success!'" in reason


def test_somebody_elses_service_is_asked_without_a_child_and_without_a_log(stage: Stage) -> None:
    async def run() -> Readiness:
        probe = HttpProbe("127.0.0.1", a_free_port(), "/health")
        return await ready(probe, follower=LogFollower(stage.output), child=None, limit=0.05, patterns=PATTERNS)

    assert asyncio.run(run()).kind == "timeout"


def test_a_cancelled_wait_leaves_no_task_and_the_child_as_it_was(stage: Stage) -> None:
    async def run() -> None:
        child = await stage.start("import time; time.sleep(60)")
        probe = HttpProbe("127.0.0.1", a_free_port(), "/health")
        waiting = asyncio.create_task(
            ready(probe, follower=LogFollower(stage.output), child=child, limit=60, patterns=PATTERNS)
        )
        await asyncio.sleep(0.05)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert asyncio.all_tasks() - {asyncio.current_task()} == set()
        assert child.alive
        await stop(child, grace=10)

    asyncio.run(run())


@pytest.mark.parametrize(
    ("code", "kind", "status"),
    [
        ("print('done')", "exited", 0),
        ("import time; print('request timed out', flush=True); time.sleep(60)", "retryable", None),
    ],
)
def test_a_client_is_watched_until_it_ends_or_logs_a_pattern(
    stage: Stage, code: str, kind: str, status: int | None
) -> None:
    async def watched(child: Child) -> Readiness:
        return await watch(follower=LogFollower(stage.output), child=child, limit=20, patterns=PATTERNS)

    async def run() -> None:
        child = await stage.start(code)
        found = await watched(child)
        assert (found.ready, found.kind, found.exit_status) == (False, kind, status)
        await stop(child, grace=10)

    asyncio.run(run())


def test_of_several_probes_each_has_to_be_good_in_any_order(stage: Stage) -> None:
    port = a_free_port()
    probes = (LogProbe("start success!"), HttpProbe("127.0.0.1", port, "/health"))
    late_line = "import threading, time\nthreading.Timer(0.4, lambda: print('start success!', flush=True)).start()"
    found = wait_for(stage, probes, late_line + "\n" + SERVER, str(port))
    assert found.ready
    assert "GET /health" in stage.printed().partition("start success!")[0]  # good before the line came, and remembered


def test_one_good_probe_of_two_is_not_ready(stage: Stage) -> None:
    port = a_free_port()
    answers_only = (LogProbe("never said"), HttpProbe("127.0.0.1", port, "/health"))
    assert wait_for(stage, answers_only, SERVER, str(port), limit=1.0).kind == "timeout"
    says_only = (LogProbe("start success!"), HttpProbe("127.0.0.1", a_free_port(), "/health"))
    code = "import time; print('start success!', flush=True); time.sleep(60)"
    assert wait_for(stage, says_only, code, limit=1.0).kind == "timeout"


def test_the_end_of_the_child_ends_the_wait_for_the_other_probe(stage: Stage) -> None:
    probes = (LogProbe("start success!"), HttpProbe("127.0.0.1", a_free_port(), "/health"))
    found = wait_for(stage, probes, "print('start success!', flush=True); raise SystemExit(3)")
    assert (found.kind, found.exit_status) == ("exited", 3)


def test_a_service_that_ends_tells_the_line_that_named_the_error_and_its_kind(stage: Stage) -> None:
    code = (
        "print('ValueError: To serve at least one request, more KV cache is needed')\n"
        "print('RuntimeError: Engine core initialization failed. See root cause above.')\nraise SystemExit(1)"
    )
    found = wait_for(stage, LogProbe("up"), code)
    assert found.cause == "kv_cache"
    assert found.reason.startswith("exited with status 1; kv_cache: ValueError: To serve at least one request")


def test_a_service_that_hangs_after_an_error_tells_it_too(stage: Stage) -> None:
    code = "import time; print('OSError: [Errno 98] Address already in use', flush=True); time.sleep(60)"
    found = wait_for(stage, LogProbe("up"), code, limit=2.0)
    assert (found.kind, found.cause) == ("timeout", "port")


def test_an_error_before_a_service_was_ready_is_not_why_it_ended_later(stage: Stage) -> None:
    async def run() -> Readiness:
        code = "import time; print('MemoryError: passed over\\nup', flush=True); time.sleep(1); raise SystemExit(4)"
        child, follower = await stage.start(code), LogFollower(stage.output)
        assert (await ready(LogProbe("up"), follower=follower, child=child, limit=20.0, patterns=LogPatterns())).ready
        return await watch(follower=follower, child=child, limit=20.0, patterns=LogPatterns())

    found = asyncio.run(run())
    assert (found.kind, found.cause) == ("exited", "")
