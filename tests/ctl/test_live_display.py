"""The live view of a run on a terminal."""

from __future__ import annotations

import fcntl
import io
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from rich.console import Console

from builders import Story, a_journal, an_unfinished_story, go_on, the_rest
from patience import HANG
from serviceopt_journal.documents.runs import Run
from serviceopt_journal.errors import DaemonUnreachable
from serviceoptctl.documents import Record
from serviceoptctl.from_journal import FromJournal
from serviceoptctl.render.layout import columns
from serviceoptctl.render.live import LiveDisplay, picture


def drawn(state: Path, width: int, **changes: Any) -> str:
    document = msgspec.structs.replace(FromJournal.open(state).run("latest").document, **changes)
    output = io.StringIO()
    console = Console(file=output, width=width, force_terminal=True, color_system=None)
    console.print(
        picture(
            document,
            5.0,
            ["14:02:11 evaluation 2 ready"],
            ["14:01:07 evaluation 1 failed"],
            "",
            width=width,
            now=1_772_366_400.0,
        )
    )
    return output.getvalue()


@pytest.mark.parametrize("width", [40, 80, 200])
def test_the_picture_fits_the_terminal_and_has_everything_in_it(state: Path, width: int) -> None:
    a_journal(state, an_unfinished_story(Story(name="调优 [bold]夜间[/bold]")))
    text = drawn(state, width)
    assert all(columns(line) <= width for line in text.splitlines())
    words = " ".join(text.split())
    for part in (
        "run 1 (调优", "[bold]", "evaluation 3, measuring for 15 s", "MAX_NUM_SEQS=128", "900 tok/s",
        "3 of 8", "left", "14:02:11", "14:01:07",
    ):  # fmt: skip
        assert part in words, part
    assert "service.log" in words
    assert "client.log" in words


def test_the_live_display_keeps_its_picture_when_the_daemon_is_lost(state: Path) -> None:
    a_journal(state, an_unfinished_story())
    document = FromJournal.open(state).run("latest").document
    output = io.StringIO()
    console = Console(file=output, width=80, force_terminal=True, color_system=None)
    answers = [document]

    def ask() -> Run:
        if not answers:
            raise DaemonUnreachable("it is gone")
        return answers.pop()

    with LiveDisplay(console) as display:
        display.begin(ask)
        display._live.refresh()
        display.show(Record.of({"seq": 1, "time": 1.0, "event": {"type": "run_started", "v": 1, "run": 1}}))
        display._live.refresh()
        display.say("waiting")
        display._live.refresh()
    drawings = output.getvalue().split("run   ")
    assert "it is gone" in drawings[2]
    assert "waiting" in drawings[-1]
    assert all("evaluation 3, measuring" in drawing for drawing in drawings[1:])


def test_on_a_terminal_the_run_is_shown_live(daemon: Callable[..., Any], state: Path) -> None:
    story = Story()
    daemon(an_unfinished_story(story))
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 80, 0, 0))
    environment = {**os.environ, "TERM": "xterm-256color"}
    environment.pop("COLUMNS", None)
    command = [sys.executable, "-m", "serviceoptctl", "watch"]
    process = subprocess.Popen(command, stdout=theirs, stderr=theirs, stdin=theirs, env=environment)
    os.close(theirs)
    shown = b""
    while b"measuring for" not in shown:
        shown += os.read(ours, 65536)
    go_on(state, the_rest(story))
    try:
        while block := os.read(ours, 65536):
            shown += block
    except OSError:  # Linux says EIO when the other side of a pseudo terminal is closed
        pass
    os.close(ours)
    assert process.wait(timeout=HANG) == 0
    text = shown.decode()
    assert "\x1b[" in text
    assert "3 of 8 configurations" in text
    assert "To deploy it" in text
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)
    recommendation = plain[plain.index("objective:") :]
    assert all(len(line) <= 80 for line in recommendation.splitlines() if "vllm serve" not in line)
