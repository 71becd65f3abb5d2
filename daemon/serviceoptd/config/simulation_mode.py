"""Simulation mode: the fields and the load of the chosen engine and client, answered by `[simulated]` and its model.

The predecessor's two variables ask for it. Everything else of the configuration is read and checked as for real
measurements; only who answers is another.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .problems import ConfigProblem
from .sections import Section
from .source import ENVIRONMENT

FLAGS = ("MODEL_EVAL_STATE_ALL", "MODEL_EVAL_STATE_IS_SLEEP_FLAG")
SIMULATED = "simulated"


def asked_for(environment: Mapping[str, str]) -> bool:
    """Whether both variables are set; one alone does nothing, as before."""
    return all(environment.get(flag, "").strip().lower() in ("true", "1") for flag in FLAGS)


def told(model: str) -> ConfigProblem:
    """What is said where it is in effect."""
    message = f"simulation mode: nothing is started or measured, {model} answers on a virtual clock"
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
    options = dict(table.options) if table is not None else {}
    if not options.get("model"):
        message = "ask for simulation mode, which needs a trained latency model"
        what_to_do = (
            'make one with `serviceoptctl train` and name it in the file: `[simulated]`, `model = "latency_model.json"`; '
            "or unset them to measure for real"
        )
        return engine, client, [ConfigProblem(ENVIRONMENT, 0, " and ".join(FLAGS), message, what_to_do)]
    if "scheduler" not in given and engine.name != SIMULATED:
        options["scheduler"] = "mindie" if engine.name.startswith("mindie") else "vllm"
    prompts = client.options.get("num_prompts") or (client.options.get("command") or {}).get("num_prompts")
    if "num_prompts" not in given and prompts:
        options["num_prompts"] = int(prompts)
    return Section(SIMULATED, options), Section(SIMULATED, options, performance=client.performance), []
