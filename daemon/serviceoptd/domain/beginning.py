"""How a run begins, and how it gets results that were not measured here."""

from __future__ import annotations

import msgspec
from msgspec.structs import replace

from serviceopt_journal import events as e
from serviceoptd.domain.settings import RunSettings
from serviceoptd.domain.space import Space
from serviceoptd.domain.state import Imported, Particle, RunState

NOT_MEASURED = "predicted: the imported file says that it was not measured"


def born(event: e.RunSubmitted, time: float) -> RunState:
    """The run that was submitted at `time` (seconds since the epoch)."""
    settings = msgspec.convert(event.settings, RunSettings)
    return RunState(
        number=event.run,
        name=event.name,
        settings=settings,
        space=Space.of(settings.fields),
        seed=event.seed,
        run_identity=event.run_identity,
        measurement_identity=event.measurement_identity,
        identity_parts=event.identity_parts,
        configuration_path=event.configuration_path,
        configuration_text=event.configuration_text,
        working_directory=event.working_directory,
        environment_file=event.environment_file,
        environment_sha256=event.environment_sha256,
        submitted_through=event.submitted_through,
        submitter_uid=event.submitter_uid,
        submitted=time,
    )


def result_of_a_file(particle: Particle, event: e.ResultImported) -> Particle:
    """The particle with the result that a row of an imported file tells.

    What the file itself calls predicted stays a prediction: it is shown, and never recommended.
    """
    particle = replace(
        particle,
        imported=Imported(place=f"{event.source_file}:{event.line}", backup=event.backup),
        num_prompts=event.num_prompts,
        seconds=event.seconds,
    )
    if not event.measured:
        return replace(particle, predicted=event.metrics, rejected=event.error or NOT_MEASURED)
    return replace(particle, measurements=(event.metrics,) if event.metrics else (), error=event.error)
