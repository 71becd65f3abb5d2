"""Finding in a service's log why it ended: the first line that names an error and is no consequence of another one.

Engines of several processes end with a cascade: the worker that failed, the processes that noticed, the server that waited
for them, and warnings about what they left. Only the first is worth a user's time. Pure; the shapes are those of vLLM
(0.6 to 0.32, and vllm-ascend), SGLang and MindIE, of Python's tracebacks, of argparse and of the dynamic loader.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from serviceoptd.domain import failures
from serviceoptd.toolkit.ended_logs.failure_phrases import CONSEQUENCES, DEATHS, KINDS, NOISE, any_of
from serviceoptd.toolkit.ended_logs.log_lines import said

_EXCEPTION = re.compile(
    r"(?:[A-Za-z_]\w*\.)*(?:[A-Z]\w*)?(?:Error|Exception|Refused|NotFound|Timeout|OutOfResources)\b(?::\s|:?$)"
)
_SAYS = re.compile(
    r"^\S.*?: error: |\berror while loading shared libraries|command not found|: not found$|what\(\):|^Fatal Python error"
    r"|^Segmentation fault|^(?:[\w./-]+:? ){0,4}out of memory|^Bus error|^Illegal instruction|^panic: |^Error: |^fatal: "
    r"|^\[Errno \d+\]|^E[A-Z]?\d{4,5}: |^(?:docker|podman): |^Error response from daemon|failed, by:",
    re.IGNORECASE,
)
_IN_PASSING = re.compile(r"\b(?:with|due to|because of|got|caught) [\w.]*Error\b", re.IGNORECASE)

_ECHOES = frozenset({failures.COMMUNICATION})
"""Kinds that the other processes report when one of them has ended: believed where nothing else is told."""
_SOFT = frozenset({failures.REFUSED_ARGUMENT, failures.MODEL, failures.INSTALLATION})
"""Kinds of which an engine also logs what it can do without: there an exception counts more."""


@dataclass(frozen=True)
class Cause:
    """The line that shows why, without what the logger put before it, and its kind; "" where that is not known."""

    line: str
    kind: str


@dataclass(frozen=True)
class _Named:
    cause: Cause
    raised: bool  # an exception, or the last word of a program; else merely logged as an error
    consequence: bool  # told by a process that only noticed: it may still say of what


def kind_of(text: str) -> str:
    """The kind of failure that this text speaks of (`domain/failures.py`); "" when it speaks of none."""
    return next((kind for kind, phrases in KINDS if any_of(phrases).search(text)), "")


def root_cause(lines: Sequence[str]) -> Cause | None:
    """Why the service ended; None where no line names an error.

    The first line counts whose kind is known, unless other processes merely echo it; else the first exception, and only
    then what was logged as an error. A process that only noticed counts where it alone says of what kind the failure is.
    """
    named = list(_named(lines))
    return min(named, key=_doubt).cause if named else None  # the first of those that are told apart least


def last_words(lines: Sequence[str]) -> str:
    """What an engine has logged of its own death, without the logger's words; empty where it tells none."""
    died = any_of(DEATHS)
    told = (said(line) for line in lines if died.search(line))
    return next((each.message for each in told if not each.quiet), "")


def _doubt(named: _Named) -> int:
    kind, known = named.cause.kind, named.cause.kind not in {"", *_ECHOES}
    if named.consequence:
        return 2 if known and kind not in _SOFT else 6
    if known and (named.raised or kind not in _SOFT):
        return 0 if named.raised else 1
    return 3 if named.raised else 4 if kind else 5


def _named(lines: Sequence[str]) -> Iterator[_Named]:
    noticed, noise = any_of(CONSEQUENCES), any_of(NOISE)
    code = ""  # the latest line of code in a traceback: what an exception without a message was raised by
    for index, line in enumerate(lines):
        found = said(line)
        message = found.message
        if found.indented and not message.startswith("what():"):
            code = message if message and not message.startswith(("File ", "^", "~", "...")) else code
            continue
        if not message or found.quiet or message.startswith("Traceback") or noise.search(message):
            continue
        exception = _EXCEPTION.match(message)
        raised = exception is not None or bool(_SAYS.search(message) and not _IN_PASSING.search(message))
        if not raised and not found.level:
            continue
        consequence = bool(noticed.search(message))
        if exception is not None and message[exception.end() :].strip() == "":
            message = f"{message.rstrip(':')} in `{code}`" if code else message
        elif _goes_on(message):
            message = " ".join([message, *_continued(lines[index + 1 : index + 5])])
        yield _Named(Cause(message, kind_of(message)), raised, consequence)


def _goes_on(message: str) -> bool:
    """Whether what is wrong stands in the lines after: pydantic lists the refused fields there, NCCL its last error."""
    return "ValidationError" in message or "NCCL error in" in message or message.endswith(":")


def _continued(lines: Sequence[str]) -> Iterator[str]:
    for line in lines:
        message = said(line).message
        if (
            not message
            or message.startswith(("File ", "Traceback", "During", "The above"))
            or "further info" in message
        ):
            return
        yield message.partition(" [type=")[0]
