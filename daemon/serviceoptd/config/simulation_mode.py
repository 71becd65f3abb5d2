"""Simulation mode: the fields and the load of the chosen engine and client, answered by `[simulated]` and its model.

The predecessor's two variables ask for it. Everything else of the configuration is read and checked as for real
measurements; only who answers is another. With `[search] simulation` the same table advises a search that measures.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from msgspec.structs import replace

from serviceoptd.benchmarks.simulated_workload import workload_of
from serviceoptd.domain.settings import RunSettings
from serviceoptd.predicting.data_set.records import ASKED

from .problems import ConfigProblem, ConfigurationErrors
from .sections import Section
from .source import ENVIRONMENT, Source

FLAGS = ("MODEL_EVAL_STATE_ALL", "MODEL_EVAL_STATE_IS_SLEEP_FLAG")
SIMULATED = "simulated"
LENGTHS_KEY = "simulated.input_tokens"
LENGTHS = (
    "input_tokens", "output_tokens", "range_ratio", "prefix_tokens", "prefixes", "turns", "input_distribution",
    "output_distribution", "chat_template",
)  # fmt: skip
REPLACED = {"input_tokens": "input_distribution", "output_tokens": "output_distribution"}
"""Keys that no other key of the real pair may win over once they are given."""
OTHER_LENGTHS = {*LENGTHS, "lengths", "data_set"}
"""Keys that decide the lengths of requests: where one is given, the client's own data set is not read."""


@dataclass(frozen=True)
class Pair:
    """The chosen engine and client in whose place is simulated, and the keys of `[simulated]` that were written."""

    engine: Section
    client: Section
    given: Mapping[str, Any]


def asked_for(environment: Mapping[str, str]) -> bool:
    """Whether both variables are set; one alone does nothing, as before."""
    return all(environment.get(flag, "").strip().lower() in ("true", "1") for flag in FLAGS)


def told(model: str) -> ConfigProblem:
    """What is said where it is in effect."""
    message = f"simulation mode: nothing is started or measured, {model} predicts the results"
    return ConfigProblem(ENVIRONMENT, 0, " and ".join(FLAGS), message)


def in_its_place(
    table: Section | None, given: Mapping[str, Any], engine: Section, client: Section
) -> tuple[Section, Section, list[ConfigProblem]]:
    """The engine's and the client's section of simulation mode.

    Args:
        table: `[simulated]`, validated; None: it is not in the file.
        given: the same as it was written.
        engine, client: the chosen ones. They decide the scheduler and the number of prompts where `given` does not.
    """
    options = _options(table, given, engine, client)
    if not options.get("model"):
        message = "ask for simulation mode, which needs a trained latency model"
        what_to_do = (
            'make one with `serviceoptctl train` and name it in the file: `[simulated]`, `model = "latency_model.json"`; '
            "or unset them to measure for real"
        )
        return engine, client, [ConfigProblem(ENVIRONMENT, 0, " and ".join(FLAGS), message, what_to_do)]
    return Section(SIMULATED, options), Section(SIMULATED, options, performance=client.performance), []


def advising(
    settings: RunSettings, source: Source, table: Section | None, engine: Section, client: Section
) -> RunSettings:
    """The settings of a run that the simulator advises, with its rule unless the rules were chosen.

    Raises:
        ConfigurationErrors: it cannot advise this run.
    """
    given = source.document.get(SIMULATED, {})
    options = _options(table, given, engine, client)
    wrong = ""
    if engine.name == SIMULATED:
        wrong, allowed = "the engine is the simulated one already", "only with an engine that is measured"
    elif not options.get("model"):
        wrong, allowed = "needs a trained latency model", "`[simulated]` with `model`; `serviceoptctl train` makes one"
    elif settings.objective.per_device:
        wrong, allowed = "the simulator does not know what other numbers of devices change", "not with per_device"
    if wrong:
        raise ConfigurationErrors([source.problem(("search", "simulation"), wrong, allowed)])
    search = source.document.get("search", {})
    rules = settings.search.rules if "rules" in search else (*settings.search.rules, SIMULATED)
    return replace(settings, search=replace(settings.search, simulation=options, rules=rules))


