"""What a client sends is looked at beside the daemon's work, and one after the other where that matters."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from starlette.requests import Request

from daemon.service.daemons import SMALL, a_loop
from memory_journal import MemoryJournal
from serviceopt_journal.documents.requests import Submission
from serviceoptd.config import plugins
from serviceoptd.service.api import Api
from serviceoptd.submitting.preparing import prepare
from serviceoptd.submitting.submission import submit


def posted(document: bytes) -> Request:
    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": document}

    scope = {"type": "http", "method": "POST", "path": "/v1/runs", "headers": [], "client": ("uid", 0)}
    return Request(scope, receive)


def test_submissions_at_the_same_time_become_runs_of_their_own(tmp_path: Path) -> None:
    async def story() -> list[int]:
        context, _ = a_loop(tmp_path, MemoryJournal())
        prepared = prepare(
            Submission(configuration_text=SMALL, working_directory=str(tmp_path)), context, tool_prefix=None
        )
        submissions = (submit(context, prepared, uid=0, through="socket") for _ in range(5))
        accepted = await asyncio.gather(*submissions)
        assert sorted(context.ledger.state.runs) == [1, 2, 3, 4, 5]
        return [one.run for one in accepted]

    assert sorted(asyncio.run(story())) == [1, 2, 3, 4, 5]


def test_a_submission_is_prepared_beside_the_loop(tmp_path: Path) -> None:
    threads = []

    def engine_class(name: str) -> Any:
        threads.append(threading.current_thread())
        return plugins.engine_class(name)

    async def story() -> None:
        context, loop = a_loop(tmp_path, MemoryJournal())
        context.engine_class = engine_class
        body = (
            '{"configuration_text": "engine = \\"simulated\\"\\nbenchmark = \\"simulated\\"", "working_directory": "/"}'
        )
        daemon = SimpleNamespace(context=context, loop=loop, ledger=context.ledger)
        assert (await Api(daemon).submit(posted(body.encode()))).status_code == 201

    asyncio.run(story())
    assert threads
    assert threading.main_thread() not in threads
