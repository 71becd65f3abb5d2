"""A service that lives and does not work: its engine is dead, it hangs, or it was not the one that was measured."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import psutil
import pytest

from run_stories import some_metrics, some_settings
from serviceoptd.contract.orders import a_workplace
from serviceoptd.domain.settings import EarlyStopping, TimeLimits
from serviceoptd.engines.interface import ServicePlan
from serviceoptd.engines.vllm import VllmEngine
from serviceoptd.evaluating import observing, service_health
from serviceoptd.evaluating.live_service import LiveService
from serviceoptd.evaluating.measurement import Failure
from serviceoptd.evaluating.observing import Observer, ServedRequests
from serviceoptd.evaluating.service_health import (
    LONGER,
    died_in_its_log,
    forget_cached_prefixes,
    not_ready_any_more,
    watch_progress,
)
from serviceoptd.io.log_follower import LogFollower
from serviceoptd.toolkit.interface import HttpProbe, MetricsPage

SETTINGS = some_settings(
    limits=TimeLimits(stall=1.0, http=1.0), early_stopping=EarlyStopping(interval=0.05)
)  # fmt: skip


class Service:
    """Answers what it is told to, and counts what it is told to have counted."""

    def __init__(self) -> None:
        self.status = {"/health": 200, "/reset": 200, "/metrics": 200}
        self.running, self.tokens, self.finished, self.moves = 0, 0, 0, False
        self.waiting, self.more = 0, ""  # further lines of the page: {looks} is the number of looks so far
        self.looks, self.counts = 0, True  # False: the counters are not there before the first request, as SGLang's
        service = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = service.page().encode() if self.path == "/metrics" else b""
                self.send_response(service.status[self.path])
                self.end_headers()
                self.wfile.write(body)

            def do_POST(self) -> None:
                self.do_GET()

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def page(self) -> str:
        self.tokens += self.moves
        self.looks += 1
        gauges = f"vllm:num_requests_running {self.running}\nvllm:num_requests_waiting {self.waiting}\n"
        return (
            self.more.format(looks=self.looks)
            + gauges * bool(self.counts or self.running)
            + self.counts
            * (f"vllm:generation_tokens_total {self.tokens}\nvllm:request_success_total {self.finished}\n")
        )

    def at(self, path: str, method: str = "GET") -> HttpProbe:
        return HttpProbe("127.0.0.1", self.server.server_address[1], path, method)

    @property
    def metrics(self) -> MetricsPage:
        return MetricsPage(self.at("/metrics"), VllmEngine.series)

    def live(self, directory: Path, **plan: Any) -> LiveService:
        return LiveService(
            run=1, evaluation=1, attempt=1, launch_id="l", workplace=a_workplace(directory), engine=VllmEngine({}),
            child=None, log=LogFollower(directory / "log"),
            plan=ServicePlan(**{
                "command": None, "ready": self.at("/health"), "reset_cache": self.at("/reset", "POST")} | plan),
        )  # fmt: skip


@pytest.fixture
def service() -> Iterator[Service]:
    told = Service()
    yield told
    told.server.shutdown()
    told.server.server_close()


def test_a_service_that_answers_is_fit_and_one_that_does_not_is_not(service: Service, tmp_path: Path) -> None:
    live = service.live(tmp_path)
    assert asyncio.run(not_ready_any_more(live, 1.0)) == ""
    service.status["/health"] = 503
    assert asyncio.run(not_ready_any_more(live, 1.0)) == "GET /health: status 503"
    assert asyncio.run(not_ready_any_more(service.live(tmp_path, ready=None), 1.0)) == ""


@pytest.mark.parametrize(("status", "reset", "broken"), [(200, True, False), (404, False, False), (500, False, True)])
def test_an_error_of_the_server_s_own_at_a_cache_reset_is_a_sign_of_death(
    status: int, reset: bool, broken: bool, service: Service, tmp_path: Path
) -> None:
    service.status["/reset"] = status
    done, told = asyncio.run(forget_cached_prefixes(service.live(tmp_path), 1.0))
    assert (done, bool(told)) == (reset, broken)


def progress(service: Service, directory: Path, seconds: float, child: Any = None) -> Failure | None:
    live = service.live(directory)
    live.child = child

    async def watched() -> Failure | None:
        try:
            async with asyncio.timeout(seconds):
                return await watch_progress(service.metrics, live, SETTINGS)
        except TimeoutError:
            return None

    return asyncio.run(watched())


def test_requests_in_flight_without_a_token_are_a_hung_engine(service: Service, tmp_path: Path) -> None:
    service.running = 3
    failed = progress(service, tmp_path, 20.0)
    assert failed is not None
    assert (failed.kind, failed.service, failed.cause) == ("service", "retryable", "hung_engine")
    assert "3 requests are in flight" in failed.reason


@pytest.mark.parametrize(
    "sign",
    [
        "vllm:kv_cache_usage_perc 0.{looks}",
        "vllm:gpu_cache_usage_perc 0.{looks}",
        "vllm:prompt_tokens_total {looks}",
        "vllm:iteration_tokens_total_count {looks}",
        'vllm:kv_cache_usage_perc{{engine="1"}} 0.{looks}\nvllm:kv_cache_usage_perc{{engine="0"}} 0.5',
    ],
)
def test_a_long_prefill_whose_chunks_the_engine_counts_is_not_hung(service: Service, tmp_path: Path, sign: str) -> None:
    service.running, service.more = 3, sign + "\n"
    assert progress(service, tmp_path, 1.5) is None


def test_requests_that_only_wait_in_growing_numbers_are_no_sign_of_life(service: Service, tmp_path: Path) -> None:
    service.running, service.more = 1, 'vllm:num_requests_waiting{{engine="1"}} {looks}\n'
    assert progress(service, tmp_path, 20.0) is not None


SPINS, SLEEPS = "while True: pass", "import time; time.sleep(600)"


@pytest.mark.parametrize(("program", "busy"), [(SPINS, True), (SLEEPS, False)])
def test_a_service_that_computes_is_waited_for_longer_but_not_for_ever(
    service: Service, tmp_path: Path, program: str, busy: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service_health, "COMPUTING", 0.02)  # other tests use the processors, too
    service.running = 3
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {program!r}])"
    with subprocess.Popen([sys.executable, "-c", parent], start_new_session=True) as child:
        try:
            while len(psutil.Process(child.pid).children()) == 0:
                time.sleep(0.05)
            time.sleep(0.5)  # it has started
            began = time.monotonic()
            failed = progress(service, tmp_path, 60.0, child=child)
            waited = time.monotonic() - began
        finally:
            os.killpg(child.pid, signal.SIGKILL)
    assert failed is not None
    assert ("though its processes computed" in failed.reason) is busy
    assert (waited >= LONGER * SETTINGS.limits.stall) is busy


def test_a_service_that_answers_nothing_any_more_hangs_too(service: Service, tmp_path: Path) -> None:
    service.running, service.moves = 3, True

    async def story() -> Failure:
        watching = asyncio.ensure_future(watch_progress(service.metrics, service.live(tmp_path), SETTINGS))
        await asyncio.sleep(0.3)
        service.status = dict.fromkeys(service.status, 500)
        return await asyncio.wait_for(watching, 20.0)

    assert "neither its metrics" in asyncio.run(story()).reason


def test_tokens_that_come_an_idle_service_and_one_that_tells_nothing_are_none(service: Service, tmp_path: Path) -> None:
    assert progress(service, tmp_path, 1.5) is None  # nothing is in flight
    service.running, service.moves = 3, True
    assert progress(service, tmp_path, 1.5) is None
    service.status["/metrics"] = 404
    assert progress(service, tmp_path, 1.5) is None


@pytest.mark.parametrize(("finished", "believed"), [(100, True), (6, True), (4, False), (0, False)])
def test_a_client_is_believed_only_about_requests_that_the_service_finished(
    finished: int, believed: bool, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(observing, "BETWEEN_COUNTS", 0.01)

    async def story() -> str:
        service.finished = 7
        counted = await ServedRequests.counted(service.metrics, 1.0)
        assert counted is not None
        service.finished += finished
        return await counted.contradict(some_metrics())  # 100 requests

    told = asyncio.run(story())
    assert (told == "") is believed
    assert believed or f"the service itself finished {finished}" in told


@pytest.mark.parametrize("counts", [True, False])
def test_an_engine_that_hangs_before_its_counters_are_there_hangs_too(
    service: Service, tmp_path: Path, *, counts: bool
) -> None:
    service.counts = False

    async def story() -> Failure:
        watching = asyncio.ensure_future(watch_progress(service.metrics, service.live(tmp_path), SETTINGS))
        await asyncio.sleep(0.3)
        assert not watching.done()
        service.running, service.counts = 2, counts
        return await asyncio.wait_for(watching, 20.0)

    assert "2 requests are in flight" in asyncio.run(story()).reason


@pytest.mark.parametrize(("finished", "believed"), [(100, True), (0, False)])
def test_counters_that_appear_with_the_first_request_began_at_0(
    finished: int, believed: bool, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(observing, "BETWEEN_COUNTS", 0.01)
    service.counts = False

    async def story() -> str:
        counted = await ServedRequests.counted(service.metrics, 1.0)
        assert counted is not None
        service.counts, service.finished = True, finished
        return await counted.contradict(some_metrics())  # 100 requests

    assert (asyncio.run(story()) == "") is believed


def an_observer(service: Service, directory: Path) -> Observer:
    return Observer(service.metrics, SETTINGS, "", 0, directory / "client.log")


def test_what_a_service_counts_is_looked_at_from_its_first_request_on(service: Service, tmp_path: Path) -> None:
    service.counts = False

    async def story() -> Observer:
        observer = an_observer(service, tmp_path)
        looking = asyncio.ensure_future(observer.verdict(None))
        await asyncio.sleep(0.3)
        service.running, service.counts, service.moves = 2, True, True
        while len(observer.looks) < 3:
            await asyncio.sleep(0.05)
        looking.cancel()
        return observer

    assert asyncio.run(asyncio.wait_for(story(), 20.0)).remark == ""


def test_counters_that_are_never_there_are_told_when_the_client_has_ended(service: Service, tmp_path: Path) -> None:
    service.counts = False

    async def story() -> Observer:
        observer = an_observer(service, tmp_path)
        looking = asyncio.ensure_future(observer.verdict(None))
        await asyncio.sleep(0.3)
        looking.cancel()
        await observer.last_look()
        return observer

    assert "vllm:generation_tokens_total" in asyncio.run(story()).remark


def test_a_service_that_does_not_count_contradicts_nobody(service: Service) -> None:
    service.status["/metrics"] = 404
    assert asyncio.run(ServedRequests.counted(service.metrics, 1.0)) is None
    assert asyncio.run(ServedRequests.counted(None, 1.0)) is None


def test_an_engine_that_logs_its_death_is_dead_though_its_server_answers(service: Service, tmp_path: Path) -> None:
    live, dead = (
        service.live(tmp_path),
        "ERROR 11-20 10:00:40 [x.py:1] EngineDeadError: EngineCore encountered an issue.\n",
    )
    (tmp_path / "log").write_text(dead)
    before = len(dead)
    assert asyncio.run(died_in_its_log(live, 0, 200)) == ""  # somebody else's: its log is not ours to read
    live.child = object()  # type: ignore[assignment]  # it is only asked whether there is one
    assert asyncio.run(died_in_its_log(live, 0, 200)).startswith("its log says: EngineDeadError")
    assert asyncio.run(died_in_its_log(live, before, 200)) == ""  # it said so of an earlier measurement
