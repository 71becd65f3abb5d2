"""A follower of the event stream that does not read costs bounded memory, and misses nothing."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

from serviceopt_journal import events as e
from serviceopt_journal.codec import Recorded
from serviceoptd.domain.state import State
from serviceoptd.service.api import MOST_WAITING, Api


def record(seq: int) -> Recorded:
    return Recorded(
        seq=seq, commit=seq, time=1.0, monotonic=1.0, boot_id="b", event=e.LogLevelChanged(level=f"level {seq}")
    )


def test_a_follower_that_stops_reading_is_ended_in_order_and_goes_on_from_its_last_event() -> None:
    async def story() -> None:
        listening: list[object] = []
        kept: list[Recorded] = []

        def listen(heard: object) -> object:
            listening.append(heard)
            return lambda: listening.remove(heard)

        daemon = SimpleNamespace(
            ending=False,
            ledger=SimpleNamespace(listen=listen),
            records=lambda after: (each for each in list(kept) if each.seq > after),
        )
        stream = Api(daemon)._follow(0, lambda _: True)
        assert (await anext(stream)).startswith(b": serviceoptd")
        asked = asyncio.ensure_future(anext(stream))
        await asyncio.sleep(0)
        for seq in range(1, 3 * MOST_WAITING):
            kept.append(record(seq))
            for heard in listening:
                heard(kept[-1], State())  # type: ignore[operator]
        told = [await asked, *[line async for line in stream]]
        events = [line for line in told if line.startswith(b"id: ")]
        assert len(events) == MOST_WAITING
        assert [int(line.split()[1]) for line in events] == list(range(1, MOST_WAITING + 1))
        assert b"too far behind" in told[-1]
        assert listening == []
        again = Api(daemon)._follow(len(events), lambda _: True)
        await anext(again)
        assert (await anext(again)).startswith(b"id: %d\n" % (MOST_WAITING + 1))
        await again.aclose()

    asyncio.run(asyncio.wait_for(story(), 60))
