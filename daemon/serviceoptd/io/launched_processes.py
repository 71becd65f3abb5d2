"""Which processes belong to a launch, whether its first process lives or not.

Four signs, each enough: the process is in the launch's cgroup; its environment carries SERVICEOPT_LAUNCH_ID with the
launch's random id; its standard output or error is the launch's own output file; its parent belongs. The environment
alone would miss vLLM's engine core: setproctitle overwrites the memory that /proc/PID/environ shows.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path

from . import cgroups, process_table
from .process_table import ProcessHandle, ProcessStat

LAUNCH_ID = "SERVICEOPT_LAUNCH_ID"


@dataclass(frozen=True)
class Launch:
    """The signs by which processes of one launch are known."""

    launch_id: str  # random, never used before
    cgroup: Path | None = None
    output: Path | None = None  # a file that only this launch prints to
    not_before: int = 0  # clock ticks since boot; older processes are passed over unread

    def processes(self) -> list[ProcessHandle]:
        """A handle on every living process of the launch, never on ourselves. The caller closes them.

        A process may fork while this looks: what matters is that a later look finds nothing.
        """
        table = process_table.living()
        table.pop(os.getpid(), None)
        output = self._output()
        contained = self._contained()
        held: dict[int, ProcessHandle] = {}
        try:
            for pid, found in table.items():
                if pid in contained or (found.started >= self.not_before and self._shows_signs(pid, output)):
                    self._hold(pid, output, held)
            _hold_descendants(held, table)
        except BaseException:
            for handle in held.values():
                handle.close()
            raise
        return list(held.values())

    def _hold(self, pid: int, output: os.stat_result | None, held: dict[int, ProcessHandle]) -> None:
        """Looks again once the handle exists: only then is it certain whose signs these are."""
        handle = _handle_on(pid)
        if handle is None:
            return
        held[pid] = handle
        if pid not in self._contained() and not self._shows_signs(pid, output):
            held.pop(pid).close()

    def _output(self) -> os.stat_result | None:
        try:
            found = self.output.stat() if self.output is not None else None
        except OSError:
            return None
        return found if found is not None and stat.S_ISREG(found.st_mode) else None

    def _contained(self) -> frozenset[int]:
        return frozenset(cgroups.processes(self.cgroup)) if self.cgroup is not None else frozenset()

    def _shows_signs(self, pid: int, output: os.stat_result | None) -> bool:
        entry = f"{LAUNCH_ID}={self.launch_id}".encode()
        if process_table.has_in_environment(pid, entry):
            return True
        return output is not None and process_table.prints_to(pid, output)


def _hold_descendants(held: dict[int, ProcessHandle], table: dict[int, ProcessStat]) -> None:
    children: dict[int, list[int]] = {}
    for found in table.values():
        children.setdefault(found.parent, []).append(found.pid)
    parents = list(held)
    while parents:
        parent = held[parents.pop()]
        for pid in children.get(parent.pid, ()):
            handle = None if pid in held else _handle_on(pid)
            if handle is None:
                continue
            now = process_table.stat(pid)
            if now is not None and now.parent == parent.pid and not parent.ended:
                held[pid] = handle
                parents.append(pid)
            else:
                handle.close()


def _handle_on(pid: int) -> ProcessHandle | None:
    try:
        return ProcessHandle(pid)
    except ProcessLookupError:
        return None
