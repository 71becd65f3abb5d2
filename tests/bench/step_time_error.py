"""Our step times against the predecessor's features, on the same recordings and the same held-out parts.

Run: python tests/bench/step_time_error.py DIRECTORY

DIRECTORY holds recordings, one directory a configuration, that have a column `requests`: for each sequence of the batch
`PROMPT:OUTPUT:BLOCKS`, its prompt's length, its output so far and its KV blocks. The predecessor's model is 7 scalars and
three histograms of 51 bins into XGBoost with its defaults, 10 rounds. Prints the MAPE with and without prefill apart.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import numpy as np
import xgboost

from serviceoptd.profiling.data.reading import read_profile
from serviceoptd.simulation.step_times.columns import Column
from serviceoptd.simulation.step_times.profile_data import Profile
from serviceoptd.simulation.step_times.training import CANDIDATES, held_out_predictions, validation_parts
from serviceoptd.simulation.step_times.windows import joined

ROUNDS, BINS = 10, 51
ALIKE = 10
INTERVALS = (80, 10, 1)  # of the histograms of prompt length, output length and blocks
REQUESTS = "requests"


def requests_of(directory: Path, profile: Profile) -> list[Column]:
    """For each batch its requests: one row each, prompt length, output so far and blocks."""
    found: list[Column] = []
    for run in profile.runs:
        with (directory / run.name).open(newline="") as lines:
            for row in csv.DictReader(lines):
                if not row.get(REQUESTS):
                    raise SystemExit(f"{run.name}: lacks the column {REQUESTS}")
                found.append(np.array([request.split(":") for request in row[REQUESTS].split()], dtype=float))
    return found


def predecessor_features(requests: Column, prefill: bool) -> Column:
    """Stage, size, blocks, prompt tokens, longest prompt, output and all tokens; then the histograms."""
    prompts, outputs, blocks = requests.T
    scalars = [prefill, len(requests), blocks.sum(), prompts.sum(), prompts.max(), outputs.sum(), requests[:, :2].sum()]
    histograms = [
        np.histogram(values, [*(np.arange(BINS) * interval), np.inf])[0]
        for values, interval in zip((prompts, outputs, blocks), INTERVALS, strict=True)
    ]
    return np.concatenate([scalars, *histograms])


def predecessor_predictions(columns: Column, seconds: Column, parts: Column) -> Column:
    """In microseconds, as there."""
    predicted = np.zeros(len(seconds))
    for part in np.unique(parts):
        inside = parts != part
        data = xgboost.DMatrix(columns[inside], label=seconds[inside] * 1e6)
        booster = xgboost.train({"objective": "reg:squarederror", "nthread": 1}, data, num_boost_round=ROUNDS)
        predicted[~inside] = booster.predict(xgboost.DMatrix(columns[~inside])) / 1e6
    return predicted


def noise(composition: Column, seconds: Column) -> float:
    """How far decode batches that are composed alike (contexts to 5 %) are from their median: no model can be better."""
    rough = composition[composition[:, 0] == 0][:, 3:]
    rough[:, 1] = np.round(np.log(rough[:, 1]) * 20)
    times = seconds[composition[:, 0] == 0]
    _, kind, alike = np.unique(rough, axis=0, return_inverse=True, return_counts=True)
    medians = np.array([np.median(times[kind == number]) for number in range(len(alike))])
    return float(np.abs(times / medians[kind] - 1)[alike[kind] >= ALIKE].mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path)
    directory = parser.parse_args().directory
    profile = read_profile(directory, framework="vllm")
    composition, seconds = profile.composition, profile.seconds
    split, parts = validation_parts(profile)
    prefill = composition[:, 0] > 0
    columns = np.array(
        [
            predecessor_features(each, is_prefill)
            for each, is_prefill in zip(requests_of(directory, profile), prefill, strict=True)
        ]
    )
    predicted = {"predecessor's features, 10 rounds": predecessor_predictions(columns, seconds, parts)}
    no_windows = np.zeros(0, dtype=np.int64)
    of_batches, _ = held_out_predictions(
        CANDIDATES, composition, seconds, parts, joined([]), no_windows, 0, lambda _what, _share: None
    )
    predicted |= of_batches
    print(f"{len(seconds)} batches of {len(profile.runs)} runs; held out by {split}, {len(np.unique(parts))} parts")
    print(f"{'MAPE':<36}{'prefill':>9}{'decode':>9}   total time{'prefill':>9}{'decode':>9}")
    for name, times in predicted.items():
        errors = np.abs(times / seconds - 1)
        mape = [f"{errors[rows].mean():>9.2%}" for rows in (prefill, ~prefill)]
        bias = [f"{times[rows].sum() / seconds[rows].sum() - 1:>+9.2%}" for rows in (prefill, ~prefill)]
        print(f"{name:<36}{''.join(mape)}             {''.join(bias)}")
    print(f"spread of decode batches that are composed alike: {noise(composition, seconds):.2%}")


if __name__ == "__main__":
    main()
