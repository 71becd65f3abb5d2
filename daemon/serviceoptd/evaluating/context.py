"""What every handler needs: one object, built by bootstrap, with fakes in tests."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

from serviceopt_journal.artefacts import ArtefactStore
from serviceopt_journal.clock import Clock
from serviceoptd.benchmarks.interface import Benchmark
from serviceoptd.domain.state import RunState
from serviceoptd.engines.interface import Engine
from serviceoptd.evaluating.edited_files import contents_before, edited_now
from serviceoptd.evaluating.ledger import Ledger
from serviceoptd.io.children_environment import isolated
from serviceoptd.io.environment_file import load as load_environment
from serviceoptd.toolkit.interface import Workplace

Result = TypeVar("Result")

PRIVATE_OPTIONS = "SERVICEOPT_PRIVATE_OPTIONS"
"""Name under which options that hold secrets lie in a run's environment file; never handed to a child."""


OF_A_PERSON = (
    "HOME", "USER", "LOGNAME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME",
    "XDG_RUNTIME_DIR", "TMPDIR",
)  # fmt: skip
"""Variables that name directories of the person who submitted a run: a daemon of another user cannot write there."""


def as_ourselves(submitted: Mapping[str, str]) -> dict[str, str]:
    """The submitter's variables, with our own home and caches in place of his."""
    ours = {name: os.environ[name] for name in OF_A_PERSON if name in os.environ}
    return {name: value for name, value in submitted.items() if name not in OF_A_PERSON} | ours


class Interrupted(Exception):
    """What was being waited for is no longer wanted."""


@dataclass
class Context:
    """What every evaluation is given of the daemon: its ledger, its clock, its places."""

    ledger: Ledger
    clock: Clock
    state_directory: Path
    artefacts: ArtefactStore
    engine_class: Callable[[str], type[Engine]]
    benchmark_class: Callable[[str], type[Benchmark]]
    cgroups: Path | None = None  # where launches get a cgroup each; None: nothing is delegated to serviceopt
    tool_prefix: Path | None = None  # the tool's own virtual environment, hidden from children
    # Held from the choice of a new run's number until it is in the journal: two submissions must not choose the same.
    numbering: asyncio.Lock = field(default_factory=asyncio.Lock)
    interrupt: asyncio.Event = field(default_factory=asyncio.Event)
    environments: dict[str, dict[str, str]] = field(default_factory=dict)  # by SHA-256, read once

    def engine(self, run: RunState) -> Engine:
        return self.engine_class(run.settings.engine)(self._options(run, "engine_options"))

    def benchmark(self, run: RunState) -> Benchmark:
        return self.benchmark_class(run.settings.benchmark)(self._options(run, "benchmark_options"))

    def environment(self, run: RunState) -> dict[str, str]:
        """The submitter's environment for children.

        Raises:
            EnvironmentLacks: the file that holds it is missing or was altered.
        """
        submitted = self._submitted(run)
        if run.submitter_uid != os.geteuid():
            submitted = as_ourselves(submitted)
        return isolated(submitted, tool_prefix=self.tool_prefix, path_prefix=run.settings.path_prefix)

    def _submitted(self, run: RunState) -> dict[str, str]:
        if run.environment_sha256 not in self.environments:
            self.environments[run.environment_sha256] = load_environment(
                self.state_directory, run.environment_file, run.environment_sha256
            )
        return self.environments[run.environment_sha256]

    def _options(self, run: RunState, key: str) -> dict[str, Any]:
        """The options with their secrets, which the journal does not hold."""
        private = self._submitted(run).get(PRIVATE_OPTIONS)
        options: dict[str, Any] = json.loads(private)[key] if private else getattr(run.settings, key)
        return options

    def originals(self) -> dict[Path, bytes]:
        """What files that a launch has edited now held before: for who reads them as their user left them."""
        return contents_before(edited_now(self.ledger.state), self.artefacts)

    def workplace(self, run: RunState, *parts: str) -> Workplace:
        """A new directory for one attempt of a launch or a measurement: what it holds later was made by this attempt.

        What lies under its name already, as after a journal was restored from a backup, is moved aside.
        """
        directory = self.state_directory.joinpath("runs", str(run.number), *parts)
        _move_aside(directory)
        directory.mkdir(parents=True, mode=0o750)
        return Workplace(
            directory=directory,
            working_directory=Path(run.working_directory or "/"),
            environment=self.environment(run),
            originals=self.originals(),
        )

    async def unless_interrupted(self, work: Coroutine[Any, Any, Result]) -> Result:
        """The result of `work`, which is cancelled as soon as it is no longer wanted.

        Raises:
            Interrupted: it was not wanted any more before it was done.
        """
        task = asyncio.ensure_future(work)
        unwanted = asyncio.ensure_future(self.interrupt.wait())
        try:
            await asyncio.wait({task, unwanted}, return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                return task.result()
            raise Interrupted
        finally:
            for pending in (task, unwanted):
                if not pending.done():
                    pending.cancel()
                    with suppress(asyncio.CancelledError):
                        await pending


def _move_aside(path: Path) -> None:
    if os.path.lexists(path):
        free = (path.with_name(f"{path.name}.earlier-{number}") for number in count(1))
        path.rename(next(each for each in free if not os.path.lexists(each)))
