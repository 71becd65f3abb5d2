"""A run of the real daemon in a place of its own, its surroundings, and what is done to them: for `chaos.py`."""

from __future__ import annotations

import contextlib
import hashlib
import mmap
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from crash.preloading import compiled
from patience import HANG
from serviceopt_journal.codec import Recorded
from serviceopt_journal.events import MeasurementStarted, RunFinished, ServiceLaunching
from stubs.scenario import records, stub_run

SHIM = Path(__file__).with_name("surroundings_shim.c")
STEADY_DAEMON = Path(__file__).with_name("steady_daemon.py")
DISK = "64m"
ROOM = 64 * 2**20  # bytes
PAGE = struct.Struct("qq")  # nanoseconds that the wall clock is off, and whether the disk is full


class Stopped(Exception):
    """Somebody has had enough."""


enough = threading.Event()
"""Set: every run ends at once, and takes away what it has made."""


class Surroundings:
    """The clock and the disk of a run, and what lies beside it and is none of its business."""

    def __init__(self, root: Path, shim: Path | None) -> None:
        self.root, self.shim = root, shim
        self.state = root / "state"
        self.account = root / "account"
        for name in ("state", "home/.cache", "sentinel/below", "tmp", "runs.d"):
            (root / name).mkdir(parents=True)
        for name in ("home/.profile", "home/.cache/kept", "sentinel/result.json", "sentinel/below/journal.db"):
            (root / name).write_text(f"{name} is as it was\n")
        (root / "sentinel" / "link").symlink_to("below/journal.db")
        (root / "page").write_bytes(PAGE.pack(0, 0))
        self._page = (root / "page").open("r+b")
        self._shared = mmap.mmap(self._page.fileno(), PAGE.size)
        self.mounted = self._mounted()
        self._before = self._outside()

    @property
    def fills(self) -> bool:
        """Whether the disk can be made full here."""
        return self.mounted or self.shim is not None

    def environment(self) -> dict[str, str]:
        """Of the daemon, and so of whatever it starts."""
        shim = {} if self.shim is None else {"LD_PRELOAD": str(self.shim)}
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("XDG_")}
        return {
            **inherited, **shim, "HOME": str(self.root / "home"), "TMPDIR": str(self.root / "tmp"),
            "CHAOS_PAGE": str(self.root / "page"), "CHAOS_BELOW": str(self.state), "CHAOS_MARK": str(self.root),
            "STUB_ACCOUNT": str(self.account), "NOTIFY_SOCKET": str(self.root / "n"),
        }  # fmt: skip

    def set_clock(self, seconds: float) -> None:
        """The wall clock is this far off from now on."""
        self._shared[:8] = struct.pack("q", int(seconds * 1e9))

    def fill(self) -> None:
        """Leaves no room on the disk of the state directory."""
        if not self.mounted:
            self._shared[8:16] = struct.pack("q", 1)
            return
        with contextlib.suppress(OSError), (self.root / "state" / "ballast").open("ab", buffering=0) as file:
            for size in (65536, 4096, 512):
                with contextlib.suppress(OSError):
                    while file.tell() < 2 * ROOM:
                        file.write(b"x" * size)

    def make_room(self) -> None:
        """The opposite of `fill`."""
        self._shared[8:16] = struct.pack("q", 0)
        if self.mounted:
            (self.root / "state" / "ballast").unlink(missing_ok=True)

    def changed_outside(self) -> list[str]:
        """What is not as it was in the home directory, the sentinel directory and the configuration's."""
        after = self._outside()
        return [name for name in sorted(self._before | after) if self._before.get(name) != after.get(name)]

    def marked(self) -> dict[int, dict[str, str]]:
        """Living processes that this run's daemons have started, and the daemon: pid -> environment."""
        found: dict[int, dict[str, str]] = {}
        mark = f"CHAOS_MARK={self.root}".encode()
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            with contextlib.suppress(OSError):
                entries = (entry / "environ").read_bytes().split(b"\0")
                if mark in entries:
                    pairs = (each.decode(errors="replace").partition("=") for each in entries)
                    found[int(entry.name)] = {name: value for name, _, value in pairs}
        return found

    def close(self) -> None:
        for pid in self.marked():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._shared.close()
        self._page.close()
        if self.mounted:
            subprocess.run(["umount", "--lazy", self.state], capture_output=True, check=False)

    def _mounted(self) -> bool:
        if os.geteuid() != 0:
            return False
        command = ["mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", self.state]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0

    def _outside(self) -> dict[str, str]:
        found: dict[str, str] = {}
        for top in ("home", "sentinel", "tmp"):
            for path in [self.root / top, *sorted((self.root / top).rglob("*"))]:
                told = path.lstat()
                content = str(path.readlink()) if path.is_symlink() else path.read_bytes() if path.is_file() else ""
                stamp = (told.st_mode, told.st_uid, told.st_mtime_ns if not path.is_dir() else 0, content)
                found[str(path.relative_to(self.root))] = hashlib.sha256(repr(stamp).encode()).hexdigest()
        return found


