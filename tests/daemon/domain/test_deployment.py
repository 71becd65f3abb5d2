"""What belongs to a deployment beyond the parameters."""

from __future__ import annotations

import pytest

from serviceoptd.domain.deployment import inherited_environment


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
