"""`[simulated]`: the one table of the embedded engine and its client."""

from __future__ import annotations

from dataclasses import fields
from typing import Annotated, Any

from pydantic import Field as Bounded

from serviceopt_journal.events import Configuration, Value
from serviceoptd.engines.interface import Options
from serviceoptd.simulation.queueing import Machine, Setting, Workload

Positive = Annotated[float, Bounded(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Bounded(ge=0, allow_inf_nan=False)]
Count = Annotated[int, Bounded(ge=1)]
Prompts = Annotated[int, Bounded(ge=1, le=10000)]

_USUAL = Machine()
_REQUESTS = Workload()


class MachineOptions(Options):
    """`[simulated.machine]`: meaning and units as in `simulation.queueing.Machine`."""

    device_gb: Positive = _USUAL.device_gb
    weights_gb: Positive = _USUAL.weights_gb
    kv_mb_per_token: Positive = _USUAL.kv_mb_per_token
    activation_mb_per_token: NotNegative = _USUAL.activation_mb_per_token
    buffer_mb_per_sequence: NotNegative = _USUAL.buffer_mb_per_sequence
    max_model_len: Count = _USUAL.max_model_len
    step_ms: Positive = _USUAL.step_ms
    slot_us: NotNegative = _USUAL.slot_us
    sequence_us: NotNegative = _USUAL.sequence_us
    context_ns: NotNegative = _USUAL.context_ns
    prompt_us: Positive = _USUAL.prompt_us
    half_chunk: NotNegative = _USUAL.half_chunk
    exchange_ms: NotNegative = _USUAL.exchange_ms
    request_timeout_s: Positive = _USUAL.request_timeout_s


class SimulatedSection(Options):
    """`[simulated]`."""

    num_prompts: Prompts = _REQUESTS.num_prompts
    input_tokens: Count = _REQUESTS.input_tokens
    output_tokens: Count = _REQUESTS.output_tokens
    noise: bool = True  # false: every measurement of a configuration gives the same
    launch_seconds: NotNegative = 0.0  # how long a launch is made to take, for demonstrations
    measurement_seconds: NotNegative = 0.0
    machine: MachineOptions = MachineOptions()

    def model(self) -> tuple[Machine, Workload]:
        """The numbers for the queueing model."""
        workload = Workload(
            input_tokens=self.input_tokens, output_tokens=self.output_tokens, num_prompts=self.num_prompts
        )
        return Machine(**self.machine.model_dump()), workload


def setting_of(configuration: Configuration) -> Setting:
    """The service parameters among the target fields, whatever their capitals; fields of other names have no effect."""
    given = {name.lower(): value for name, value in configuration.items()}
    usual = Setting()
    read: dict[str, Any] = {
        field.name: _like(getattr(usual, field.name), given[field.name])
        for field in fields(Setting)
        if given.get(field.name, "") != ""
    }
    return Setting(**read)


def _like(usual: Value, value: Value) -> Value:
    if isinstance(usual, bool):
        return value if isinstance(value, bool) else str(value).lower() in ("true", "1")
    return max(1, int(value)) if isinstance(usual, int) else float(value)
