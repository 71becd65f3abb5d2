from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serviceoptd.io.devices import (
    MEBIBYTE,
    Released,
    largest_nvidia,
    memory_in_use,
    nvidia_limits,
    parse_npu,
    parse_nvidia,
    wait_until_released,
)

NVIDIA = """\
0, GPU-1a2b3c4d-0000-0000-0000-000000000000, 5
1, GPU-5e6f7a8b-0000-0000-0000-000000000000, 40536
2, GPU-99999999-0000-0000-0000-000000000000, [N/A]
"""
# The layout of `npu-smi info`: two rows for each chip; a card may have one chip (A2) or two (A3).
NPU = """\
+------------------------------------------------------------------------------------------------+
| npu-smi 24.1.0                   Version: 24.1.0                                               |
+---------------------------+---------------+----------------------------------------------------+
| NPU   Name                | Health        | Power(W)    Temp(C)           Hugepages-Usage(page)|
| Chip  Phy-ID              | Bus-Id        | AICore(%)   Memory-Usage(MB)  HBM-Usage(MB)        |
+===========================+===============+====================================================+
| 4     910B3               | OK            | 91.5        45                15   / 15            |
| 0                         | 0000:C1:00.0  | 3           0    / 0          3162 / 65536         |
+===========================+===============+====================================================+
| 5     910B3               | OK            | -           36                0    / 0             |
| 0                         | 0000:9F:00.0  | 0           1024 / 15665      60000/ 65536         |
+===========================+===============+====================================================+
+---------------------------+---------------+----------------------------------------------------+
| NPU     Chip              | Process id    | Process name             | Process memory(MB)      |
+===========================+===============+====================================================+
| 4       0                 | 3105          | python                   | 59000                   |
+===========================+===============+====================================================+
"""
WITHOUT_HBM = """\
| NPU     Name              | Health          | Power(W)     Temp(C)           Hugepages-Usage(page) |
| Chip    Device            | Bus-Id          | AICore(%)    Memory-Usage(MB)                        |
| 2       310P3             | OK              | NA           41                0     / 0             |
| 0       0                 | 0000:01:00.0    | 0            1621 / 44280                            |
| 1       1                 | 0000:01:00.0    | 0            1535 / 43693                            |
"""


