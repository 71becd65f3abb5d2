"""Peak figures of common accelerators, by a part of the name that `nvidia-smi` prints.

From NVIDIA's data sheets of each product: memory bandwidth, and dense FP16 tensor operations (without sparsity). Where
variants of one name differ the greatest counts, since what is concluded from these figures are lower bounds of times.
Huawei publishes no bandwidth of its Ascend devices: `[device]` of the configuration gives the figures of others.
"""

from __future__ import annotations

from typing import NamedTuple


class Peak(NamedTuple):
    """What one device does at most."""

    bandwidth: float  # bytes/s
    flops: float  # dense FP16 operations/s


PEAKS = {
    "B200": Peak(8.0e12, 2.5e15),
    "H200": Peak(4.8e12, 989e12),
    "H100 PCIe": Peak(2.0e12, 756e12),
    "H100 NVL": Peak(3.94e12, 989e12),
    "H100": Peak(3.35e12, 989e12),
    "H800": Peak(3.35e12, 989e12),
    "H20": Peak(4.8e12, 148e12),
    "A100": Peak(2.04e12, 312e12),
    "A800": Peak(2.04e12, 312e12),
    "A40": Peak(696e9, 150e12),
    "A30": Peak(933e9, 165e12),
    "A10": Peak(600e9, 125e12),
    "L40S": Peak(864e9, 362e12),
    "L40": Peak(864e9, 181e12),
    "L4": Peak(300e9, 121e12),
    "V100": Peak(1134e9, 130e12),
    "T4": Peak(320e9, 65e12),
    "RTX 4090": Peak(1008e9, 330e12),
    "RTX 3090": Peak(936e9, 142e12),
}


def peak_of(name: str) -> Peak | None:
    """The peak figures of the device with this name; None: it is not in the table."""
    words = name.replace("-", " ").split()
    found = [known for known in PEAKS if _consecutive(known.split(), words)]
    return PEAKS[max(found, key=len)] if found else None


def _consecutive(wanted: list[str], words: list[str]) -> bool:
    """Whole words only: `A10` is neither an A100 nor an A10G, which has other figures."""
    return any(words[at : at + len(wanted)] == wanted for at in range(len(words)))
