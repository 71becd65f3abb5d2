"""A record and its canonical bytes: what lies in the journal, what is hashed, and what is read back."""

from __future__ import annotations

from typing import Any

import msgspec

from .errors import JournalDamaged, JournalError
from .events import AnyEvent, Event
from .upcasting import CURRENT_VERSIONS, upcast


class Recorded(msgspec.Struct, frozen=True, gc=False):
    """One event as it stands in the journal.

    `commit` is the first `seq` of the transaction that wrote it: the events of one commit became durable together.
    """

    seq: int  # 1, 2, 3 ... without gaps
    commit: int
    time: float  # seconds since the epoch, when it was written
    monotonic: float  # seconds, comparable under the same boot_id only
    boot_id: str
    event: AnyEvent


class EventNotStorable(JournalError):
    """An event holds something that could not be read back (a NaN, a value of another type). Nothing was written."""


class _Envelope(msgspec.Struct, frozen=True):
    seq: int
    commit: int
    time: float
    monotonic: float
    boot_id: str
    event: dict[str, Any]


UNDECODABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""What decoding raises of bytes that are no JSON of the type: before msgspec 0.20 its own errors are no ValueError."""

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Recorded)
_envelope_decoder = msgspec.json.Decoder(_Envelope)


def encode(recorded: Recorded) -> bytes:
    """The canonical bytes of a record: compact JSON in the order of the fields; dicts keep the order they came in."""
    return _encoder.encode(recorded)


def encode_commit(
    events: tuple[Event, ...], *, first_seq: int, time: float, monotonic: float, boot_id: str
) -> tuple[list[bytes], tuple[Recorded, ...]]:
    """The canonical bytes of one commit's records, and the records as a reader will get them back.

    Raises:
        EventNotStorable: an event would not be readable again.
    """
    # The same bytes as `encode` gives, but what is common to the whole commit is encoded once.
    stamps = (first_seq, time, monotonic, boot_id)
    common = b',"commit":%b,"time":%b,"monotonic":%b,"boot_id":%b,"event":' % tuple(map(_encoder.encode, stamps))
    try:
        bodies = [
            b'{"seq":%d%b%b}' % (seq, common, event)
            for seq, event in enumerate(map(_encoder.encode, events), first_seq)
        ]
        # Decoding what was just encoded: live code folds exactly what replay will fold, and nothing unreadable ever
        # gets into the journal.
        return bodies, tuple(map(_decoder.decode, bodies))
    except (msgspec.MsgspecError, TypeError, ValueError, OverflowError) as error:
        names = ", ".join(sorted({type(event).__name__ for event in events}))
        raise EventNotStorable(
            f"{names} cannot be stored: {error}",
            hint="this is a defect of serviceopt or of a plugin; nothing was written",
        ) from error


def decode(body: bytes | bytearray) -> Recorded:
    """The record of these bytes; older versions of events are lifted to the current one.

    Raises:
        JournalFromTheFuture: the event's type or version is not known to this release.
        JournalDamaged: the bytes are not a record.
    """
    try:
        recorded = _decoder.decode(body)
    except UNDECODABLE:
        return _decode_other_version(body)
    if recorded.event.v != CURRENT_VERSIONS[type(recorded.event)]:
        return _decode_other_version(body)
    return recorded


def _decode_other_version(body: bytes | bytearray) -> Recorded:
    try:
        envelope = _envelope_decoder.decode(body)
    except UNDECODABLE as error:
        raise JournalDamaged(f"not a record of this journal: {error}") from error
    fields = upcast(envelope.seq, envelope.event)
    try:
        return msgspec.convert({**msgspec.structs.asdict(envelope), "event": fields}, Recorded)
    except msgspec.ValidationError as error:
        raise JournalDamaged(
            f"event {envelope.seq} is not a {fields['type']!r} of version {fields['v']}: {error}",
            first_bad_seq=envelope.seq,
        ) from error
