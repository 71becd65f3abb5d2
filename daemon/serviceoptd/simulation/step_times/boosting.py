"""Gradient-boosted trees for the correction, and their exact conversion into tables. The only module that needs XGBoost."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from serviceopt_journal.errors import EnvironmentLacks
from serviceoptd.simulation.step_times.columns import Column
from serviceoptd.simulation.step_times.latency_model import FEATURES, PAIRS, Table, features

if TYPE_CHECKING:
    import xgboost

ROUNDS = 150
THREADS = 1  # more were no faster, 40 times slower on a busy machine, and add their sums in another order
PARAMETERS = {
    "objective": "reg:gamma",  # the mean of times whose spread is proportional to them; the trees add up logarithms
    "tree_method": "hist",
    "eta": 0.1,
    "max_depth": 4,
    "max_bin": 64,
    "min_child_weight": 10,
    "lambda": 2.0,
    "subsample": 0.8,
    "base_score": 1.0,
    "interaction_constraints": json.dumps([[2 * number, 2 * number + 1] for number in range(len(PAIRS))]),
}


def require_xgboost() -> Any:
    """Imports XGBoost and gives its module.

    Raises:
        EnvironmentLacks: it is not installed; says what to install.
    """
    try:
        import xgboost
    except ImportError as error:
        raise EnvironmentLacks(
            "training needs XGBoost, which is not installed",
            hint="it comes with serviceopt; in this environment: pip install xgboost-cpu",
        ) from error
    return xgboost


def boost(composition: Column, seconds: Column, physical: Column, *, monotone: bool, seed: int) -> xgboost.Booster:
    """Trees for the logarithm of seconds / physical. With `monotone` more of anything never takes less time."""
    xgb = require_xgboost()
    constraints = "(" + ",".join("1" if monotone else "0" for _ in FEATURES) + ")"
    data = xgb.QuantileDMatrix(
        features(composition), label=seconds / physical, max_bin=PARAMETERS["max_bin"], nthread=THREADS
    )
    parameters = PARAMETERS | {"monotone_constraints": constraints, "seed": seed, "nthread": THREADS}
    booster: xgboost.Booster = xgb.train(parameters, data, num_boost_round=ROUNDS)
    return booster


def boosted_factor(booster: xgboost.Booster, composition: Column) -> Column:
    """What the trees themselves predict, to compare the tables with."""
    xgb = require_xgboost()
    return np.asarray(booster.predict(xgb.DMatrix(features(composition), nthread=THREADS)), dtype=float)


def tabulate(booster: xgboost.Booster) -> tuple[Table, ...]:
    """One table for each of PAIRS; together they are the trees.

    Raises:
        ValueError: a tree looks at features of two pairs.
    """
    trees = [json.loads(dump) for dump in booster.get_dump(dump_format="json")]
    tables = []
    for number in range(len(PAIRS)):
        own = (f"f{2 * number}", f"f{2 * number + 1}")
        mine = [tree for tree in trees if tree.get("split") in own]
        grid = [sorted({at for tree in mine for at in _thresholds(tree, name)}) for name in own]
        total = np.zeros((len(grid[0]) + 1, len(grid[1]) + 1))
        for tree in mine:
            _add(tree, own, grid, (slice(0, len(grid[0]) + 1), slice(0, len(grid[1]) + 1)), total)
        tables.append(Table(grid[0], grid[1], total.tolist()))
    constant = sum(tree["leaf"] for tree in trees if "leaf" in tree)  # a tree that did not split
    first = tables[0]
    tables[0] = Table(first.first, first.second, (np.array(first.values) + constant).tolist())
    return tuple(tables)


def _thresholds(node: dict[str, Any], name: str) -> set[float]:
    if "leaf" in node:
        return set()
    own = {float(node["split_condition"])} if node["split"] == name else set()
    return own.union(*(_thresholds(child, name) for child in node["children"]))


def _add(
    node: dict[str, Any], own: tuple[str, str], grid: list[list[float]], cells: tuple[slice, slice], total: Column
) -> None:
    """Adds a tree's leaves to the cells that lead to them. Cell i of an axis lies before its threshold i."""
    if "leaf" in node:
        total[cells] += node["leaf"]
        return
    if node["split"] not in own:
        raise ValueError(f"a tree looks at {node['split']} beside {own}")
    axis = own.index(node["split"])
    at = grid[axis].index(float(node["split_condition"])) + 1
    children = {child["nodeid"]: child for child in node["children"]}
    below = slice(cells[axis].start, min(at, cells[axis].stop))
    above = slice(max(at, cells[axis].start), cells[axis].stop)
    for child, part in ((children[node["yes"]], below), (children[node["no"]], above)):
        halves = (part, cells[1]) if axis == 0 else (cells[0], part)
        _add(child, own, grid, halves, total)
