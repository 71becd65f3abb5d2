"""Puts vLLM's own scheduler behind the interface of ours: a child process in vLLM's environment composes the batches."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from serviceopt_journal.errors import EnvironmentLacks, InvalidConfiguration
from serviceopt_journal.foreign_files import piece
from serviceoptd.io.json_lines import JsonLines
from serviceoptd.simulation.schedulers.limits import Composer, Limits
from serviceoptd.simulation.schedulers.vllm_limits import VllmLimits
from serviceoptd.simulation.virtual_clock.interface import Batch, Request

INSIDE = Path(__file__).parent / "inside_vllm" / "virtual_scheduler.py"


def python_of(program: Path) -> Path:
    """The interpreter that runs this `vllm` program: what its first line names, else the one beside it.

    Raises:
        EnvironmentLacks: there is none; this `vllm` is no Python program.
    """
    try:
        first_line = piece(program, 0, 4096, through_links=True).partition(b"\n")[0].decode(errors="replace")
    except OSError as error:
        raise EnvironmentLacks(f"{program} cannot be read: {error.strerror}", hint="name a `vllm` program") from error
    named = Path(first_line.removeprefix("#!").strip())
    for python in (named, program.resolve().with_name("python3"), program.resolve().with_name("python")):
        if python.name.startswith("python") and python.is_absolute() and os.access(python, os.X_OK):
            return python
    raise EnvironmentLacks(
        f"{program} names no Python interpreter, and none lies beside it",
        hint="set `program` to the `vllm` of the virtual environment that vLLM is installed in",
    )


def start_vllm(program: Path, *, environment: Mapping[str, str], working_directory: Path) -> JsonLines:
    """A child that can play vLLM's scheduler for one benchmark after another. Takes about 5 s and 600 MiB.

    Raises:
        EnvironmentLacks: it cannot be started.
    """
    # -I: nothing of the environment's PYTHONPATH, and not our own folder, may come between vLLM and its packages.
    arguments = [str(python_of(program)), "-I", str(INSIDE)]
    return JsonLines(arguments, environment=environment, working_directory=working_directory)


@contextmanager
def composing(program: Path, *, environment: Mapping[str, str], working_directory: Path) -> Iterator[Composer]:
    """Lets vLLM itself compose the batches of one benchmark after another; the child ends with the block.

    Raises:
        EnvironmentLacks: it cannot be started, or ends; also within the block.
        InvalidConfiguration: in the block: what is asked for are the batches of another engine.
    """
    with start_vllm(program, environment=environment, working_directory=working_directory) as vllm:

        def scheduler(limits: Limits, requests: Sequence[Request]) -> RealVllmScheduler:
            if not isinstance(limits, VllmLimits):
                raise InvalidConfiguration(
                    "vLLM does not compose the batches of another engine", hint="leave --scheduler out"
                )
            return RealVllmScheduler(requests, limits, vllm)

        yield scheduler


class RealVllmScheduler:
    """The scheduler of vLLM for these requests, in a child. See `interface.Scheduler`; a step costs as much as its batch."""

    def __init__(self, requests: Sequence[Request], limits: VllmLimits, vllm: JsonLines) -> None:
        """Start anew in the child.

        Raises:
            EnvironmentLacks: the child has ended, for example because its vLLM has other interfaces.
        """
        self.in_flight = 2 if limits.async_scheduling else 1
        self.preemptions = 0
        self._requests, self._limits, self._vllm = requests, limits, vllm
        lines = [
            (request.prompt_tokens, request.output_tokens, request.prefix, request.prefix_tokens, request.priority)
            for request in requests
        ]
        self.version: str = vllm.ask({"limits": asdict(limits), "requests": lines})["version"]
        self._added: list[int] = []
        self._ended = 0
        self._batches = 0
        self._last: dict[int, int] = {}
        self._generated = [0] * len(requests)
        self._last_batch = [-1] * len(requests)

    def accepts(self, request: int) -> bool:
        asked = self._requests[request]
        return asked.prompt_tokens + asked.output_tokens <= self._limits.max_model_len

    def add(self, request: int, arrived: float) -> None:
        self._added.append(request)

    def wakes(self, now: float) -> float | None:
        return None

    def complete(self, batch: Batch) -> None:
        self._ended += 1

    def scheduled(self) -> dict[int, int]:
        return self._last

    def schedule(self, now: float) -> Batch | None:
        answer = self._vllm.ask({"complete": self._ended, "add": self._added})
        self._added, self._ended = [], 0
        self.preemptions = answer["preemptions"]
        self._last = {int(request): tokens for request, tokens in answer["tokens"].items()}
        if not self._last:
            return None
        batch = Batch(self._batches, chunks=self._last)
        self._batches += 1
        emitting = set(answer["emitting"])
        for request, tokens in self._last.items():
            context: int = answer["context"][str(request)]
            before, asked = context - tokens, self._requests[request]
            if tokens == 1 and before >= asked.prompt_tokens and request in emitting:
                batch.decode_sequences += 1
                batch.decode_context += context
            else:
                batch.prefill_sequences += 1
                batch.prefill_tokens += tokens
                batch.prefill_attention += tokens * before + tokens * (tokens + 1) // 2
            if request in emitting:
                self._emit(batch, request)
        return batch

    def _emit(self, batch: Batch, request: int) -> None:
        if self._generated[request]:
            batch.gaps.append((self._last_batch[request], 1))
        else:
            batch.first.append(request)
        self._last_batch[request] = batch.number
        self._generated[request] += 1
        if self._generated[request] == self._requests[request].output_tokens:
            batch.finished.append(request)
