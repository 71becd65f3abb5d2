"""What a client sends, and the short answers to it."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

DeployPolicy = Literal["single", "multiple"]
Separation = Literal["competition", "disaggregation"]


class Submission(msgspec.Struct, frozen=True, kw_only=True):
    """What a client sends to submit a run."""

    configuration_text: str = ""  # the TOML itself; empty: the defaults
    configuration_path: str | None = None  # where it came from, for messages
    engine: str | None = None  # wins over the configuration; `null`: its choice
    benchmark: str | None = None  # the same of the client
    name: str | None = None  # of the run; empty or `null`: given by the configuration
    seed: int | None = None  # of every random decision; `null`: drawn
    load_breakpoint: bool = False  # go on with the last run of the same identity
    backup: bool = False  # keep logs, configuration and raw output of every evaluation
    deploy_policy: DeployPolicy = "single"  # `multiple` comes with a later release
    pd: Separation = "competition"  # `disaggregation`: engine `mindie` on Kubernetes
    # every variable that the service and the client are to see. Kept in a 0600 file beside the journal; never in an
    # event, an answer or a log
    environment: dict[str, str] = {}
    working_directory: str = "/"  # absolute; relative paths of the configuration start there


class Expected(msgspec.Struct, frozen=True, kw_only=True):
    """What the rest of a run takes at most, by its budgets."""

    launches: int  # of the service, confirmations included
    seconds: float  # for all of them
    # what `seconds` comes from: the mean of earlier measurements, the time limits, or the budget where it is less; of
    # simulated services without history nothing is known but that no limit is near
    source: Literal["history", "limits", "max_hours", "simulated"]
    runs: tuple[int, ...] = ()  # of the same measurement identity, whose mean it is
    # the shortest and the longest, in seconds, if each launch takes as long as those of `others`; without history alone
    between: tuple[float, float] | None = None
    others: tuple[int, ...] = ()  # the latest runs of the same engine with other identities
    managed: bool = True  # false: nothing is launched, it is only measured


class Accepted(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a submission."""

    run: int
    continued: bool = False  # an earlier run goes on
    complete: bool = False  # that run is over already, and nothing is due
    warnings: tuple[str, ...] = ()
    expected: Expected | None = None  # `null` where nothing is due


class Import(msgspec.Struct, frozen=True, kw_only=True):
    """Results of the predecessor, to be taken into the journal as history."""

    file: str  # where a `data_storage_*.csv` lies, for messages
    content: str  # its whole text
    configuration_text: str = ""  # the TOML whose objective judges the results; empty: none, so no latency limit
    configuration_path: str | None = None
    engine: str | None = None  # whose parameters these are; `null`: what the configuration says, else `unknown`
    name: str = ""  # of the run; empty: that of the file
    force: bool = False  # import the same content once more
    working_directory: str = "/"  # of the caller


class ImportedResults(msgspec.Struct, frozen=True, kw_only=True):
    """What became of an import."""

    run: int
    rows: int  # `measured` + `failed` + `predicted`
    measured: int
    failed: int
    predicted: int
    recommended: int | None = None  # a particle
    feasible: bool = False  # whether it meets every SLO
    warnings: tuple[str, ...] = ()


class Reason(msgspec.Struct, frozen=True, kw_only=True):
    """Why a run is paused, resumed or cancelled."""

    reason: str = ""  # kept in the journal with the event


class NewConfiguration(msgspec.Struct, frozen=True, kw_only=True):
    """The configuration whose SLOs, budgets and log level a run is to take over."""

    configuration_text: str = ""
    configuration_path: str | None = None  # for messages


class Changes(msgspec.Struct, frozen=True, kw_only=True):
    """What a run took over."""

    changes: dict[str, Any]  # setting -> new value


class Draining(msgspec.Struct, frozen=True, kw_only=True):
    """What is measured is finished, and nothing more is started."""

    draining: bool = True


class LogLevel(msgspec.Struct, frozen=True, kw_only=True):
    """The daemon's own log level; sent, and answered."""

    level: str = ""  # such as `DEBUG`


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """Why something was not done."""

    message: str
    hint: str = ""  # what to do
    exit_code: int  # one of exit-codes.md; `serviceoptctl` ends with it


class Refused(msgspec.Struct, frozen=True, kw_only=True):
    """The answer where something was not done; its status is 400, 404, 409 or 500."""

    error: Refusal
