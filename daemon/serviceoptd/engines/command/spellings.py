"""Whose command line it is: the spellings of the flags of a program that is known here. Pure."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

from serviceoptd.engines import sglang_flags, vllm_flags

_VLLM = "vllm.entrypoints.openai.api_server"
_SGLANG = "sglang.launch_server"


def spellings_of(argv: Sequence[str]) -> Mapping[str, str] | None:
    """Those of `vllm serve` or of SGLang's server, wherever in the line it stands; None: another program's."""
    names = [word.rpartition("/")[2] for word in argv]
    pairs = list(itertools.pairwise(names))
    if ("vllm", "serve") in pairs or _VLLM in names:
        return vllm_flags.SPELLINGS
    return sglang_flags.SPELLINGS if ("sglang", "serve") in pairs or _SGLANG in names else None
