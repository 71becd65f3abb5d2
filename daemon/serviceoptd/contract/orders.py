"""Orders for engines and clients, told in the domain's words."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from serviceopt_journal.events import Configuration
from serviceoptd.benchmarks.interface import Benchmark, ClientOutcome, MeasurementOrder
from serviceoptd.domain.load import load_of
from serviceoptd.domain.settings import LOAD_NAMES, Field, Objective
from serviceoptd.engines.interface import ServiceOrder
from serviceoptd.toolkit.interface import Workplace

VLLM_FIELDS = (
    Field(name="MAX_NUM_BATCHED_TOKENS", dtype="int", min=8192, max=65536, value=8192),
    Field(name="MAX_NUM_SEQS", dtype="int", min=32, max=512, value=64),
    Field(name="CONCURRENCY", dtype="int", min=1, max=1000, value=100, load=True),
    Field(name="REQUESTRATE", dtype="float", min=0, max=0, value=0, load=True),
)
VLLM_CONFIGURATION: Configuration = {
    "MAX_NUM_BATCHED_TOKENS": 16384,
    "MAX_NUM_SEQS": 128,
    "CONCURRENCY": 100,
    "REQUESTRATE": 0.0,
}


def a_workplace(tmp_path: Path, environment: Mapping[str, str] | None = None) -> Workplace:
    """A private directory, the submitter's directory beside it, and a PATH of its own."""
    directory, submitted_from = tmp_path / "private", tmp_path / "submitter"
    directory.mkdir(exist_ok=True)
    submitted_from.mkdir(exist_ok=True)
    return Workplace(
        directory=directory,
        working_directory=submitted_from,
        environment={"PATH": f"{tmp_path}/bin:/usr/bin:/bin", "HOME": str(tmp_path), **(environment or {})},
    )


def a_program(tmp_path: Path, name: str, text: str = "#!/bin/sh\nexit 0\n") -> Path:
    """An executable on the workplace's PATH."""
    path = tmp_path / "bin" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


def a_field(name: str, position: str = "env", **more: Any) -> Field:
    """A field of the service, or of the load where its name is one of the load's."""
    given: dict[str, Any] = {"dtype": "int", "name": name, "config_position": position, "load": name in LOAD_NAMES}
    return Field(**given | more)


def a_service_order(
    workplace: Workplace,
    configuration: Configuration | None = None,
    fields: Sequence[Field] = VLLM_FIELDS,
    *,
    managed: bool = True,
) -> ServiceOrder:
    """What the engine is asked to serve."""
    return ServiceOrder(
        configuration=VLLM_CONFIGURATION if configuration is None else configuration,
        fields=fields,
        workplace=workplace,
        managed=managed,
    )


def a_measurement_order(
    workplace: Workplace,
    configuration: Configuration | None = None,
    fields: Sequence[Field] = VLLM_FIELDS,
    *,
    objective: Objective | None = None,
    seed: int = 7,
    warm_up_requests: int = 0,
    details: bool = False,
    noise_key: tuple[int, int, int] = (1, 1, 1),
) -> MeasurementOrder:
    """What the client is asked to measure; the load is the configuration's."""
    chosen = VLLM_CONFIGURATION if configuration is None else configuration
    concurrency, request_rate = load_of(chosen)
    return MeasurementOrder(
        configuration=chosen,
        fields=fields,
        concurrency=concurrency,
        request_rate=request_rate,
        seed=seed,
        warm_up_requests=warm_up_requests,
        objective=objective or Objective(),
        workplace=workplace,
        details=details,
        noise_key=noise_key,
    )


def an_outcome(
    benchmark: Benchmark, order: MeasurementOrder, *, exit_status: int = 0, output: str = ""
) -> ClientOutcome:
    """The client has ended with this status, after printing this."""
    path = order.workplace.directory / "client.log"
    path.write_text(output)
    return ClientOutcome(exit_status=exit_status, output=path, order=order, plan=benchmark.plan(order))


def written(path: Path, content: str, at: float = 1010.0) -> None:
    """A file with that time stamp (seconds since the epoch): clients must not care for it."""
    path.write_text(content)
    os.utime(path, (at, at))