def mebibytes(found: dict[str, int]) -> dict[str, int]:
    return {device: used // MEBIBYTE for device, used in found.items()}


@pytest.mark.parametrize(
    ("visible", "expected"),
    [
        (None, {"nvidia:0": 5, "nvidia:1": 40536}),
        ("1", {"nvidia:1": 40536}),
        ("GPU-5e6f", {"nvidia:1": 40536}),
        ("1,0", {"nvidia:0": 5, "nvidia:1": 40536}),
        ("0,9,1", {"nvidia:0": 5}),  # as CUDA: nothing after an unknown one
        ("", {}),
        ("-1", {}),
        ("MIG-1234", {"nvidia:0": 5, "nvidia:1": 40536}),
    ],
)
def test_nvidia_devices_count_as_far_as_the_child_sees_them(visible: str | None, expected: dict[str, int]) -> None:
    assert mebibytes(parse_nvidia(NVIDIA, visible)) == expected


def test_ascend_devices_are_numbered_as_the_child_counts_them() -> None:
    assert mebibytes(parse_npu(NPU, None)) == {"npu:0": 3162, "npu:1": 60000}
    assert mebibytes(parse_npu(NPU, "1")) == {"npu:1": 60000}
    assert mebibytes(parse_npu(WITHOUT_HBM, None)) == {"npu:0": 1621, "npu:1": 1535}


@given(text=st.text("0123456789, /|:.[]NAGPU-\n", max_size=200), visible=st.none() | st.text("0123,-GPU", max_size=10))
def test_no_output_however_odd_stops_the_run(text: str, visible: str | None) -> None:
    for parse in (parse_nvidia, parse_npu):
        assert all(used >= 0 for used in parse(text, visible).values())


def a_tool(directory: Path, name: str, code: str) -> None:
    program = directory / name
    program.write_text(f"#!/usr/bin/python3 -IS\n{code}")
    program.chmod(0o755)


def test_both_tools_are_asked_on_the_childs_path(tmp_path: Path) -> None:
    a_tool(
        tmp_path,
        "nvidia-smi",
        f"import sys\nprint({NVIDIA!r} if '--query-gpu=index,uuid,memory.used' in sys.argv else '')",
    )
    a_tool(tmp_path, "npu-smi", f"import sys\nprint({NPU!r} if sys.argv[1:] == ['info'] else '')")
    environment = {"PATH": str(tmp_path), "CUDA_VISIBLE_DEVICES": "0", "ASCEND_RT_VISIBLE_DEVICES": "0"}
    assert mebibytes(asyncio.run(memory_in_use(environment))) == {"nvidia:0": 5, "npu:0": 3162}


def test_where_the_tools_are_absent_or_fail_nothing_is_waited_for(tmp_path: Path) -> None:
    assert asyncio.run(memory_in_use({"PATH": str(tmp_path)})) == {}
    a_tool(tmp_path, "nvidia-smi", f"print({NVIDIA!r})\nraise SystemExit(9)")
    assert asyncio.run(memory_in_use({"PATH": str(tmp_path)})) == {}
    assert asyncio.run(wait_until_released({}, {"PATH": str(tmp_path)}, limit=60)) == Released(True, 0.0)


def test_the_wait_ends_when_the_memory_is_back_at_its_level(tmp_path: Path) -> None:
    counting = """
import pathlib
calls = pathlib.Path(__file__).with_name("calls")
calls.write_text(calls.read_text() + "x" if calls.exists() else "x")
print("0, GPU-1,", 40000 if len(calls.read_text()) < 3 else 700)
"""
    a_tool(tmp_path, "nvidia-smi", counting)
    released = asyncio.run(wait_until_released({"nvidia:0": 500 * MEBIBYTE}, {"PATH": str(tmp_path)}, limit=60))
    assert released.free
    assert (tmp_path / "calls").read_text() == "xxx"


def test_the_wait_for_memory_has_a_limit(tmp_path: Path) -> None:
    a_tool(tmp_path, "nvidia-smi", "print('0, GPU-1, 40000')")
    environment = {"PATH": str(tmp_path)}
    assert not asyncio.run(wait_until_released({"nvidia:0": 0}, environment, limit=0.05)).free
    assert asyncio.run(wait_until_released({"nvidia:0": 0}, environment, limit=9, tolerance=40000 * MEBIBYTE)).free
    assert not asyncio.run(wait_until_released({"npu:0": 0}, environment, limit=0.05)).free  # not reported any more


TWO = "0, GPU-aaaaa, 40960, NVIDIA A100-SXM4-40GB\n1, GPU-bbbbb, 81920, NVIDIA A100-SXM4-80GB\n"


@pytest.mark.parametrize(
    ("text", "visible", "found"),
    [
        (TWO, None, ("NVIDIA A100-SXM4-80GB", 81920)),
        (TWO, "0", ("NVIDIA A100-SXM4-40GB", 40960)),
        (TWO, "GPU-bbbbb", ("NVIDIA A100-SXM4-80GB", 81920)),
        (TWO, "7", None),
        ("0, GPU-aaaaa, [N/A], Orin", None, None),
        ("No devices were found", None, None),
        ("", None, None),
    ],
)
def test_the_largest_device_that_may_be_used_is_told(
    text: str, visible: str | None, found: tuple[str, int] | None
) -> None:
    expected = (found[0], found[1] * MEBIBYTE) if found else None
    assert largest_nvidia(text, visible) == expected


def test_without_the_tool_no_device_is_told(tmp_path: Path) -> None:
    assert asyncio.run(nvidia_limits({"PATH": str(tmp_path)})) is None
