from __future__ import annotations

import time
import uuid

from serviceoptd.io.clock import Clock, SystemClock


def test_the_system_clock_tells_both_times_and_which_boot_this_is() -> None:
    clock: Clock = SystemClock()
    before = time.time()
    assert before <= clock.wall() <= time.time()
    assert clock.monotonic() <= clock.monotonic() <= time.monotonic()
    assert str(uuid.UUID(clock.boot_id())) == clock.boot_id() == SystemClock().boot_id()
