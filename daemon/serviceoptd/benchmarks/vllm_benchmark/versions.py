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

REQUEST_FORMAT, FORMER_REQUEST_FORMAT = "--backend", "--endpoint-type"
FORMAT_BY_BACKEND: Release = (0, 11, 0)
"""From here on `--backend` says how requests are sent. Before, it was not there (0.9.1) or merely checked (0.9.2)."""
ONLY_FORMAT, FORMATS_SINCE = "openai-comp", (0, 9, 1)
"""How older clients send them, and since when there are others, under other names."""
_MOVED = {FORMER_REQUEST_FORMAT: (REQUEST_FORMAT, (0, 11, 1)), REQUEST_FORMAT: (FORMER_REQUEST_FORMAT, None)}
"""Flags that one release has and another lacks: what to write in place of each, and since when."""

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


def format_flag(client: Release | None) -> str:
    """The flag that says how this client sends requests, such as openai-chat."""
    return REQUEST_FORMAT if client is None or client >= FORMAT_BY_BACKEND else FORMER_REQUEST_FORMAT


def shown(client: Release) -> str:
    """A release as people write it, such as `0.8.4`."""
    return ".".join(map(str, client))


def way_out(message: str) -> str:
    """What to do where the client does not know a flag for its age, as its last line tells; empty where that is not why."""
    _, found, unknown = message.partition("unrecognized arguments:")
    moved = next((each for each in _MOVED if found and each in unknown.replace("=", " ").split()), None)
    if moved is not None:
        other, since = _MOVED[moved]
        known = f"vLLM {shown(since)} and newer know" if since else "it is older than vLLM 0.9.2, and knows"
        return f"; {known} {other} in its place: write `backend` in [vllm_benchmark.command], which becomes either"
    flag = next((flag for flag in SINCE if found and flag in unknown.split()), None)
    if flag is None:
        return ""
    does = f"; or {WAYS_OUT[flag]}" if flag in WAYS_OUT else ""
    return (
        f"; it is older than vLLM {shown(SINCE[flag])}, which introduced {flag}, and its version cannot be determined: "
        f'give it, such as [vllm_benchmark] version = "0.8.4"{does}'
    )
