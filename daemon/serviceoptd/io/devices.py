"""Memory of the accelerators, as `nvidia-smi` and `npu-smi` tell: how much there is, and is in use. It is freed late."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from serviceopt_journal.foreign_text import whole_number
from serviceoptd.toolkit.find_program import output_of

MEBIBYTE = 1024 * 1024
TOLERANCE = 256 * MEBIBYTE
"""Bytes by which memory in use may differ from its level before a launch and still count as free again."""

_TOOL_LIMIT = 10.0  # seconds; nvidia-smi takes some while nobody keeps the driver loaded
_PAUSE = 0.05
_NVIDIA_LIMITS = ("nvidia-smi", "--query-gpu=index,uuid,memory.total,name", "--format=csv,noheader,nounits")
_NVIDIA_QUERY = ("nvidia-smi", "--query-gpu=index,uuid,memory.used", "--format=csv,noheader,nounits")


class Released(NamedTuple):
    """Whether the devices' memory came back to its level, and after how many seconds."""

    free: bool
    waited: float


async def memory_in_use(environment: Mapping[str, str]) -> dict[str, int]:
    """Bytes in use by device (`nvidia:0`, `npu:3`), of those that a child with this environment may use.

    Empty where the tools are absent, fail, or take too long. CUDA_VISIBLE_DEVICES may name indices or (beginnings of)
    UUIDs; when it names parts of a device (MIG), every device counts. Indices are nvidia-smi's.
    """
    working_directory = Path("/")
    nvidia, npu = await asyncio.gather(
        output_of(_NVIDIA_QUERY, environment=environment, working_directory=working_directory, limit=_TOOL_LIMIT),
        output_of(("npu-smi", "info"), environment=environment, working_directory=working_directory, limit=_TOOL_LIMIT),
    )
    found = parse_nvidia(nvidia or "", environment.get("CUDA_VISIBLE_DEVICES"))
    return found | parse_npu(npu or "", environment.get("ASCEND_RT_VISIBLE_DEVICES"))


async def nvidia_limits(environment: Mapping[str, str]) -> tuple[str, int] | None:
    """Name and bytes of memory of the largest device that a child with this environment may use; None: there is none.

    Fails, as `memory_in_use` does, by knowing nothing.
    """
    printed = await output_of(_NVIDIA_LIMITS, environment=environment, working_directory=Path("/"), limit=_TOOL_LIMIT)
    return largest_nvidia(printed or "", environment.get("CUDA_VISIBLE_DEVICES"))


def largest_nvidia(text: str, visible: str | None) -> tuple[str, int] | None:
    """The largest memory in lines `index, uuid, MiB, name`, as the query of `nvidia_limits` prints them."""
    rows = [[cell.strip() for cell in line.split(",", 3)] for line in text.splitlines()]
    names = {f"nvidia:{row[0]}": row[3] for row in rows if len(row) == 4}
    sizes = parse_nvidia("\n".join(", ".join(row[:3]) for row in rows), visible)
    largest = max(sizes, key=lambda device: sizes[device], default=None)
    return (names[largest], sizes[largest]) if largest in names else None


async def wait_until_released(
    before: Mapping[str, int], environment: Mapping[str, str], *, limit: float, tolerance: int = TOLERANCE
) -> Released:
    """Waits until no device of `before` uses more than `tolerance` bytes above its level, `limit` seconds at most.

    A device that is no longer reported counts as not free: we do not know. At once, where `before` is empty.
    """
    begun = time.monotonic()
    while before:
        now = await memory_in_use(environment)
        waited = time.monotonic() - begun
        if all(device in now and now[device] <= level + tolerance for device, level in before.items()):
            return Released(True, waited)
        if waited >= limit:
            return Released(False, waited)
        await asyncio.sleep(min(_PAUSE, limit - waited))
    return Released(True, 0.0)


def parse_nvidia(text: str, visible: str | None) -> dict[str, int]:
    """The memory in use by lines `index, uuid, MiB`, as the query in this module prints them.

    A device without a number is left out.
    """
    devices: list[tuple[str, str, int]] = []
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.split(",")]
        numbers = [whole_number(cell) for cell in (cells[0], cells[-1])]
        if len(cells) == 3 and numbers[0] is not None and numbers[1] is not None:
            devices.append((cells[0], cells[1], numbers[1] * MEBIBYTE))
    names = _named(visible)
    if names is None or any(name.startswith("MIG-") for name in names):
        return {f"nvidia:{index}": used for index, _, used in devices}
    chosen: dict[str, int] = {}
    for name in names:
        matching = [found for found in devices if name == found[0] or (len(name) > 4 and found[1].startswith(name))]
        if not matching:
            break  # as CUDA does: what comes after an unknown device is not visible either
        chosen[f"nvidia:{matching[0][0]}"] = matching[0][2]
    return chosen


_BUS_ID = re.compile(r"[0-9A-Fa-f]{4}:[0-9A-Fa-f]{2}:[0-9A-Fa-f]{2}\.[0-9A-Fa-f]|NA")
_USAGE = re.compile(r"(\d+)\s*/\s*(\d+)")


def parse_npu(text: str, visible: str | None) -> dict[str, int]:
    """The memory in use by the table of `npu-smi info`, written after its documented layout, not tried on a device by us.

    Each chip has two rows; in the second one (the one with a Bus-Id) the last cell ends with `used / total` pairs in
    MB: Memory-Usage and, on devices that have it, HBM-Usage. The last pair with a total counts. Devices are numbered in
    the order of the table, which is how ASCEND_RT_VISIBLE_DEVICES counts, also where a card has two chips.
    """
    devices: dict[str, int] = {}
    number = 0
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if len(cells) != 3 or not _BUS_ID.fullmatch(cells[1]):
            continue
        used = [int(pair[0]) for pair in _USAGE.findall(cells[2]) if int(pair[1]) > 0]
        if used:
            devices[str(number)] = used[-1] * MEBIBYTE
        number += 1
    names = _named(visible)
    return {f"npu:{name}": used for name, used in devices.items() if names is None or name in names}


def _named(visible: str | None) -> list[str] | None:
    """The entries of a variable that chooses devices; None: every device."""
    if visible is None:
        return None
    return [name for entry in visible.split(",") if (name := entry.strip()) and name != "-1"]
