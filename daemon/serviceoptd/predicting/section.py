"""`[simulated]`: the one table of the embedded engine and its client."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Annotated, Any, Literal

from pydantic import Field as Bounded
from pydantic import field_validator, model_validator

from serviceopt_journal.events import Configuration, Value
from serviceoptd.predicting.data_set.kinds import Kind
from serviceoptd.simulation.demonstration.engine import Machine, Setting, Workload
from serviceoptd.simulation.schedulers.limits import KINDS, names_of
from serviceoptd.simulation.virtual_clock import distributions as spreads
from serviceoptd.simulation.virtual_clock.arrivals import RampUp
from serviceoptd.simulation.virtual_clock.overheads import Overheads
from serviceoptd.toolkit.interface import Options

Positive = Annotated[float, Bounded(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Bounded(ge=0, allow_inf_nan=False)]
Count = Annotated[int, Bounded(ge=1)]
Prompts = Annotated[int, Bounded(ge=1, le=10000)]

_USUAL = Machine()
_REQUESTS = Workload()


CAME_LATER: Mapping[str, Any] = {
    "prefix_tokens": 0, "concurrency": None, "request_rate": None, "data_set": None, "prefixes": 1, "turns": 1,
    "input_distribution": None, "output_distribution": None, "ramp_up": None, "chat_template": None,
}  # fmt: skip
"""Keys that identities have only where they differ from these: runs of before keep theirs."""
OF_DATA_SETS_CAME_LATER: Mapping[str, Any] = {
    "messages": (), "own_output": True, "turns": "every", "category": "", "labels": (), "hashed": 16, "second": None,
    "columns": {}, "chat": False, "client_template": False,
}  # fmt: skip
"""The same, of `data_set`."""


def usual_of(options: Options, usual: Mapping[str, Any]) -> set[str]:
    """The keys that have these values."""
    return {key for key, value in usual.items() if getattr(options, key) == value}


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


class OverheadOptions(Options):
    """`[simulated.overheads]`: meaning and units as in `simulation.overheads.Overheads`."""

    delay: NotNegative = 0.0
    work_per_request: NotNegative = 0.0
    work_per_prompt_token: NotNegative = 0.0
    return_delay: NotNegative = 0.0
    work_per_token: NotNegative = 0.0

    def overheads(self) -> Overheads:
        """The overheads in the types of the simulator."""
        return Overheads(**self.model_dump())


class MessageOptions(Options):
    """One of `[[simulated.data_set.messages]]`: a message of each prompt."""

    role: str  # HUMAN, BOT or SYSTEM, as AISBench names them
    prompt: str  # with the columns of a record in braces


class DataSetOptions(Options):
    """`[simulated.data_set]`: the file of the client's data set, and how the client reads it."""

    path: Annotated[str, Bounded(min_length=1)]  # relative to the submitter's directory
    kind: Kind
    tokenizer: str | None = None  # directory with tokenizer.json; None: the tokens of a text are estimated
    output_tokens: Count | None = None  # of every answer; None: the record's own
    shuffled: bool = True  # false: sent in the order of the file
    template: str = "{question}"  # of `ais_bench`: how a record becomes a prompt
    messages: tuple[MessageOptions, ...] = ()  # of `ais_bench`: the messages of a chat, in the template's place
    own_output: bool = True  # of `ais_bench`: a record's own limit of its answer wins over `output_tokens`
    turns: Literal["every", "every_with_gt", "last"] = "every"  # of conversations: those that are asked
    category: str = ""  # of `spec_bench` and `speed_bench`: only this one
    labels: tuple[str, ...] = ()  # of `timed_trace`: time stamp, input, output, hashes
    hashed: Count = 16  # of `timed_trace`: tokens that a hash stands for
    second: Positive | None = None  # of `timed_trace`: factor of time stamps, which then tell when to send
    columns: Mapping[str, str] = {}  # of `guidellm`: the column of each of its own
    chat: bool = False  # the service is asked for a chat, so it puts the chat template around the messages
    client_template: bool = False  # the client puts the chat template around each prompt

    @field_validator("labels")
    @classmethod
    def _all(cls, labels: tuple[str, ...]) -> tuple[str, ...]:
        if labels and len(labels) != 4:
            raise ValueError("needs all four: those of time stamp, input length, output length and hashes")
        return labels


