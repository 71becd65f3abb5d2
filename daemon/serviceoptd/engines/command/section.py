"""`[command]`: any service and any client, described in TOML. The engine reads `service`, the client reads `client`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, StrictInt, model_validator

from serviceopt_journal.metric_table import (
    COMPLETED,
    DURATION,
    FAILED,
    GENERATE_SPEED,
    OUTPUT_TOKENS,
    SUCCESS_RATE,
    THROUGHPUT,
)
from serviceoptd.toolkit.endpoint import Port
from serviceoptd.toolkit.extraction import METRIC_NAME, flattened, kind_of, parse_path, unit_factor
from serviceoptd.toolkit.interface import Options, ProcessOptions


def _pattern(text: str) -> str:
    try:
        groups = re.compile(text, re.MULTILINE).groups
    except re.error as error:
        raise ValueError(f"is not a regular expression: {error}") from error
    if groups != 1:
        raise ValueError(f"needs one group in parentheses around the number, has {groups}")
    return text


def _url(text: str) -> str:
    if text.startswith("/"):
        return text
    parts = urlsplit(text)
    if parts.scheme != "http" or not parts.hostname:
        raise ValueError("must be a path such as /health (on `host` and `port`), or http://HOST:PORT/PATH")
    return text


def _json_path(text: str) -> str:
    parse_path(text)
    return text


Pattern = Annotated[str, AfterValidator(_pattern)]
Url = Annotated[str, AfterValidator(_url)]


class CommandService(ProcessOptions):
    """`[command.service]`: how the service is started, and how it tells that it is ready."""

    argv: tuple[str, ...] = ()  # its first word is the program, unless `program` is given
    host: str = "127.0.0.1"  # $HOST
    port: Port | None = None  # $PORT
    model: str = ""  # $MODEL; part of the measurement identity
    ready_url: Url | None = None
    ready_status: int = 200
    ready_log: str | None = None  # text of the log line that tells that it is ready
    reset_url: Url | None = None  # a POST there forgets cached prefixes
    report_url: Url | None = None  # a GET there answers with `kv_blocks_pattern`
    kv_blocks_pattern: Pattern | None = None
    devices: StrictInt | str | list[StrictInt | str] = 1  # a number or "$NAME"; several are multiplied
    version: str = ""  # where a hash of the program does not tell it, such as of a container's image
    identity_files: tuple[str, ...] = ()  # files whose content a measured value depends on
    identity_variables: tuple[str, ...] = ()  # variables (MYSERVER_*) that it depends on

    @model_validator(mode="after")
    def _one_sign_of_life(self) -> CommandService:
        wrong = []
        if (self.ready_url is None) == (self.ready_log is None):
            wrong.append("give one of ready_url and ready_log")
        if self.port is None and any(url and url.startswith("/") for url in self._urls()):
            wrong.append("a path such as /health needs `port`")
        if wrong:
            raise ValueError("; ".join(wrong))
        return self

    def _urls(self) -> tuple[str | None, ...]:
        return self.ready_url, self.reset_url, self.report_url


class MetricSource(Options):
    """Where a number is: `path` into the JSON result, or `pattern` with one group on a line of text; and its unit."""

    example: ClassVar[str] = '{ path = "tps", unit = "tok/s" }'

    path: Annotated[str, AfterValidator(_json_path)] | None = None
    pattern: Pattern | None = None
    unit: str = ""

    @model_validator(mode="after")
    def _one_place(self) -> MetricSource:
        if (self.path is None) == (self.pattern is None):
            raise ValueError("give one of path and pattern")
        return self


class CommandClient(ProcessOptions):
    """`[command.client]`: how the client is started, and where its numbers are."""

    argv: tuple[str, ...] = Field(min_length=1)
    num_prompts: Annotated[int, Field(ge=1, le=10000)] = 1000  # $NUM_PROMPTS
    host: str | None = None  # $HOST; None: the service's of this table
    port: Port | None = None  # $PORT
    model: str | None = None  # $MODEL
    dataset: str | None = None  # $DATASET; its content is part of the measurement identity
    result_file: str | None = None  # $RESULT_FILE: its name in a directory of its own ($RESULT_DIR)
    stdout: bool = False  # read the standard output instead
    metrics: Annotated[dict[str, MetricSource], BeforeValidator(flattened)]
    version: str = ""
    identity_files: tuple[str, ...] = ()
    identity_variables: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _readable(self) -> CommandClient:
        wrong = [*self._wrong_place(), *self._wrong_metrics(), *self._missing_metrics()]
        if wrong:
            raise ValueError("; ".join(wrong))
        return self

    def _wrong_place(self) -> Iterator[str]:
        if (self.result_file is None) == (not self.stdout):
            yield "give one of result_file and stdout = true"
        if self.result_file is not None and (self.result_file.startswith("/") or ".." in self.result_file.split("/")):
            yield "result_file is a name in the measurement's own directory, which is $RESULT_DIR"

    def _wrong_metrics(self) -> Iterator[str]:
        for name, source in self.metrics.items():
            if not METRIC_NAME.fullmatch(name):
                yield f"{name} is not a metric: `serviceoptctl docs engines#command` lists them"
                continue
            try:
                unit_factor(source.unit, kind_of(name))
            except ValueError as error:
                yield str(error)

    def _missing_metrics(self) -> Iterator[str]:
        names = set(self.metrics)
        if not ({GENERATE_SPEED} <= names or {OUTPUT_TOKENS, DURATION} <= names):
            yield f"metrics needs {GENERATE_SPEED} (or {OUTPUT_TOKENS} and {DURATION})"
        if not names & {THROUGHPUT, DURATION}:
            yield f"metrics needs {THROUGHPUT} (or {DURATION})"
        if not names & {COMPLETED, FAILED, SUCCESS_RATE}:
            yield (
                f"metrics needs {COMPLETED}, {FAILED} or {SUCCESS_RATE}: "
                "a client whose requests all failed must not be believed"
            )


class CommandSection(Options):
    """The table `[command]` of a configuration."""

    service: CommandService | None = None
    client: CommandClient | None = None

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> CommandSection:
        """Rebuilds the section from `model_dump(mode="json")`."""
        return cls.model_validate(options)
