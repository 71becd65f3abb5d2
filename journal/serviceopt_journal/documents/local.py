"""What `serviceoptctl --json` prints of what it looks at itself, without a daemon."""

from __future__ import annotations

from typing import Literal

import msgspec

from .particles import Recommendation


class Ended(msgspec.Struct, frozen=True, kw_only=True):
    """The last line of `watch`, `run --watch`, `run --standalone` and `optimizer`, behind the records."""

    run: int
    outcome: str  # as in a run
    best: Recommendation | None = None  # `null`: nothing could be measured


class Finding(msgspec.Struct, frozen=True):
    """One thing that `doctor` looked at."""

    name: str
    level: Literal["ok", "warn", "fail"]
    message: str
    hint: str = ""  # what to do
    drop_in: str = ""  # text of a drop-in of the unit that fixes it


class Examined(msgspec.Struct, frozen=True, kw_only=True):
    """What `doctor` found out, check by check."""

    findings: tuple[Finding, ...]
    drop_ins: str  # all of them together
    exit_code: int  # 4 where something is missing


class Verified(msgspec.Struct, frozen=True, kw_only=True):
    """What `journal verify` found."""

    directory: str
    sound: bool
    events: int
    head_seq: int  # of the last event
    head_hash: str  # SHA-256 of the last event, in hexadecimal
    first_bad_seq: int | None = None  # where the damage begins
    problems: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()  # faults that the daemon's next start repairs
    newer: str | None = None  # what only a newer release can read
    events_per_second: float


class Pages(msgspec.Struct, frozen=True, kw_only=True):
    """The pages of the installed documentation, as `docs` lists them."""

    directory: str
    topics: dict[str, str]  # what `docs` takes -> the page's title


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """A page of the installed documentation, or a section of one."""

    topic: str
    text: str  # Markdown
