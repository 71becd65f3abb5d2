"""Runs of our real programs, for the end-to-end, crash and real-engine tests: configurations, processes, remains."""

from __future__ import annotations

import csv
import io
import json
import os
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from patience import HANG
from serviceopt_journal import events as e
from serviceopt_journal.codec import Recorded
from serviceopt_journal.reader import JournalReader

STUB = Path(__file__).with_name("vllm")

STUB_RUN = """
engine = "vllm"
benchmark = "vllm_benchmark"
n_particles = {n_particles}
iters = {iters}
seed = {seed}
tpot_slo = 0.05
tpot_penalty = 1
launch_timeout = {launch_timeout}
measurement_timeout = {measurement_timeout}
stop_timeout = 2
{top}

[measurement]
repeats = {repeats}
warm_up_requests = 0

[proof]
measurements = {confirmations}

[health_check.service_errors.fatal_patterns]
out_of_memory = ["out of memory"]

[health_check.service_errors.retryable_patterns]
network_error = ["connection reset by peer"]

[vllm]
program = "{stub}"

[vllm.command]
host = "127.0.0.1"
port = {port}
model = "{model}"
served_model_name = "stub"
others = "{service}"

{fields}

[vllm_benchmark]
program = "{stub}"

[vllm_benchmark.command]
host = "127.0.0.1"
port = {port}
model = "{model}"
served_model_name = "stub"
dataset_name = "random"
num_prompts = 24
others = "{client}"
"""


@dataclass(frozen=True)
class Held:
    """The one measurement of the stub client, counted as they begin, that ends only when its process is ended.

    So a test that needs a measurement in flight does not race with it, however slowly it gets to look.
    """

    counter: Path
    turn: int = 1

    @property
    def arguments(self) -> str:
        """What the client is given."""
        return f"--stub-hang --stub-once {self.counter} --stub-turn {self.turn}"

    def under_way(self) -> bool:
        """Whether the client holds; its announcement in the journal comes earlier."""
        return self.counter.exists() and self.counter.stat().st_size >= self.turn


FIELDS = {
    "MAX_NUM_SEQS": (1, 64, 16),
    "MAX_NUM_BATCHED_TOKENS": (1024, 8192, 2048),
    "CONCURRENCY": (1, 64, 8),
}
"""Name -> lower bound, upper bound, current setting."""


def stub_run(
    directory: Path,
    *,
    n_particles: int = 2,
    iters: int = 2,
    seed: int = 7,
    repeats: int = 1,
    confirmations: int = 0,
    service: str = "",
    client: str = "",
    searched: Iterable[str] = tuple(FIELDS),
    launch_timeout: float = HANG,
    measurement_timeout: float = HANG,
    top: str = "",
    port: int | None = None,
) -> Path:
    """Writes a configuration of a run on the stub programs, without a proof of its winner unless `confirmations` are given.

    `service` and `client`: their extra arguments.
    """
    model = directory / "model"
    model.mkdir(parents=True, exist_ok=True)
    (model / "config.json").write_text("{}")
    path = directory / "config.toml"
    path.write_text(
        STUB_RUN.format(
            n_particles=n_particles, iters=iters, seed=seed, repeats=repeats, stub=STUB, model=model,
            service=service, client=client, launch_timeout=launch_timeout, measurement_timeout=measurement_timeout,
            top=top, port=port or free_port(), confirmations=confirmations,
            fields="\n".join(field(name) for name in searched),
        )
    )  # fmt: skip
    return path


def field(name: str) -> str:
    """One target field as TOML."""
    low, high, current = FIELDS[name]
    return (
        f'[[vllm.target_field]]\nname = "{name}"\nconfig_position = "env"\ndtype = "int"\n'
        f"min = {low}\nmax = {high}\nvalue = {current}\n"
    )


def free_port() -> int:
    """A port of the loopback interface on which nobody listens now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def places(directory: Path) -> dict[str, str]:
    """The environment for programs whose state is below `directory`. The socket's path must stay short."""
    return {
        **os.environ,
        "SERVICEOPT_STATE_DIR": str(directory / "state"),
        "SERVICEOPT_SOCKET": str(directory / "s"),
    }


def client(*arguments: str, environment: Mapping[str, str], limit: float = HANG, cwd: Path | None = None) -> Any:
    """Runs `serviceoptctl` to its end."""
    return subprocess.run(
        [sys.executable, "-m", "serviceoptctl", *arguments],
        env=environment, cwd=cwd, capture_output=True, text=True, timeout=limit, check=False,
    )  # fmt: skip