class AttackedRun:
    """One run, and the daemons that live and die for it."""

    def __init__(self, surroundings: Surroundings, strategy: str, seed: int, iterations: int) -> None:
        self.surroundings = surroundings
        self.root = surroundings.root
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self._socket.bind(str(self.root / "n"))
        self._socket.setblocking(False)
        self.ready, self.status, self.told, self._look_again = False, "", 0, 0.0
        configuration = stub_run(
            self.root / "given", n_particles=4, iters=iterations, seed=seed, repeats=2, confirmations=3,
            service="--stub-grandchild --stub-delay 0.1", client="--stub-seconds 0.05",
        ).read_text()  # fmt: skip
        written = self.root / "given" / "run.toml"
        written.write_text(f'{configuration}\n[search]\nstrategy = "{strategy}"\n')
        written.rename(self.root / "runs.d" / "run.toml")
        self.daemon: subprocess.Popen[bytes] | None = None
        self.bystander: subprocess.Popen[bytes] | None = None

    def start(self) -> subprocess.Popen[bytes]:
        """A daemon, which goes on where the last one ended."""
        self.ready, self.status, self.told = False, "", 0
        places = ("--state-dir", "state", "--socket", "s", "--config-dir", "runs.d")
        with (self.root / "daemon.log").open("ab") as log:
            self.daemon = subprocess.Popen(
                [sys.executable, STEADY_DAEMON, *places], cwd=self.root, env=self.surroundings.environment(),
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        return self.daemon

    def listen(self, seconds: float) -> None:
        """Takes in what the daemon tells its supervisor meanwhile.

        Raises:
            Stopped: `enough` is set.
        """
        if enough.is_set():
            raise Stopped
        if not select.select([self._socket], [], [], max(0.0, seconds))[0]:
            return
        with contextlib.suppress(BlockingIOError):
            while True:
                for line in self._socket.recv(65536).decode().splitlines():
                    self.ready = self.ready or line == "READY=1"
                    if line.startswith("STATUS="):
                        self.status = line.partition("=")[2]
                        self.told += self.ready  # as after each commit

    def records(self) -> list[Recorded]:
        return records(self.surroundings.state)

    def over(self) -> bool:
        """Whether the run is at its end; the journal is looked into five times a second at most."""
        if self.status != "idle" or time.monotonic() < self._look_again:
            return False
        self._look_again = time.monotonic() + 0.2
        return any(isinstance(record.event, RunFinished) for record in self.records())

    def processes(self) -> tuple[dict[str, list[int]], dict[str, list[int]]]:
        """Living processes of services and of clients: launch id -> pids."""
        events = [record.event for record in self.records()]
        services = {event.launch_id for event in events if isinstance(event, ServiceLaunching)}
        clients = {event.launch_id for event in events if isinstance(event, MeasurementStarted)}
        found: tuple[dict[str, list[int]], dict[str, list[int]]] = ({}, {})
        for pid, environment in self.surroundings.marked().items():
            launch = environment.get("SERVICEOPT_LAUNCH_ID", "")
            for ids, kind in zip((services, clients), found, strict=True):
                if launch in ids:
                    kind.setdefault(launch, []).append(pid)
        return found

    def end(self) -> int:
        """Stops the daemon in order; its exit status."""
        assert self.daemon is not None
        self.daemon.terminate()
        return self.daemon.wait(timeout=HANG)

    def close(self) -> None:
        for process in (self.daemon, self.bystander):
            if process is not None:
                process.kill()
                process.wait()
        self._socket.close()
        self.surroundings.close()

    def meet_bystander(self, recorded: list[Recorded]) -> None:
        """Starts somebody else's process, once, with the very command line of an engine of this run."""
        launches = [record.event for record in recorded if isinstance(record.event, ServiceLaunching)]
        if self.bystander is None and launches:
            self.bystander = subprocess.Popen(
                launches[0].argv, cwd=self.root, env={**os.environ, "STUB_BYSTANDER": "yes"}, start_new_session=True,
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            )  # fmt: skip


@contextlib.contextmanager
def attacked_run(strategy: str, seed: int, iterations: int) -> Iterator[AttackedRun]:
    """A run that nothing has been done for yet, and nothing of it left afterwards."""
    with tempfile.TemporaryDirectory(prefix="serviceopt-chaos-", ignore_cleanup_errors=True) as name:
        root = Path(name)
        surroundings = Surroundings(root, compiled(SHIM, root))
        try:
            run = AttackedRun(surroundings, strategy, seed, iterations)
            try:
                yield run
            finally:
                run.close()
        except BaseException:
            surroundings.close()
            raise
