"""A small latency model, trained on batches of an imagined engine."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

from serviceoptd.predicting.model_file import save
from serviceoptd.simulation.step_times.latency_model import TrainedModel
from serviceoptd.simulation.step_times.training import train
from synthetic_batches import synthetic_profile

LIMITS = {"kv_blocks": 4000, "max_model_len": 2048, "block_size": 16}


@cache
def a_trained_model() -> TrainedModel:
    return train(synthetic_profile(300, configurations=((16, 512), (32, 2048), (64, 1024))), seed=0)


def a_model_file(directory: Path) -> Path:
    """`latency_model.json` in the directory."""
    return save(a_trained_model(), directory)


def simulated_toml(**keys: object) -> str:
    """`[simulated]` with the model of the working directory, and a search space that the model knows."""
    table = {"model": "latency_model.json", "num_prompts": 40, "input_tokens": 200, "output_tokens": 40} | keys
    lines = [f"{name} = {json.dumps(value)}" for name, value in table.items()]
    limits = [f"{name} = {json.dumps(value)}" for name, value in LIMITS.items()]
    space = [("MAX_NUM_BATCHED_TOKENS", 256, 1024), ("MAX_NUM_SEQS", 4, 64), ("CONCURRENCY", 2, 64)]
    fields = [
        f'[[simulated.target_field]]\nname = "{name}"\nconfig_position = "env"\nmin = {low}\nmax = {high}\ndtype = "int"'
        for name, low, high in space
    ]
    return "\n".join(["[simulated]", *lines, "[simulated.limits]", *limits, *fields]) + "\n"
