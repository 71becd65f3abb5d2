"""A loop on a journal in memory, built as bootstrap builds the real one."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from memory_journal import MemoryJournal
from patience import HANG
from serviceopt_journal.artefacts import ArtefactStore
from serviceopt_journal.documents.requests import Submission
from serviceoptd.config import plugins
from serviceoptd.domain.evolve import fold
from serviceoptd.domain.state import RunState, State
from serviceoptd.evaluating.context import Context
from serviceoptd.evaluating.ledger import Ledger
from serviceoptd.service.loop import Loop
from serviceoptd.submitting.preparing import prepare
from serviceoptd.submitting.submission import submit

SMALL = """
engine = "simulated"
benchmark = "simulated"
n_particles = 3
iters = 2
ttft_slo = 2.0
[measurement]
repeats = 2
"""


def a_loop(directory: Path, journal: MemoryJournal) -> tuple[Context, Loop]:
    """A loop whose state is what the journal's records make."""
    state = State()
    for record in journal.records:
        state = fold(state, record)
    clock = journal.clock
    context = Context(
        ledger=Ledger(journal, state, clock),
        clock=clock,
        state_directory=directory,
        artefacts=ArtefactStore(directory),
        engine_class=plugins.engine_class,
        benchmark_class=plugins.benchmark_class,
    )
    return context, Loop(context)


async def submitted(context: Context, text: str = SMALL, **changes: Any) -> int:
    """The number of a new run with this configuration."""
    submission = Submission(configuration_text=text, working_directory=str(context.state_directory), **changes)
    prepared = prepare(submission, context, tool_prefix=None)
    return (await submit(context, prepared, uid=0, through="standalone")).run


async def finished(context: Context, loop: Loop, number: int, *, limit: float = HANG) -> RunState:
    """The run, when it is over."""
    context.ledger.listen(lambda _record, state: loop.stop("over") if state.runs[number].over else None)
    await loop.recover()
    async with asyncio.timeout(limit):
        await loop.run_forever()
    return context.ledger.state.runs[number]
