"""`[ais_bench]`: the predecessor's keys, and those of ours."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator
from pydantic import Field as Bounded

from serviceoptd.toolkit import arguments, endpoint
from serviceoptd.toolkit.interface import Options, ProcessOptions

MODES = ("all", "infer", "eval", "viz", "judge", "infer_judge")
_MODEL = re.compile(r"[\w.+-]+")
_DATASET = re.compile(r"[\w.+-]+(/\w+)?")


def _performance(mode: str) -> str:
    if mode == "perf":
        return mode
    if mode == "perf_viz":
        raise ValueError('"perf_viz" draws the results of an earlier measurement and sends no request: only "perf"')
    if mode in MODES:
        raise ValueError(f'"{mode}" measures the accuracy of answers, not throughput and latency: only "perf"')
    raise ValueError(f'"{mode}" is not a mode of AISBench that measures performance: only "perf"')


def _one_model(name: str) -> str:
    if len(name.replace(",", " ").split()) > 1:
        raise ValueError("names several model configurations; give exactly one, for the one service that is measured")
    if not _MODEL.fullmatch(name):
        raise ValueError("is not the name of a model configuration, such as vllm_api_stream_chat")
    return name.removesuffix(".py")


def _one_data_set(name: str) -> str:
    if len(name.replace(",", " ").split()) > 1:
        raise ValueError("names several data sets: give exactly one")
    if not _DATASET.fullmatch(name):
        raise ValueError("is not the name of a data set configuration, such as gsm8k_gen_0_shot_cot_str_perf")
    return name.removesuffix(".py")


class AisBenchCommand(Options):
    """The table `[ais_bench.command]` of a configuration."""

    models: Annotated[str, AfterValidator(_one_model)] = "models"
    datasets: Annotated[str, AfterValidator(_one_data_set)] = "datasets"
    mode: Annotated[str, AfterValidator(_performance)] = "perf"
    num_prompts: Annotated[int, Bounded(ge=1)] = 3000
    work_dir: str | None = None  # accepted: each measurement has a work directory of its own
    config_dir: str | None = None  # the directory with `models` and `datasets`; None: ./configs, as AISBench itself
    # Where given, they take the place of what the model's configuration says.
    host: str | None = None
    port: endpoint.Port | None = None
    model: str | None = None  # directory of the tokenizer
    served_model_name: str | None = None
    cache_salt: bool = True  # keeps one measurement's cached prefixes from helping the next
    others: arguments.Words = ""


class AisBenchSection(ProcessOptions):
    """The table `[ais_bench]` of a configuration."""

    command: AisBenchCommand = AisBenchCommand()
