"""Whose command line it is: the spellings of the flags of a program that is known here. Pure."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

from serviceoptd.engines import sglang_flags, vllm_flags

PROGRAMS = {
    ("vllm", "serve"): vllm_flags.SPELLINGS,
    ("-m", "vllm.entrypoints.openai.api_server"): vllm_flags.SPELLINGS,
    ("sglang", "serve"): sglang_flags.SPELLINGS,
    ("-m", "sglang.launch_server"): sglang_flags.SPELLINGS,
}


def known_program(argv: Sequence[str]) -> tuple[Sequence[str], Mapping[str, str] | None]:
    """What follows `vllm serve` or SGLang's server, wherever in the line it stands, with the spellings of its flags.

    What stands before belongs to another program, such as docker. No known one: the whole line, and None.
    """
    names = [word.rpartition("/")[2] for word in argv]
    for at, pair in enumerate(itertools.pairwise(names)):
        if pair in PROGRAMS:
            return argv[at + 2 :], PROGRAMS[pair]
    return argv, None
