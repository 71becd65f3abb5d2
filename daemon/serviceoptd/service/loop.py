"""The loop: asks the policy what is due and does it, one run at a time, until it is told to stop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from serviceopt_journal.codec import Recorded
from serviceopt_journal.events import (
    ConfirmationRequested,
    EvaluationInterrupted,
    Event,
    RunCancelRequested,
    RunFinished,
    RunResumed,
    RunStarted,
)
from serviceoptd.config import plugins
from serviceoptd.domain import policy
from serviceoptd.domain.holding.interruptions import Phase
from serviceoptd.domain.proving.racing import Confirmation, recommended
from serviceoptd.domain.state import RunState, State
from serviceoptd.domain.table import kind_of
from serviceoptd.evaluating.advising import Advisors
from serviceoptd.evaluating.context import Context, Interrupted
from serviceoptd.evaluating.launching import launch
from serviceoptd.evaluating.live_service import LiveService
from serviceoptd.evaluating.measuring import measure
from serviceoptd.evaluating.proposing import propose, think_ahead
from serviceoptd.evaluating.rejecting import Rejections
from serviceoptd.evaluating.stopping import finish_evaluation, recover, stop_service
from serviceoptd.evaluating.surroundings.room import no_descriptors
from serviceoptd.rules.interface import Rule
from serviceoptd.search.interface import Problem, Strategy
from serviceoptd.service.closing import Closing


class Loop:
    """Works on the queue of runs. At most one service is alive at any time."""

    def __init__(
        self,
        context: Context,
        strategy_class: Callable[[str], Callable[[Problem], Strategy]] = plugins.strategy_class,
        rule_class: Callable[[str], type[Rule]] = plugins.rule_class,
    ) -> None:
        self._context = context
        self._strategy_class = strategy_class
        self._rule_class = rule_class
        self._rejections = Rejections()
        self._advisors = Advisors()
        self._closing = Closing(context)
        self._exhausted: set[int] = set()
        self.stopping = ""
        self.draining = False
        context.ledger.listen(self._notice)

    @property
    def busy(self) -> bool:
        """Whether a service of ours is alive: its port is taken by ourselves."""
        return self._live is not None

    def stop(self, reason: str) -> None:
        """Ends what runs and lets `run_forever` return; the interrupted evaluation goes on at the next start."""
        self.stopping = reason
        self._context.interrupt.set()
        self._context.ledger.give_up()
        self._context.ledger.wake()

    def drain(self) -> None:
        """Lets `run_forever` return as soon as the evaluation under way is finished."""
        self.draining = True
        self._context.ledger.wake()

    async def stop_idle_service(self) -> None:
        """Ends the live service while nothing can be committed; its evaluation is tried again afterwards."""
        if self._live is not None and self._live.child is not None and self._live.child.alive:
            await self._closing.end_process()

    async def recover(self) -> None:
        """Closes whatever a dead daemon had announced. To be called once, before `run_forever`."""
        for run in self._state.queue():
            await self._closing.close(run, "the daemon ended while it was under way")

    async def run_forever(self) -> None:
        """Does what is due until `stop` or `drain`. However it is left, no service of ours is left running.

        Raises:
            JournalError: nothing can be committed any more.
        """
        try:
            await self._run_until_told()
        finally:
            await self._closing.end_process()

    async def _run_until_told(self) -> None:
        while not self.stopping:
            run = self._next_run()
            if self.draining and self._live is None and not _only_to_be_closed(run):
                return
            if run is None:
                await self._context.ledger.changed()
                continue
            if run.status == "queued" and not run.cancel_requested:
                await self._context.ledger.commit(RunStarted(run=run.number))
                continue
            await self._step(run)
        if self._live is not None:
            run = self._state.runs[self._live.run]
            await self._closing.close(run, self.stopping)

    async def _step(self, run: RunState) -> None:
        if not self.stopping and not run.cancel_requested:
            self._context.interrupt.clear()  # it was meant for what is over by now
        phase: Phase = "proposing"
        try:
            action = policy.next_action(
                run,
                active_seconds=self._active_seconds(run),
                exhausted=run.number in self._exhausted,
                draining=self.draining,
            )
            phase = policy.phase_of(action)
            # A library that is imported meanwhile may stay half imported. To hold a run takes none.
            if not isinstance(action, policy.Hold) and (lack := no_descriptors()):
                return await self._context.ledger.wait_for_room(lack)
            await self._do(run, action)
        except Interrupted:
            fresh = self._state.runs[run.number]
            await self._closing.close(fresh, self.stopping or fresh.reason or "cancelled")
        except Exception as error:  # noqa: BLE001 - what it means is decided there, in one place
            await self._closing.step_failed(run, phase, error)

    async def _do(self, run: RunState, action: policy.Action) -> None:
        context = self._context
        match action:
            case policy.Propose(particle):
                # Models take a moment to import and to fit, during which the daemon answers all the same.
                events = await asyncio.to_thread(self._proposed, self._state, run, particle)
                if events is None:
                    self._exhausted.add(run.number)
                else:
                    await context.ledger.commit(*events)
                    self._rejections.notice(run.number, events)
            case Confirmation(particle, number, reason):
                await context.ledger.commit(
                    ConfirmationRequested(run=run.number, particle=particle, round=number, reason=reason)
                )
            case policy.Launch():
                await launch(context, run, action, self._closing.announce)
            case policy.Measure():
                if self._live is None:
                    raise RuntimeError("a measurement is due on a service that this daemon did not start")
                await self._measure(run, self._live, action)
            case policy.Stop(_, reason):
                if self._live is None:
                    await recover(context, run)
                else:
                    await stop_service(context, run, self._live, reason)
                    self._closing.live = None
            case policy.FinishEvaluation(number):
                await finish_evaluation(context, run, number)
            case policy.Hold(reason):
                self._closing.stuck.add(run.number)  # one that is being cancelled goes on although it is paused
                await self._closing.hold(run, reason)
            case policy.FinishRun(outcome, reason):
                await context.ledger.commit(self._finished(run, outcome, reason))
            case policy.Wait():
                await context.ledger.changed()

    def _proposed(self, state: State, run: RunState, particle: int) -> list[Event] | None:
        search = run.settings.search
        strategy, rules = self._strategy_class(search.strategy), [self._rule_class(rule) for rule in search.rules]
        return propose(state, run, particle, strategy, rules, self._context.engine(run), self._advisors)

    async def _measure(self, run: RunState, live: LiveService, action: policy.Measure) -> None:
        """Measures, and lets the strategy learn meanwhile from what was measured before."""
        measuring = True

        def strategy(problem: Problem) -> Strategy:  # imported on the thread that asks it
            return self._strategy_class(run.settings.search.strategy)(problem)

        learning = asyncio.ensure_future(
            asyncio.to_thread(
                think_ahead,
                self._state,
                run,
                strategy,
                self._context.engine(run),
                self._advisors,
                lambda: measuring,
            )
        )
        try:
            await measure(self._context, run, live, action)
        except BaseException:
            measuring = False
            await asyncio.gather(learning, return_exceptions=True)
            raise
        await learning

    def _finished(self, run: RunState, outcome: str, reason: str) -> RunFinished:
        best, feasible, proof = recommended(run)
        return RunFinished(
            run=run.number,
            outcome="cancelled" if outcome == "cancelled" else "completed" if outcome == "completed" else "failed",
            reason=reason,
            recommended=best.number if best else None,
            feasible=feasible,
            evaluations=len(run.evaluations),
            seconds=self._active_seconds(run),
            proof=proof,
            kind=kind_of(run, best) if best else "",
        )

    def _next_run(self) -> RunState | None:
        """The run whose service is alive, else the oldest one that is neither paused nor over."""
        queue = self._state.queue()
        if self._live is not None:
            return self._state.runs[self._live.run]
        due = (run for run in queue if not run.paused or run.cancel_requested)
        return next((run for run in due if run.number not in self._closing.stuck), None)

    def _active_seconds(self, run: RunState) -> float:
        state = self._state
        return run.active_seconds + max(0.0, self._context.clock.monotonic() - state.moment[1])

    def _notice(self, recorded: Recorded, state: State) -> None:
        event = recorded.event
        if isinstance(event, RunCancelRequested) and self._live is not None and self._live.run == event.run:
            self._context.interrupt.set()
        if isinstance(event, RunResumed | RunCancelRequested):
            self._closing.stuck.discard(event.run)
        if isinstance(event, EvaluationInterrupted):
            self._exhausted.discard(event.run)

    @property
    def _live(self) -> LiveService | None:
        return self._closing.live

    @property
    def _state(self) -> State:
        return self._context.ledger.state


def _only_to_be_closed(run: RunState | None) -> bool:
    """Whether everything has been measured on a service that has ended, and only the journal does not say so yet."""
    evaluation = run.evaluation if run is not None else None
    return run is not None and evaluation is not None and evaluation.phase == "stopped" and not run.due_on(evaluation)
