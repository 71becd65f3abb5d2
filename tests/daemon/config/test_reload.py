from __future__ import annotations

from typing import Any

import msgspec
import pytest

from serviceoptd.config.reload import changes
from serviceoptd.domain.settings import RunSettings

BASE = "n_particles = 4\niters = 5\nttft_penalty = 1\nttft_slo = 1\n"


def difference(load: Any, before: str, after: str) -> tuple[dict[str, Any], list[str]]:
    return changes(load(before).settings, load(after).settings)


def test_an_unchanged_configuration_changes_nothing(load: Any) -> None:
    assert difference(load, BASE, "# a comment\n" + BASE) == ({}, [])


@pytest.mark.parametrize(
    ("line", "key"),
    [
        ('ttft_slo = "p99:2"', "objective"),
        ("ttft_penalty = 0", "objective"),
        ("success_rate_slo = 0.9", "objective"),
        ("budget = 30", "budget"),
        ("iters = 6", "budget"),
        ("n_particles = 5", "budget"),
        ("max_hours = 1.5", "budget"),
        ('log_level = "DEBUG"', "log_level"),
    ],
)
def test_limits_budget_and_log_level_may_change(load: Any, line: str, key: str) -> None:
    name = line.split(" ", maxsplit=1)[0]
    after = "".join(f"{old}\n" for old in BASE.splitlines() if not old.startswith(name + " ")) + line
    allowed, refused = difference(load, BASE, after)
    assert list(allowed) == [key]
    assert refused == []
    new = load(after).settings
    assert allowed[key] == msgspec.to_builtins(getattr(new, key))


def test_changes_fit_the_settings_that_they_change(load: Any) -> None:
    old = load(BASE).settings
    allowed, _ = changes(old, load(BASE + 'tpot_slo = 0.05\nmax_hours = 2\nlog_level = "ERROR"').settings)
    changed = msgspec.convert({**msgspec.to_builtins(old), **allowed}, RunSettings)
    assert [slo.metric for slo in changed.objective.slos] == ["ttft", "tpot"]
    assert changed.budget.max_hours == 2
    assert changed.log_level == "ERROR"


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ('engine = "vllm"', "engine"),
        ('objective = "throughput"', "objective.maximise"),
        ('formula = "soft"', "formula"),
        ("per_device = true", "objective.per_device"),
        ("launch_timeout = 10", "limits.launch"),
        ("sample_size = 1000", "sample_size"),
        ("[simulated]\ndevices = 2", "simulated.devices"),
        ("[measurement]\nrepeats = 2", "measuring.repeats"),
        (
            '[[simulated.target_field]]\nname = "CONCURRENCY"\ndtype = "int"\nmin = 1\nmax = 9',
            "target_field CONCURRENCY",
        ),
    ],
)
def test_everything_else_is_refused_by_name(load: Any, text: str, name: str) -> None:
    allowed, refused = difference(load, BASE, BASE + text)
    assert name in refused
    assert allowed in ({}, {"objective": allowed.get("objective")})


def test_a_refused_formula_keeps_the_old_one_and_takes_the_new_limits(load: Any) -> None:
    allowed, refused = difference(load, BASE, BASE.replace("ttft_slo = 1", "ttft_slo = 2") + 'formula = "soft"')
    assert refused == ["formula"]
    assert allowed["objective"]["soft"] is None
    assert allowed["objective"]["slos"][0]["limit"] == 2.0


def test_penalties_of_the_soft_formula_may_change(load: Any) -> None:
    soft = BASE + 'formula = "soft"\n'
    allowed, refused = difference(load, soft, soft.replace("ttft_penalty = 1", "ttft_penalty = 3"))
    assert refused == []
    assert allowed["objective"]["soft"]["ttft_penalty"] == 3.0
