"""What each release of `vllm bench serve` knows; docs/engines.md has the same, with the file that shows each. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping

Release = tuple[int, int, int]

SINCE: Mapping[str, Release] = {
    "--dataset-path": (0, 9, 1),
    "--save-detailed": (0, 9, 1),  # before, every result is a detailed one
    "--num-warmups": (0, 11, 1),
}
"""Flags of ours that are younger than the client, in 0.8.4 already."""

ONLY_DATA_SET = "random"
"""Of a client that has no --dataset-path."""

WAYS_OUT: Mapping[str, str] = {
    "--num-warmups": "[measurement] warm_up_requests = 0 leaves it out",
}
OLDEST = (0, 8, 0)
_VERSION = re.compile(r"v?(\d+)\.(\d+)(?:\.(\d+))?")
_PACKAGE = re.compile(rf"(?P<name>vllm\w*) (?P<version>{_VERSION.pattern})")
_BESIDE = ("vllm_ascend", "vllm_spyre", "vllm_flash_attn", "vllm_hpu_extension", "vllm_xpu_kernels", "vllm_gaudi")
"""Packages beside vLLM whose numbers are their own."""


def release(text: str) -> Release | None:
    """The numbers of a version: `0.11.0rc1+ascend` is (0, 11, 0).

    None: it is not a version of vLLM, such as that of a build from a copy without tags.
    """
    found = _VERSION.match(text.strip())
    if found is None:
        return None
    told = (int(found[1]), int(found[2]), int(found[3] or 0))
    return told if told >= OLDEST else None


def release_in(packages: str) -> Release | None:
    """The release of vLLM among the packages that `program_version` found: `torch 2.6.0, vllm 0.8.4`."""
    found = {match["name"]: match["version"] for match in _PACKAGE.finditer(packages) if match["name"] not in _BESIDE}
    return release(found.get("vllm") or next(iter(found.values()), ""))


def knows(flag: str, client: Release | None) -> bool:
    """Whether a client of this release takes the flag; where the release is not known, it is taken for a new one."""
    return client is None or client >= SINCE.get(flag, OLDEST)


def shown(client: Release) -> str:
    """A release as people write it, such as `0.8.4`."""
    return ".".join(map(str, client))


def way_out(message: str) -> str:
    """What to do where the client does not know a flag of ours, as its last line tells; empty where that is not why."""
    _, found, unknown = message.partition("unrecognized arguments:")
    flag = next((flag for flag in SINCE if found and flag in unknown.split()), None)
    if flag is None:
        return ""
    does = f"; or {WAYS_OUT[flag]}" if flag in WAYS_OUT else ""
    return (
        f"; it is older than vLLM {shown(SINCE[flag])}, which introduced {flag}, and its version cannot be determined: "
        f'give it, such as [vllm_benchmark] version = "0.8.4"{does}'
    )