class DistributionOptions(Options):
    """`[simulated.input_distribution]` or `[simulated.output_distribution]`: how these lengths are spread."""

    kind: spreads.Kind
    min: Count
    max: Count
    mean: float = 0.0
    deviation: NotNegative = 0.0
    exponent: Annotated[float, Bounded(gt=1, le=10)] = 2.0

    @model_validator(mode="after")
    def _in_order(self) -> DistributionOptions:
        if self.min > self.max:
            raise ValueError(f"min {self.min} is above max {self.max}")
        return self

    def summary(self) -> str:
        """What lengths it gives, for people."""
        around = f" around {self.mean:g}, deviation {self.deviation:g}" if self.kind == "normal" else ""
        around = f" with exponent {self.exponent:g}" if self.kind == "zipf" else around
        return f"{self.min:,} to {self.max:,} tokens, {self.kind}{around},"

    def distribution(self) -> spreads.Distribution:
        """The distribution in the types of the simulator."""
        return spreads.Distribution(**self.model_dump())


class RampUpOptions(Options):
    """`[simulated.ramp_up]`: a rate that grows, in requests/s."""

    strategy: Literal["linear", "exponential"]
    start: Positive
    end: Positive

    def ramp_up(self) -> RampUp:
        """Gives it in the types of the simulator."""
        return RampUp(**self.model_dump())


class SimulatedSection(Options):
    """The table `[simulated]` of a configuration.

    With a `model` the virtual time line answers, without one the embedded demonstration.
    """

    num_prompts: Prompts = _REQUESTS.num_prompts
    input_tokens: Count = _REQUESTS.input_tokens
    output_tokens: Count = _REQUESTS.output_tokens
    noise: bool = True  # false: every measurement of a configuration gives the same
    launch_seconds: NotNegative = 0.0  # how long a launch is made to take, for demonstrations
    measurement_seconds: NotNegative = 0.0
    machine: MachineOptions = MachineOptions()
    model: Annotated[str, Bounded(min_length=1)] | None = None  # path of a trained one, relative to the submitter's
    scheduler: Literal["vllm", "mindie"] = "vllm"
    limits: Mapping[str, int | float | bool | str] = {}  # of the scheduler, where no target field tells them
    overheads: OverheadOptions | None = None  # None: those that were fitted with the model, if any
    range_ratio: Annotated[float, Bounded(ge=0, lt=1)] = 0.0  # 0.5: lengths from half of the mean to one and a half
    lengths: str | None = None  # path of a CSV file of lengths, in place of these three
    burstiness: Positive = 1.0
    prefix_tokens: Annotated[int, Bounded(ge=0)] = 0  # that all prompts share, before those of `input_tokens`
    concurrency: Count | None = None  # requests in flight, and
    request_rate: Positive | None = None  # requests/s, where no target field tells them
    data_set: DataSetOptions | None = None  # whose lengths are simulated, in place of those above
    prefixes: Count = 1  # different prefixes of `prefix_tokens`, each of equally many requests
    turns: Count = 1  # requests of a conversation, each with all that was said before it
    input_distribution: DistributionOptions | None = None  # in place of `input_tokens` and `range_ratio`
    output_distribution: DistributionOptions | None = None
    ramp_up: RampUpOptions | None = None  # in place of `request_rate`, where no target field tells it
    chat_template: str | None = None  # directory of the model whose template is put around each prompt

    @field_validator("limits")
    @classmethod
    def _known(cls, limits: Mapping[str, Any]) -> Mapping[str, Any]:
        known = sorted({name for scheduler in KINDS for name in names_of(scheduler)})
        if unknown := [name for name in limits if name not in known]:
            raise ValueError(f"unknown limit {', '.join(unknown)}; one of {', '.join(known)}")
        return limits

    @model_validator(mode="after")
    def _one_model(self) -> SimulatedSection:
        usual = type(self).model_fields
        of_a_trained_one = ("scheduler", "limits", "overheads", "range_ratio", "lengths", "burstiness", *CAME_LATER)
        # journals hold overheads of 0 from when they were the default
        given = [
            name for name in of_a_trained_one if getattr(self, name) not in (usual[name].default, OverheadOptions())
        ]
        if self.model is None and given:
            raise ValueError(f"{', '.join(given)}: has an effect only with `model`, a trained latency model")
        return self

    def machine_and_workload(self) -> tuple[Machine, Workload]:
        """The numbers for the queueing model of the embedded demonstration."""
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
