"""Is everything on this machine that the run needs: programs, models, data, a free port, a service that answers?"""

from __future__ import annotations

from serviceopt_journal.errors import EnvironmentLacks, InvalidConfiguration
from serviceoptd.config.plugins import blaming
from serviceoptd.io.http_probe import probe, told
from serviceoptd.io.ports import ensure_free
from serviceoptd.submitting.draft import Draft, Prepared
from serviceoptd.toolkit.interface import HttpProbe


def refuse_what_is_missing(draft: Draft) -> None:
    """Asks the engine and the client what they do not find here.

    Raises:
        InvalidConfiguration: what they look for is named wrongly.
        EnvironmentLacks: a program, a model or a data set is missing.
        BrokenPlugin: one of them fails.
    """
    settings, workplace = draft.settings, draft.workplace
    with blaming("engine", settings.engine):
        problems = draft.engine.problems(workplace, settings.manage_lifecycle)
    with blaming("benchmark", settings.benchmark):
        problems = [*problems, *draft.benchmark.problems(workplace)]
    if not problems:
        return
    text = "\n".join(f"{problem.key}: {problem.message}" for problem in problems)
    hints = dict.fromkeys(problem.hint for problem in problems if problem.hint)
    kind = InvalidConfiguration if any(problem.configuration for problem in problems) else EnvironmentLacks
    raise kind(text, hint="; ".join(hints) or "`serviceoptctl doctor -c FILE` checks all of it")


def refuse_a_taken_port(draft: Draft) -> None:
    """Looks whether the first particle's service could listen where it is to.

    Raises:
        PortTaken: somebody else does.
    """
    plan = draft.plan
    if plan is not None and plan.listens_on is not None and plan.command is not None:
        ensure_free(*plan.listens_on)


async def must_answer(prepared: Prepared) -> None:
    """Asks a service that somebody else runs, before anything is written.

    Raises:
        EnvironmentLacks: it does not answer.
    """
    settings, plan = prepared.settings, prepared.draft.plan
    if settings.manage_lifecycle or plan is None or plan.simulated:
        return
    for question in plan.ready if isinstance(plan.ready, tuple) else (plan.ready,):
        if not isinstance(question, HttpProbe):
            continue
        answer = await probe(question, settings.limits.http)
        if answer.status != question.status:
            raise EnvironmentLacks(
                f"the service that is to be measured is not ready: {told(question, answer)}",
                hint="start it, or set manage_lifecycle = true so that it is started for each evaluation",
            )
