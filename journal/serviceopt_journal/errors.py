"""The one root of every error that a user can meet, and the exit codes of both programs."""

from __future__ import annotations

from enum import IntEnum

from .unseen import visible

LONGEST_LINE = 2000
"""Characters of one line of a message."""
MOST_LINES = 200
"""Lines of a message."""


class ExitCode(IntEnum):
    """Stable exit codes of `serviceoptctl` and `serviceoptd` (documented in docs/exit-codes.md)."""

    OK = 0
    FAILURE = 1  # something that is our fault, or that nobody foresaw
    USAGE = 2  # the command line itself: unknown option, missing argument
    CONFIGURATION = 3  # a configuration file is not valid, or still has placeholders
    ENVIRONMENT = 4  # this machine lacks something: program, model, free port, permission
    UNREACHABLE = 5  # no daemon answers on the socket
    JOURNAL_DAMAGED = 6  # the journal fails verification; in the unit's RestartPreventExitStatus
    JOURNAL_LOCKED = 7  # another process writes this journal
    JOURNAL_FUTURE = 8  # the journal holds events of a newer release
    NOT_FOUND = 9  # no such run, or nothing to show
    CONFLICT = 10  # not possible in the run's present state
    INFEASIBLE = 11  # the run ended, and no measured configuration meets every SLO
    RUN_FAILED = 12  # the run ended, and nothing could be measured
    INTERRUPTED = 130  # Ctrl-C; the run can be continued


class ServiceoptError(Exception):
    """What happened, where, and what to do. Printed in one place, without a traceback.

    Message and hint may quote what a stranger wrote: whatever it was, they can be stored, shown and read.

    Attributes:
        exit_code: the exit code of the program that cannot go on.
        hint: what the user can do about it; empty when the message says it already.
    """

    exit_code: ExitCode = ExitCode.FAILURE

    def __init__(self, message: str, *, hint: str = "") -> None:
        self.message = _fit(message)
        self.hint = _fit(hint)
        super().__init__(self.message)


def _fit(text: str) -> str:
    """The text as it can be stored, shown and read: nothing unseen in it, and of a length that somebody reads."""
    text = visible(text)
    if len(text) <= LONGEST_LINE and text.count("\n") < MOST_LINES:
        return text
    lines = text.split("\n")
    more = [f"... and {len(lines) - MOST_LINES} more lines"] if len(lines) > MOST_LINES else []
    return "\n".join([*map(_shortened, lines[:MOST_LINES]), *more])


def _shortened(line: str) -> str:
    """Beginning and end of a long line: the one says where, the other what."""
    left_out = len(line) - LONGEST_LINE
    if left_out <= 0:
        return line
    half = LONGEST_LINE // 2
    return f"{line[:half]} [... {left_out} characters ...] {line[-half:]}"


class JournalError(ServiceoptError):
    """An error of the journal: it is damaged, busy, full or of a newer release."""


class JournalDamaged(JournalError):
    """Verification failed: nothing may be appended until a person has looked."""

    exit_code = ExitCode.JOURNAL_DAMAGED

    def __init__(self, message: str, *, first_bad_seq: int | None = None, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.first_bad_seq = first_bad_seq


class JournalUnreadable(JournalError):
    """The disk, the memory or the limit of open files fails now: no statement about the journal. Trying again may help."""

    exit_code = ExitCode.ENVIRONMENT


class JournalLocked(JournalError):
    """Another process holds the journal's writer lock."""

    exit_code = ExitCode.JOURNAL_LOCKED


class JournalFromTheFuture(JournalError):
    """An event type or version that this release does not know."""

    exit_code = ExitCode.JOURNAL_FUTURE


class JournalFull(JournalError):
    """The disk has no room for the journal; the transaction was rolled back.

    Appending may be tried again on a reopened connection.
    """

    exit_code = ExitCode.ENVIRONMENT


class JournalWriteFailed(JournalError):
    """A commit or a sync failed for another reason than a full disk: the process must end, replay decides."""

    exit_code = ExitCode.FAILURE


class NotFound(ServiceoptError):
    """There is no such run, event or file."""

    exit_code = ExitCode.NOT_FOUND


class Conflict(ServiceoptError):
    """What was asked for is not possible in the present state."""

    exit_code = ExitCode.CONFLICT


class InvalidConfiguration(ServiceoptError):
    """The configuration, or a value that follows from it, cannot be used."""

    exit_code = ExitCode.CONFIGURATION


class EnvironmentLacks(ServiceoptError):
    """This machine lacks something that the run needs."""

    exit_code = ExitCode.ENVIRONMENT


class DaemonUnreachable(ServiceoptError):
    """No daemon answers on the socket."""

    exit_code = ExitCode.UNREACHABLE