def without_effect(settings: RunSettings) -> list[ConfigProblem]:
    """Why a run that asks for advice will get none, or only by the rule; said once, before the start."""
    search = settings.search
    if not search.simulation or search.strategy == "swarm":
        return []
    message = f'the strategy "{search.strategy}" takes no first configurations from the simulator'
    return [ConfigProblem(SIMULATED, 0, "search.simulation", message, 'strategy = "swarm" takes them')]


def _options(table: Section | None, given: Mapping[str, Any], engine: Section, client: Section) -> dict[str, Any]:
    """`[simulated]` with what the chosen engine and client decide where it is not `given`."""
    options = dict(table.options) if table is not None else {}
    if "scheduler" not in given and engine.name != SIMULATED:
        options["scheduler"] = "mindie" if engine.name.startswith("mindie") else "vllm"
    prompts = client.options.get("num_prompts") or (client.options.get("command") or {}).get("num_prompts")
    if "num_prompts" not in given and prompts:
        options["num_prompts"] = int(prompts)
    told = workload_of(engine, client)
    return with_told(options, {**told.options, "limits": told.limits}, given)


def with_told(options: Mapping[str, Any], told: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """`[simulated]` with what is known of the real pair where it is not `given`; limits that `options` have stay."""
    from serviceoptd.predicting.section import CAME_LATER  # a start without a simulation does not read the section

    kept = {"limits", *given, *(LENGTHS if {"lengths", "data_set"} & given.keys() else ())}
    kept |= {"data_set"} if OTHER_LENGTHS & given.keys() else set()
    kept |= {told for key, told in REPLACED.items() if {key, "range_ratio"} & given.keys()}
    kept |= {"ramp_up"} if "request_rate" in given else set()
    options = {**options, **{key: value for key, value in told.items() if key not in kept}}
    if limits := {**told.get("limits", {}), **options.get("limits", {})}:
        options["limits"] = limits
    return {key: value for key, value in options.items() if key not in CAME_LATER or value != CAME_LATER[key]}


def assumed(real: Pair) -> list[ConfigProblem]:
    """What is asked for because nobody can tell it: the lengths of the client's requests, an engine's file of options.

    Nothing where the table tells it.
    """
    found = []
    given, told = real.given, workload_of(real.engine, real.client)
    if told.unread and not given.get("limits"):
        message = f"the options in {told.unread} are not simulated"
        allowed = "give those that limit the scheduler in [simulated] limits, such as max_model_len and block_size"
        found.append(ConfigProblem(SIMULATED, 0, "simulated.limits", message, allowed))
    if real.engine.name == "vllm" and "async_scheduling" not in {*told.limits, *(given.get("limits") or {})}:
        message = "asynchronous scheduling is off, which vLLM has by default, except on CPUs"
        allowed = "async_scheduling in [simulated.limits]: true for a service on accelerators, false for one on CPUs"
        found.append(ConfigProblem(SIMULATED, 0, "simulated.limits", message, allowed))
    if told.differs:
        message = f"not simulated: {'; '.join(told.differs)}"
        found.append(ConfigProblem(SIMULATED, 0, SIMULATED, message, "read the results with that in mind"))
    unknown = told.unknown
    if "data_set" in told.options and OTHER_LENGTHS & given.keys():
        unknown = f"{', '.join(sorted(OTHER_LENGTHS & given.keys()))} alone"
    known = {"lengths", "data_set"} & given.keys() or {"input_tokens", "output_tokens"} <= given.keys()
    if unknown and not known:
        found.append(not_known_from(unknown))
    return found


def not_known_from(unknown: str) -> ConfigProblem:
    """The question for the lengths of requests."""
    message = (
        f"the lengths of requests are not known from {unknown}; those of [simulated] or its defaults are simulated"
    )
    return ConfigProblem(SIMULATED, 0, LENGTHS_KEY, message, ASKED)
