"""The cluster as the supervisor sees it: pods asked for with kubectl, and the user's scripts run in their directory.

Part of the supervisor's process (mindie_kubernetes_supervisor.py), which has to start fast: standard library only.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from serviceopt_journal.foreign_files import appending
from serviceopt_journal.foreign_text import json_value

SHORTEST_PAUSE, LONGEST_PAUSE = 0.05, 1.0
"""Seconds between two questions; in between, as long as the last answer took: a slow cluster is asked less often."""

HOPELESS = frozenset({"CrashLoopBackOff", "InvalidImageName", "CreateContainerConfigError", "ErrImageNeverPull"})
"""Reasons for which a container waits that no waiting cures."""


class Failed(Exception):
    """Something did not happen, or not in time; the message is one line that names it."""


@dataclass(frozen=True)
class Pod:
    """One pod, as `kubectl get pods -o json` tells."""

    name: str
    uid: str
    phase: str
    restarts: int  # of its containers, together
    waiting: tuple[str, ...]  # reasons for which containers of it do not run

    @property
    def runs(self) -> bool:
        """Whether all containers of the pod have been started."""
        return self.phase == "Running" and not self.waiting

    def __str__(self) -> str:
        return f"{self.name} is {', '.join((self.phase, *self.waiting))}"


def pods_in(text: str, prefix: str) -> list[Pod]:
    """The pods in kubectl's answer whose names begin so.

    Raises:
        ValueError: it is no list of pods.
    """
    document = json_value(text)
    items = document.get("items") if isinstance(document, dict) else None
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise ValueError("no list of items")
    pods = [_pod(item) for item in items]
    return [pod for pod in pods if pod.name.startswith(prefix)]


def _pod(item: dict[str, Any]) -> Pod:
    metadata, status = _table(item.get("metadata")), _table(item.get("status"))
    listed = status.get("containerStatuses")
    containers = [_table(container) for container in listed] if isinstance(listed, list) else []
    waiting = [_table(container.get("state")).get("waiting") for container in containers]
    restarts = [container.get("restartCount") for container in containers]
    return Pod(
        name=str(metadata.get("name", "")),
        uid=str(metadata.get("uid", "")),
        phase=str(status.get("phase", "Unknown")),
        restarts=sum(count for count in restarts if isinstance(count, int)),
        waiting=tuple(str(_table(why).get("reason", "waiting")) for why in waiting if why),
    )


def _table(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


@dataclass(frozen=True)
class Cluster:
    """Where the pods of one deployment live, and the scripts that make and delete them."""

    directory: Path  # of the scripts
    kubectl: str
    namespace: str
    prefix: str
    label: str
    kubectl_limit: float
    script_limit: float

    async def pods(self) -> list[Pod]:
        """The pods that there are now, ending ones included.

        Raises:
            Failed: kubectl does not tell.
        """
        chosen = ["-l", self.label] if self.label else []
        argv = [self.kubectl, "get", "pods", "-n", self.namespace, "-o", "json", *chosen]
        process = await self._started(argv, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE)
        try:
            async with asyncio.timeout(self.kubectl_limit):
                printed, complaint = await process.communicate()
        except TimeoutError:
            raise Failed(f"kubectl get pods: no answer within {self.kubectl_limit:g} s") from None
        finally:
            await ended(process)
        if process.returncode:
            raise Failed(f"kubectl get pods: exit status {process.returncode}: {last_line(complaint)}")
        try:
            return pods_in(printed.decode(errors="replace"), "" if self.label else self.prefix)
        except ValueError as error:
            raise Failed(f"kubectl get pods: not the JSON that was asked for: {error}") from error

    async def until(self, done: Callable[[list[Pod]], bool], limit: float, what: str) -> list[Pod]:
        """The pods as soon as `done` of them. One refusal of kubectl is not the end: the cluster may be restarting.

        Raises:
            Failed: not within `limit` seconds; or `done` itself found out that it will never be.
        """
        last = ""
        begun = time.monotonic()
        while True:
            asked = time.monotonic()
            try:
                pods = await self.pods()
            except ProgramMissing:
                raise
            except Failed as refused:
                last = str(refused)
            else:
                if done(pods):
                    return pods
                last = "; ".join(map(str, pods)) or "there is no pod"
            if time.monotonic() - begun >= limit:
                raise Failed(f"{what}: not within {limit:g} s: {last}")
            took = time.monotonic() - asked
            await asyncio.sleep(min(max(took, SHORTEST_PAUSE), LONGEST_PAUSE))

    async def script(self, name: str, *arguments: str, output: Path | None = None) -> int:
        """Runs a script of the directory to its end; its exit status. What it prints goes to `output`, or is shown.

        Raises:
            Failed: it cannot be started, or is not over in time.
        """
        with contextlib.ExitStack() as opened:
            log = appending(output) if output else None
            if log is not None:
                opened.callback(os.close, log)
            # bash by its name and not by the script's first line: MindIE ships the scripts without the right to execute
            process = await self._started(
                ["bash", name, *arguments], stdout=log, stderr=None if log is None else asyncio.subprocess.STDOUT
            )
        try:
            async with asyncio.timeout(self.script_limit):
                return await process.wait()
        except TimeoutError:
            raise Failed(f"{name} was not over within {self.script_limit:g} s") from None
        finally:
            await ended(process)

    async def log_of(self, pod: Pod, *, since: str = "") -> asyncio.subprocess.Process:
        """A process that prints the pod's log until the pod ends; `ended` ends it.

        Raises:
            Failed: it cannot be started.
        """
        more = [f"--since={since}"] if since else []
        argv = [self.kubectl, "logs", "-f", "-n", self.namespace, "--all-containers", *more, pod.name]
        return await self._started(argv, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT)

    async def _started(self, argv: list[str], *, stdout: Any, stderr: Any) -> asyncio.subprocess.Process:
        try:
            return await asyncio.create_subprocess_exec(
                *argv,
                cwd=self.directory,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                process_group=0,
            )
        except OSError as error:
            raise ProgramMissing(f"{argv[0]} cannot be started: {error.strerror}") from error


class ProgramMissing(Failed):
    """A program that is needed cannot be started; asking again would not help."""


async def ended(process: asyncio.subprocess.Process, grace: float = 2.0) -> None:
    """Ends a process and its group, with SIGKILL after `grace` seconds; nothing where it has ended."""
    for number, limit in ((signal.SIGTERM, grace), (signal.SIGKILL, 30.0)):
        if process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), limit)


async def within(limit: float, awaited: Awaitable[Any], what: str) -> None:
    """Waits for `awaited`, at most `limit` seconds.

    Raises:
        Failed: not within `limit` seconds.
    """
    try:
        async with asyncio.timeout(limit):
            await awaited
    except TimeoutError:
        raise Failed(f"{what}: not within {limit:g} s") from None


def last_line(printed: bytes) -> str:
    """The last line that says something."""
    lines = [line.strip() for line in printed.decode(errors="replace").splitlines() if line.strip()]
    return lines[-1] if lines else "it printed nothing"
