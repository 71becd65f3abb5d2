from __future__ import annotations

import pytest

from serviceoptd.rules.accelerators import PEAKS, peak_of


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("NVIDIA H100 80GB HBM3", "H100"),
        ("NVIDIA H100 PCIe", "H100 PCIe"),
        ("NVIDIA H20-3e", "H20"),
        ("NVIDIA A100-SXM4-40GB", "A100"),
        ("NVIDIA A10", "A10"),
        ("Tesla V100-SXM2-32GB", "V100"),
        ("NVIDIA GeForce RTX 4090", "RTX 4090"),
        ("NVIDIA L40S", "L40S"),
    ],
)
def test_a_device_is_known_by_whole_words_of_its_name(name: str, known: str) -> None:
    assert peak_of(name) is PEAKS[known]


@pytest.mark.parametrize("name", ["", "NVIDIA A10G", "NVIDIA GH200 480GB", "910B3", "H", "NVIDIA GeForce RTX 2080"])
def test_another_device_is_not_taken_for_a_known_one(name: str) -> None:
    assert peak_of(name) is None


def test_every_peak_is_one_of_a_memory_and_of_a_processor_that_exist() -> None:
    """Bytes/s and operations/s, and none of them in giga or tera by mistake."""
    assert all(1e11 < peak.bandwidth < 1e13 and 1e13 < peak.flops < 1e16 for peak in PEAKS.values())
