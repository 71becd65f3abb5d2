"""The same error again and again costs a line a minute, with its number; no traceback where something is lacking."""

from __future__ import annotations

import asyncio
import errno

import pytest
import structlog

from serviceoptd.io import log
from serviceoptd.io.log import Seldom
from serviceoptd.service import stray_errors


def test_the_same_thing_is_told_at_once_and_then_once_a_minute_with_its_number() -> None:
    now = 100.0
    seldom = Seldom(60.0, lambda: now)
    assert seldom.times("a") == 1
    assert [seldom.times("a") for _ in range(5)] == [0] * 5
    assert seldom.times("b") == 1
    now = 160.0
    assert seldom.times("a") == 6
    assert seldom.times("a") == 0


def test_what_is_remembered_is_bounded() -> None:
    seldom = Seldom(60.0, lambda: 0.0)
    for number in range(10 * Seldom.MOST):
        assert seldom.times(number) == 1
    assert len(seldom._told) <= Seldom.MOST


@pytest.mark.parametrize("error", [OSError(errno.EMFILE, "Too many open files"), ValueError("a defect")], ids=repr)
def test_an_error_in_every_turn_of_the_loop_is_one_line(error: Exception, capsys: pytest.CaptureFixture[str]) -> None:
    async def story() -> None:
        running = asyncio.get_running_loop()
        stray_errors.log_seldom(running)

        def fails(_turn: object) -> None:
            raise type(error)(*error.args)

        for _ in range(1000):
            running.call_soon(fails, object())
        await asyncio.sleep(0.01)

    log.configure("INFO")
    try:
        asyncio.run(story())
    finally:
        structlog.reset_defaults()
    told = capsys.readouterr().err
    assert told.count(str(error)) == 1
    assert told.count("Traceback") == (0 if isinstance(error, OSError) else 1)
