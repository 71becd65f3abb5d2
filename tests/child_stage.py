"""A place for real children: small Python programs that the tests start as the daemon starts services."""

from __future__ import annotations

import asyncio
import sys
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from patience import HANG
from serviceoptd.io import process_table
from serviceoptd.io.child import Child
from serviceoptd.io.launched_processes import Launch
from serviceoptd.io.processes import spawn
from serviceoptd.toolkit.interface import Command

# Leaves its parent as far behind as a process can: another session, another parent, and (with `exec`) another memory.
ESCAPE = """
import os, sys, time
def escape(work):
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            work()
        os._exit(0)
"""


@dataclass
class Stage:
    """Where the children of one test run, and what they are called by."""

    directory: Path
    launch_id: str = field(default_factory=lambda: uuid.uuid4().hex)
    environment: Mapping[str, str] = field(default_factory=lambda: {"PATH": "/usr/bin:/bin"})
    cgroup: Path | None = None

    @property
    def output(self) -> Path:
        return self.directory / f"{self.launch_id}.log"

    @property
    def launch(self) -> Launch:
        return Launch(self.launch_id, self.cgroup, self.output)

    async def start(self, code: str, *arguments: str) -> Child:
        return await spawn(
            python(code, *arguments),
            environment=self.environment,
            working_directory=self.directory,
            launch_id=self.launch_id,
            output=self.output,
            cgroup=self.cgroup,
        )

    async def says(self, text: str, limit: float = HANG) -> str:
        """What was printed, once it contains `text`."""
        await until(lambda: text in self.printed(), limit)
        return self.printed()

    def printed(self) -> str:
        return self.output.read_text() if self.output.exists() else ""

    def left(self) -> list[int]:
        found = self.launch.processes()
        for handle in found:
            handle.close()
        return sorted(handle.pid for handle in found)


def python(code: str, *arguments: str, environment: Mapping[str, str] | None = None) -> Command:
    return Command((sys.executable, "-I", "-S", "-c", code, *arguments), environment=environment or {})


async def until(condition: Callable[[], bool], limit: float = HANG) -> None:
    end = time.monotonic() + limit
    while not condition():
        assert time.monotonic() < end, "it never happened"
        await asyncio.sleep(0.005)


def lives(pid: int) -> bool:
    found = process_table.stat(pid)
    return found is not None and not found.dead
