"""The simulator that advises a search on a real engine: a trained model, asked about one run's configurations."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from serviceopt_journal.errors import EnvironmentLacks, InvalidConfiguration
from serviceopt_journal.events import Configuration
from serviceoptd.domain.load import load_of
from serviceoptd.domain.settings import RunSettings, Slo
from serviceoptd.predicting.prediction import Predictor, fingerprint
from serviceoptd.predicting.section import SimulatedSection
from serviceoptd.predicting.validation import told_limits
from serviceoptd.simulation.advice.simulator import Simulated
from serviceoptd.simulation.schedulers.limits import MissingLimits
from serviceoptd.simulation.virtual_clock.timeline import Stuck

SEED = 1
"""One draw of arrivals and lengths for all configurations, so that they are compared under the same requests."""
TO_BE_REPORTED = 2**40
"""KV blocks, while there is no service that tells them."""


class Advisor:
    """Satisfies `serviceoptd.simulation.advice.simulator.Simulator`; remembers what it said."""

    def __init__(
        self, predictor: Predictor, settings: RunSettings, kv_blocks: int | None, block_size: int | None = None
    ) -> None:
        """`kv_blocks`, `block_size`: as the run's first service reported; None: it has not, or does not."""
        self._predictor, self._settings = predictor, settings
        self._told = told_limits(settings.model_facts, kv_blocks, block_size, predictor)
        self._answers: dict[bytes, Simulated] = {}

    def __call__(self, configuration: Configuration, slos: Sequence[Slo]) -> Simulated:
        key = msgspec.msgpack.encode((sorted(configuration.items()), slos))
        if key not in self._answers:
            self._answers[key] = self._simulated(configuration, slos)
        return self._answers[key]

    def _simulated(self, configuration: Configuration, slos: Sequence[Slo]) -> Simulated:
        concurrency, request_rate = load_of(configuration)
        try:
            prediction = self._predictor.predict(
                self._predictor.limits(configuration, self._settings.fields, self._told),
                concurrency=concurrency,
                request_rate=request_rate,
                num_prompts=self._settings.sample or self._predictor.options.num_prompts,
                slos=slos,
                seed=SEED,
            )
        except (InvalidConfiguration, Stuck):  # what cannot be simulated is not judged
            return Simulated(None)
        told = prediction.metrics if prediction.metrics.completed else None
        return Simulated(told, prediction.beyond, prediction.remark)


def files_of(settings: RunSettings, directory: Path, configuration: Configuration) -> dict[str, str]:
    """SHA-256 of the files that the simulator of a run needs, by key; they were read, and know enough to simulate.

    Raises:
        EnvironmentLacks: one cannot be read, or is not a latency model.
        InvalidConfiguration: a limit of the scheduler is told nowhere.
    """
    options = SimulatedSection.model_validate(settings.search.simulation)
    predictor = Predictor.of(options, directory)
    try:
        predictor.limits(
            configuration, settings.fields, told_limits(settings.model_facts, TO_BE_REPORTED, None, predictor)
        )
    except MissingLimits:
        raise
    except InvalidConfiguration:  # this configuration would be refused; others need not be
        pass
    return fingerprint(options, directory)


def advisor_of(settings: RunSettings, directory: Path, kv_blocks: int | None, block_size: int | None = None) -> Advisor:
    """The simulator of a run that was submitted from `directory`.

    Raises:
        EnvironmentLacks: a file cannot be read any more, or has changed.
    """
    options = SimulatedSection.model_validate(settings.search.simulation)
    if changed := [
        key for key, sha256 in fingerprint(options, directory).items() if settings.simulation_files.get(key) != sha256
    ]:
        raise EnvironmentLacks(
            f"[simulated] {', '.join(changed)} is not the file with which this run was submitted",
            hint="restore that file and resume; or submit a new run: it reuses what was measured",
        )
    return Advisor(Predictor.of(options, directory), settings, kv_blocks, block_size)
