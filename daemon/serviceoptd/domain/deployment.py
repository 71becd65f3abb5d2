"""How the recommended setting is deployed: the command, its variables, and places in the engine's own files. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping

from serviceopt_journal.documents.particles import Deploy
from serviceopt_journal.errors import NotFound
from serviceopt_journal.events import EditedFile
from serviceoptd.domain.state import Evaluation, Particle, RunState

OF_OURS = "serviceoptd."
MOST_OUTSIDE = 10  # per cent of the engine's time, as for advice to a search that measures
_OUTSIDE = re.compile(r"latency model's training data for (\d+) ?%")
_VARIABLE = re.compile(r"(?:^| )([A-Za-z_][A-Za-z0-9_]*)=")


def deployment(run: RunState, service: Evaluation) -> Deploy:
    """What was really run, and what of the submitter's environment results depend on."""
    inherited = inherited_environment(run.identity_parts)
    return Deploy(
        argv=service.argv,
        environment=service.environment,
        inherited_environment={} if service.simulated else _beyond(service.environment, inherited),
        working_directory=service.working_directory,
        managed=service.managed,
        simulated=service.simulated,
        internal="-m" in service.argv and any(word.startswith(OF_OURS) for word in service.argv),
        files=tuple(file.path for file in service.edited_files if file.edited_sha256 != file.original_sha256),
    )


def measured_on(chosen: Particle, run: RunState, runs: Mapping[int, RunState]) -> Evaluation | None:
    """The launch on which a particle was measured, also where it took another one's result; None: it is not known.

    `runs`: where those of other runs are looked up.
    """
    while chosen.evaluation is None and chosen.matched is not None:
        number, particle = chosen.matched
        found = run if number == run.number else runs.get(number)
        if found is None or particle not in found.particles:
            return None
        run, chosen = found, found.particles[particle]
    return run.evaluations.get(chosen.evaluation) if chosen.evaluation is not None else None


def positions(run: RunState, chosen: Particle) -> dict[str, str]:
    """The parameters that lie in the engine's configuration file, each with its dotted place there."""
    return {
        field.name: field.config_position
        for field in run.settings.fields
        if not field.load
        and field.name in chosen.configuration
        and field.config_position != "env"
        and not field.config_position.startswith("argument:")
    }


def edited_files(run: RunState, runs: Mapping[int, RunState]) -> tuple[EditedFile, ...]:
    """The files that were edited while the recommended setting was measured, be it in another one of `runs`.

    Raises:
        NotFound: nothing has been measured, or no file was edited.
    """
    chosen = run.best()
    if chosen is None:
        raise NotFound(f"nothing has been measured in run {run.number}")
    service = measured_on(chosen, run, runs)
    if service is None or not service.edited_files:
        raise NotFound(
            f"no file was edited for particle {chosen.number} of run {run.number}",
            hint="the engine has no configuration file, its file holds these values already, or the result is an "
            "earlier run's; `serviceoptctl best` shows the parameters",
        )
    return service.edited_files


def beyond_its_training(chosen: Particle) -> bool:
    """Whether a simulated result lies so far outside of its model's training data that no probability may be shown."""
    told = _OUTSIDE.search(chosen.remark) if chosen.simulated else None
    return told is not None and int(told[1]) >= MOST_OUTSIDE


def inherited_environment(parts: dict[str, str]) -> dict[str, str]:
    """The variables that the engine's identity tells, as NAME=value with a blank between them."""
    found: dict[str, str] = {}
    for part in ("engine.environment", "engine.variables"):
        pieces = _VARIABLE.split(parts.get(part, ""))[1:]
        found |= dict(zip(pieces[::2], pieces[1::2], strict=True))
    return found


def _beyond(own: dict[str, str], inherited: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in inherited.items() if name not in own}
