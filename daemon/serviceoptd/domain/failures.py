"""What launches and measurements fail of: the kinds, and what each has to do with the parameters of the run."""

from __future__ import annotations

import re
from collections.abc import Iterable

import msgspec

from serviceopt_journal.events import Configuration

OUT_OF_MEMORY = "out_of_memory"
KV_CACHE = "kv_cache"
DEVICE_IN_USE = "device_in_use"
NO_DEVICE = "no_device"
TOO_FEW_DEVICES = "too_few_devices"
COMMUNICATION = "communication"
REFUSED_ARGUMENT = "refused_argument"
MODEL = "model"
PORT = "port"
INSTALLATION = "installation"
DEAD_ENGINE = "dead_engine"
HUNG_ENGINE = "hung_engine"
NO_ROOM = "no_room"
KILLED = "killed"

KINDS = {
    OUT_OF_MEMORY: "a device, or the machine, had no memory left",
    KV_CACHE: "too little memory is left for the KV cache",
    DEVICE_IN_USE: "another process uses the device",
    NO_DEVICE: "no device can be used, or there is no driver for it",
    TOO_FEW_DEVICES: "the configuration needs more devices than there are",
    COMMUNICATION: "NCCL, HCCL or another library by which devices talk to each other",
    REFUSED_ARGUMENT: "an option, a value or a combination of them is refused",
    MODEL: "the model is missing, gated, incomplete or not supported",
    PORT: "a port is taken, or cannot be listened on",
    INSTALLATION: "a program, a module or a shared library is not there",
    DEAD_ENGINE: "the process is alive, but its engine no longer answers",
    NO_ROOM: "a disk, or a quota, is full: never a result, the attempt is done again",
    KILLED: "another process ended it by a signal: done once more, and twice in a row it is a result",
    HUNG_ENGINE: "requests are in flight, but no tokens arrive",
}
"""Every kind that is told apart, in people's words. `[health_check]` may name others."""

OF_THE_PARAMETERS = frozenset({OUT_OF_MEMORY, KV_CACHE})
"""Kinds that another configuration may well not have."""

OF_THE_SURROUNDINGS = frozenset({DEVICE_IN_USE, NO_DEVICE, MODEL, PORT, INSTALLATION, NO_ROOM})
"""Kinds that every configuration has alike: they say nothing of the one that was tried, and teach the search nothing."""

TIME_LIMIT, LOG_ENDS = "time limit of ", "; its log ends: "
"""How a reason tells that a limit was reached, and what stands before the end of a log that names no error."""

_VARIES = re.compile(r"0x[0-9a-f]+|\b[0-9a-f]{8,}\b|[\d_.:/\\-]+")


_ENDING = (1, 2, 9, 15)  # SIGHUP, SIGINT, SIGKILL, SIGTERM: those that people and the kernel's memory killer send


def cause_of(told: str, exit_status: int | None) -> str:
    """The kind of a failure: what the log told, else KILLED where the process ended by a signal that was not ours.

    A process may also say so of what it ran: 128 and the signal's number.
    """
    killed = exit_status is not None and (-exit_status in _ENDING or exit_status - 128 in _ENDING)
    return told or (KILLED if killed else "")


class Failed(msgspec.Struct, frozen=True, kw_only=True):
    """A launch or a measurement that failed and is not tried again."""

    configuration: Configuration
    particle: int = 0
    reason: str
    cause: str = ""  # one of KINDS, or of the user's; empty: not known


def words(reason: str) -> str:
    """The reason without what differs from one failure to the next: numbers, times, addresses, paths."""
    return " ".join(_VARIES.sub(" ", _without_the_end_of_a_log(reason).casefold()).split())


def names_a_parameter(reason: str, names: Iterable[str]) -> bool:
    """Whether the reason speaks of one of these parameters, in any spelling."""
    said = _letters(_without_the_end_of_a_log(reason))
    return any(letters in said for name in names if len(letters := _letters(name)) > 3)


def _without_the_end_of_a_log(reason: str) -> str:
    """What remains of a time limit's reason: how far a log had come by then tells neither what failed nor of what."""
    told, ends, _ = reason.partition(LOG_ENDS)
    return told if ends and TIME_LIMIT in told else reason


def _letters(text: str) -> str:
    return re.sub(r"[^a-z]", "", text.casefold())