def start(*command: str, environment: Mapping[str, str], log: Path, cwd: Path | None = None) -> subprocess.Popen[bytes]:
    """Starts one of our programs (`serviceoptd`, or `serviceoptctl` with arguments) in the background."""
    with log.open("ab") as output:
        return subprocess.Popen(
            [sys.executable, "-m", *command], env=environment, cwd=cwd, stdout=output, stderr=output,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip


def records(state: Path) -> list[Recorded]:
    """Every event of the journal in `state`; none where there is no journal yet."""
    if not (state / "journal.db").exists():
        return []
    return list(JournalReader.open(state).events())


def wait_for(condition: Callable[[], Any], what: str, limit: float = HANG) -> Any:
    """What `condition` gives as soon as it is true.

    Raises:
        TimeoutError: it did not become true in time.
    """
    deadline = time.monotonic() + limit
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.02)
    raise TimeoutError(f"{what}: not within {limit:g} s")


def of_type(recorded: Iterable[Recorded], *types: type[e.Event]) -> list[Any]:
    return [record.event for record in recorded if isinstance(record.event, types)]


def left_over(recorded: list[Recorded]) -> dict[int, str]:
    """Living processes of any launch in these events: pid -> command line.

    They carry the launch's id in their environment, or print to its log: vLLM's engine core overwrites the memory in
    which /proc shows the environment.
    """
    announced = of_type(recorded, e.ServiceLaunching, e.MeasurementStarted)
    marks = {f"SERVICEOPT_LAUNCH_ID={event.launch_id}".encode() for event in announced}
    logs = {event.log for event in announced if event.log}
    found: dict[int, str] = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            marked = marks & set((entry / "environ").read_bytes().split(b"\0"))
            if marked or {str((entry / "fd" / number).readlink()) for number in "12"} & logs:
                found[int(entry.name)] = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue  # it ended meanwhile, or is a zombie
    return found


def assert_sound(recorded: list[Recorded]) -> None:
    """What holds of every finished journal, however often its daemon was killed."""
    assert left_over(recorded) == {}
    launches = of_type(recorded, e.ServiceLaunching)
    evaluations = {(event.run, event.evaluation) for event in launches}
    interrupted = of_type(recorded, e.EvaluationInterrupted)
    relaunched_for_a_retry = [event for event in of_type(recorded, e.ServiceFailed) if event.will_retry]
    given_up = sum(  # interrupted when nothing more was due: no launch followed
        not any(
            later.evaluation == event.evaluation and later.run == event.run and later.attempt > event.attempt
            for later in launches
        )
        for event in interrupted
    )
    assert len(launches) == len(evaluations) + len(interrupted) - given_up + len(relaunched_for_a_retry)
    finished = Counter(
        (event.run, event.evaluation, event.measurement) for event in of_type(recorded, e.MeasurementFinished)
    )
    assert not [key for key, times in finished.items() if times > 1], "a finished measurement was repeated"
    outcomes = {
        (event.run, event.evaluation, event.attempt)
        for event in of_type(recorded, e.ServiceStopped, e.EvaluationInterrupted)
    }
    announced = {(event.run, event.evaluation, event.attempt) for event in launches}
    assert announced == outcomes, "a launch that was announced has no end"


def rows(text: str) -> list[dict[str, str]]:
    """The rows of an exported CSV."""
    return list(csv.DictReader(io.StringIO(text)))


def standalone(
    configuration: Path, *more: str, limit: float = HANG
) -> tuple[Any, list[Recorded], list[dict[str, str]]]:
    """Runs `serviceoptctl run --standalone` to its end: the process, the events, and the rows of the CSV."""
    directory = configuration.parent
    environment = places(directory)
    ended = client(
        "run", "--standalone", "-c", str(configuration), *more, environment=environment, limit=limit, cwd=directory
    )
    exported = client("export", environment=environment)
    return ended, records(directory / "state"), rows(exported.stdout)


def verified(directory: Path) -> dict[str, Any]:
    """What `serviceoptctl journal verify` says of the journal below `directory`; it must find no damage."""
    ended = client("journal", "verify", "--json", environment=places(directory))
    assert ended.returncode == 0, ended.stdout + ended.stderr
    report: dict[str, Any] = json.loads(ended.stdout)
    return report
