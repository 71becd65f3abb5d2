"""What descriptions of engines and of clients are made of: both interfaces are read after this one.

All of it is data. A description says what to start, how readiness shows and what is wrong; it starts and writes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from pydantic import BaseModel, ConfigDict

from serviceopt_journal.errors import EnvironmentLacks, InvalidConfiguration, ServiceoptError
from serviceopt_journal.metrics import Metrics
from serviceoptd.domain.settings import Field


class Options(BaseModel):
    """Base of every section's model: unknown keys are errors, so that a misspelt one is never ignored."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ProcessOptions(Options):
    """What can be configured for every engine and client that runs as a process."""

    program: str | None = None  # path or name of the executable; None: the usual name, looked for on PATH
    working_directory: str | None = None  # relative to the submitter's
    environment: dict[str, str] = {}
    environment_file: str | None = None  # NAME=value lines, read at each launch
    stop_command: list[str] | None = None  # run instead of SIGTERM, such as `docker stop NAME`


@dataclass(frozen=True)
class Workplace:
    """Where a child process may write, and what surrounds it."""

    directory: Path  # private to this launch or measurement; exists
    working_directory: Path  # the submitter's
    environment: Mapping[str, str]  # the submitter's, with the tool's own virtual environment taken out
    originals: Mapping[Path, bytes] = field(default_factory=dict)  # of files that a launch of ours has edited now


@runtime_checkable
class NamesItsVariables(Protocol):
    """An engine or a client whose results depend on environment variables of its own. Optional.

    Results are reused only where these variables are equal too, whether or not `identity` tells of them.
    """

    @property
    def relevant_variables(self) -> Sequence[str]:
        """Names, or patterns such as `MINDIE_*`; `!*_PATH` excludes. A class attribute will do."""


@dataclass(frozen=True)
class Command:
    """A process to start, without a shell."""

    argv: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)  # added to the workplace's
    measuring_environment: Mapping[str, str] = field(default_factory=dict)  # added too, but no part of a deployment
    working_directory: Path | None = None  # None: the workplace's
    files: Mapping[Path, bytes] = field(default_factory=dict)  # to write below the workplace's directory, before


@dataclass(frozen=True)
class HttpProbe:
    """Ready when a GET answers with this status. Also used as `POST` for resetting a cache."""

    host: str
    port: int
    path: str
    method: str = "GET"
    status: int = 200


@dataclass(frozen=True)
class LogProbe:
    """Ready when a line of the service's output contains this text."""

    text: str


Probe = HttpProbe | LogProbe


@dataclass(frozen=True)
class MetricsPage:
    """Where a service tells, in Prometheus' text format, how it goes, and how it calls what is read there.

    `series` -> names, of which the first that is there counts. For early stopping: ttft, tpot, e2el (histograms of
    requests, s), itl (of tokens), tokens, finished, preemptions (counters), running, waiting (gauges). For the profile
    store, besides: steps (histogram of tokens), prompt_tokens, cached_tokens (counters), ended_prompt_tokens,
    ended_output_tokens (histograms of requests, tokens). That a long prefill goes on shows in running, steps, prompt_tokens
    and kv_usage (gauge of the KV cache in use).
    """

    endpoint: HttpProbe
    series: Mapping[str, Sequence[str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Problem:
    """Something that keeps a configuration from running here. `key` is its dotted place in the configuration."""

    key: str
    message: str
    hint: str = ""
    configuration: bool = False  # the value itself is wrong, on every machine


@runtime_checkable
class Remarking(Protocol):
    """An engine or a client that sees what is legal and probably not meant. Optional."""

    def remarks(self, fields: Sequence[Field]) -> list[Problem]:
        """What people should be told before a run: a field that reaches nothing... Reads nothing."""


@runtime_checkable
class Simulable(Protocol):
    """An engine or a client whose own files tell what is simulated in its place. Optional."""

    def simulated(self, workplace: Workplace) -> Mapping[str, Any]:
        """Keys of `[simulated]`, `limits` among them, as far as its files tell them. Reads, never writes.

        Raises:
            InvalidConfiguration: of a client: the lengths of its requests cannot be known; the message says from what.
        """


class Refusals:
    """What is refused for reasons that have nothing to do with each other: all of it is told in one pass."""

    def __init__(self) -> None:
        self._refused: dict[str, InvalidConfiguration] = {}
        self._lacking: EnvironmentLacks | None = None

    def add(self, refused: InvalidConfiguration) -> None:
        """Takes one more reason; the same one counts once."""
        for line in refused.message.split("\n"):
            self._refused.setdefault(line, refused)

    @contextmanager
    def collected(self) -> Iterator[None]:
        """Takes the refusal with which this block ends, and goes on behind it. What this machine lacks is told last."""
        try:
            yield
        except InvalidConfiguration as refused:
            self.add(refused)
        except EnvironmentLacks as lacking:
            self._lacking = self._lacking or lacking

    def tell(self) -> None:
        """Ends what has been refused; does nothing where nothing has been.

        Raises:
            InvalidConfiguration: every reason on its line, with the hints of all of them.
            EnvironmentLacks: nothing is refused, but something is missing here.
        """
        found = list(dict.fromkeys(self._refused.values()))
        if len(found) == 1:
            raise found[0]
        if found:
            hints = dict.fromkeys(each.hint for each in found if each.hint)
            raise InvalidConfiguration("\n".join(self._refused), hint="; ".join(hints))
        if self._lacking is not None:
            raise self._lacking


class UnusableResult(ServiceoptError):
    """The client ended, but its result must not be believed. `metrics`: what could still be read."""

    def __init__(self, message: str, *, hint: str = "", metrics: Metrics | None = None) -> None:
        super().__init__(message, hint=hint)
        self.metrics = metrics


def render(value: object) -> str:
    """A parameter value as a command line or an environment variable shows it: 8192, 0.9, true."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value)) if abs(value) >= 1 or value == 0 else repr(value)
    return str(value)
