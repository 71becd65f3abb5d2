"""The process that stands for a service on Kubernetes: while it lives the pods do, and what they print it prints.

    python -m serviceoptd.engines.mindie_kubernetes.supervisor --directory D --lock FILE ... [--delete]

Deletes what was deployed before, waits until it is gone, deploys, waits until the pods run, prints their log, waits for
its ready line and for an answer at the node port, prints READY, and goes on printing until SIGTERM or until a pod ends.
Then it deletes the pods and waits until they are gone, whatever happened. Every wait has a limit; what failed is the last
line that it prints, and its exit status is 1.

With `--delete`: ends the supervisor that holds the lock, deletes what is left, and forbids this launch for ever. That is
the stop command, and what recovery runs after a daemon that was killed: pods are no processes of ours.

Started with `-I`, so that the submitter's PYTHONPATH is the scripts' affair and not ours; standard library only.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import signal
import sys
import time
from collections.abc import Awaitable, Sequence
from pathlib import Path

from serviceopt_journal.foreign_files import MIB, tail
from serviceoptd.engines.mindie_kubernetes.cluster import (
    HOPELESS,
    LONGEST_PAUSE,
    SHORTEST_PAUSE,
    Cluster,
    Failed,
    Pod,
    ended,
    last_line,
    within,
)
from serviceoptd.engines.mindie_kubernetes.lock import end_holder, held, refused
from serviceoptd.engines.mindie_kubernetes.request import answered

READY = "serviceopt: the service on Kubernetes is ready"
LONGEST_LINE = 65_536  # bytes of a log line that are kept together


class Supervisor:
    """One launch of the service."""

    def __init__(self, orders: argparse.Namespace) -> None:
        self.orders = orders
        self.cluster = Cluster(
            directory=Path(orders.directory),
            kubectl=orders.kubectl,
            namespace=orders.namespace,
            prefix=orders.pod_prefix,
            label=orders.pod_label,
            kubectl_limit=orders.kubectl_timeout,
            script_limit=orders.script_timeout,
        )
        self.said_ready = asyncio.Event()
        self.to_delete = False  # something of this launch may be in the cluster

    async def serve(self) -> None:
        """Deploys and follows the logs.

        Raises:
            Failed: always: what went wrong, or which pod ended.
        """
        await self.delete()
        self.to_delete = True
        await self._deploy()
        pods = await self._running()
        followers = [asyncio.ensure_future(self._follow(pod)) for pod in pods]
        try:
            what = f"the pods' log has no line with {self.orders.ready_log!r}"
            await _unless(followers, within(self.orders.ready_timeout, self.said_ready.wait(), what))
            request = answered(self.orders.host, self.orders.port, self.orders.request_path, self.orders.request_body)
            what = f"no request to port {self.orders.port} of {self.orders.host} was answered with 200"
            await _unless(followers, within(self.orders.answer_timeout, request, what))
            say(READY)
            await asyncio.wait(followers, return_when=asyncio.FIRST_COMPLETED)
            for follower in followers:
                if follower.done():
                    follower.result()
        finally:
            for follower in followers:
                follower.cancel()
            await asyncio.gather(*followers, return_exceptions=True)

    async def delete(self) -> None:
        """Runs delete.sh and waits until the pods are gone. Its exit status counts only where they are not.

        Some releases of the script end with a `kubectl delete` of something that need not be there.

        Raises:
            Failed: they are still there at the limit.
        """
        log = Path(self.orders.lock).with_name("delete.log")
        status = await self.cluster.script("delete.sh", self.orders.namespace, ".", output=log)
        how = f"delete.sh ended with exit status {status} ({last_line(tail(log, MIB))})" if status else "delete.sh ran"
        await self.cluster.until(lambda pods: not pods, self.orders.gone_timeout, f"{how}, but the pods are not gone")
        self.to_delete = False

    async def _deploy(self) -> None:
        if status := await self.cluster.script("deploy.sh", *self.orders.deploy_arguments):
            raise Failed(f"deploy.sh ended with exit status {status}")

    async def _running(self) -> list[Pod]:
        def run(pods: list[Pod]) -> bool:
            for pod in pods:
                if pod.phase == "Failed" or HOPELESS.intersection(pod.waiting):
                    raise Hopeless(f"pod {pod}")
            return bool(pods) and all(pod.runs for pod in pods)

        return await self.cluster.until(run, self.orders.running_timeout, "the pods do not run")

    async def _follow(self, pod: Pod) -> None:
        """Prints the pod's log for as long as the pod lives; a connection that breaks is made again.

        Raises:
            Failed: the pod has ended or been restarted.
        """
        since, broken = "", 0.0
        while True:
            begun = time.monotonic()
            process = await self.cluster.log_of(pod, since=since)
            try:
                assert process.stdout is not None  # noqa: S101 - it was asked for
                last = await self._print(process.stdout)
            finally:
                await ended(process)
            await self.cluster.until(lambda pods: _lives(pod, pods), self.orders.kubectl_timeout, f"pod {pod.name}")
            broken = broken + time.monotonic() - begun + LONGEST_PAUSE if process.returncode else 0.0
            if broken > self.orders.kubectl_timeout:
                raise Failed(f"kubectl logs {pod.name}: exit status {process.returncode}: {last_line(last)}")
            since = "1s"
            await asyncio.sleep(LONGEST_PAUSE if process.returncode else SHORTEST_PAUSE)

    async def _print(self, stream: asyncio.StreamReader) -> bytes:
        """Prints whole lines; the last piece that was read, once there is no more."""
        rest = last = b""
        while chunk := await stream.read(LONGEST_LINE):
            last = chunk
            *lines, rest = (rest + chunk).split(b"\n")
            if len(rest) > LONGEST_LINE:
                lines, rest = [*lines, rest], b""
            self._show(lines)
        self._show([rest] if rest else [])
        return last

    def _show(self, lines: list[bytes]) -> None:
        for line in lines:
            sys.stdout.buffer.write(line + b"\n")
            if self.orders.ready_log.encode() in line:
                self.said_ready.set()
        sys.stdout.buffer.flush()


class Hopeless(Failed):
    """The deployment has failed in a way that no waiting would help."""


def _lives(pod: Pod, pods: list[Pod]) -> bool:
    now = next((each for each in pods if each.uid == pod.uid), None)
    if now is None:
        raise Hopeless(f"pod {pod.name} is gone")
    if now.restarts != pod.restarts or not now.runs:
        raise Hopeless(f"pod {now}, restarted {now.restarts} times")
    return True


async def _unless(followers: Sequence[asyncio.Future[None]], awaited: Awaitable[None]) -> None:
    """Waits for it, unless a follower ends before: then raises what ended it."""
    waiting = asyncio.ensure_future(awaited)
    try:
        await asyncio.wait({waiting, *followers}, return_when=asyncio.FIRST_COMPLETED)
        for task in (*followers, waiting):
            if task.done():
                task.result()
    finally:
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)


async def supervise(orders: argparse.Namespace) -> int:
    """Serves until SIGTERM, and always cleans up; the exit status."""
    asked = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, asked.set)
    supervisor = Supervisor(orders)
    with contextlib.ExitStack() as opened:
        if not opened.enter_context(held(Path(orders.lock))):
            say("serviceopt: this launch has been stopped already")
            return 0
        serving, stopping = asyncio.ensure_future(supervisor.serve()), asyncio.ensure_future(asked.wait())
        await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
        failures: list[str] = []
        if serving.done():
            failures = _told(serving)
            stopping.cancel()
        else:
            serving.cancel()
        await asyncio.gather(serving, stopping, return_exceptions=True)
        if supervisor.to_delete or not failures:
            deleting = asyncio.ensure_future(supervisor.delete())
            await asyncio.wait({deleting})
            failures = [*_told(deleting), *failures]
    for failure in failures:
        say(f"serviceopt: {failure}")
    return 1 if failures else 0


async def delete(orders: argparse.Namespace) -> int:
    """Ends the supervisor of the launch, then what it has left; the exit status."""
    supervisor = Supervisor(orders)
    limit = orders.script_timeout + orders.gone_timeout
    try:
        was_held = await end_holder(Path(orders.lock), limit)
        with refused(Path(orders.lock)):
            if not was_held or await supervisor.cluster.pods():
                await supervisor.delete()
    except Failed as failure:
        say(f"serviceopt: {failure}")
        return 1
    return 0


def _told(task: asyncio.Future[None]) -> list[str]:
    """Why it failed, if so. A defect of ours is not to keep us from deleting the pods, and is told in the same way."""
    error = task.exception()
    if error is None:
        return []
    return [str(error) if isinstance(error, Failed) else f"{type(error).__name__}: {error}"]


def say(text: str) -> None:
    """One line of our own on the standard output."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def parser() -> argparse.ArgumentParser:
    """Every option is given by the engine; there are no defaults here."""
    options = argparse.ArgumentParser(prog="mindie_kubernetes_supervisor", allow_abbrev=False)
    options.add_argument("--delete", action="store_true")
    for name in ("directory", "lock", "kubectl", "namespace", "pod-prefix", "pod-label", "ready-log", "host"):
        options.add_argument(f"--{name}", required=True)
    for name in ("request-path", "request-body"):
        options.add_argument(f"--{name}", required=True)
    options.add_argument("--port", required=True, type=int)
    for name in ("script", "kubectl", "gone", "running", "ready", "answer"):
        options.add_argument(f"--{name}-timeout", required=True, type=float)
    options.add_argument("deploy_arguments", nargs="*")
    return options


def main(given: Sequence[str]) -> int:
    """Runs the supervisor and gives its exit status."""
    orders = parser().parse_args(given)
    return asyncio.run(delete(orders) if orders.delete else supervise(orders))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
