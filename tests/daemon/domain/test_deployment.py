"""What belongs to a deployment beyond the parameters."""

from __future__ import annotations

import pytest

from serviceoptd.domain.deployment import beyond_its_training, inherited_environment
from serviceoptd.domain.state import Particle


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ("", {}),
        ("CUDA_VISIBLE_DEVICES=0,1", {"CUDA_VISIBLE_DEVICES": "0,1"}),
        ("LD_PRELOAD=/a.so /b.so OMP_NUM_THREADS=8", {"LD_PRELOAD": "/a.so /b.so", "OMP_NUM_THREADS": "8"}),
        ("NCCL_DEBUG= VLLM_X=a=b", {"NCCL_DEBUG": "", "VLLM_X": "a=b"}),
    ],
)
def test_variables_that_results_depend_on_are_read_from_the_identity(told: str, expected: dict[str, str]) -> None:
    assert inherited_environment({"engine.environment": told}) == expected
    assert inherited_environment({"engine.environment": "A=1", "engine.variables": told}) == {"A": "1", **expected}


@pytest.mark.parametrize(
    ("share", "simulated", "beyond"),
    [
        ("100%", True, True),
        ("10%", True, True),
        ("9%", True, False),
        ("less than 1 %", True, False),
        ("100%", False, False),
    ],
)
def test_no_probability_is_shown_far_outside_of_the_training_data(share: str, simulated: bool, beyond: bool) -> None:
    remark = f"outside the latency model's training data for {share} of the engine's time: no decode batch was seen"
    particle = Particle(
        number=1, slot=0, iteration=0, position=(), velocity=(), configuration={}, strategy="swarm", origin="swarm",
        simulated=simulated, remark=remark,
    )  # fmt: skip
    assert beyond_its_training(particle) is beyond
