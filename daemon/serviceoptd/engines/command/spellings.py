"""Whose command line it is: how the flags of a program that is known here are spelled, and what they do. Pure."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

from serviceopt_journal.errors import InvalidConfiguration
from serviceopt_journal.foreign_text import whole_number
from serviceoptd.engines import sglang_flags, vllm_flags
from serviceoptd.toolkit.arguments import runs_a_shell, value_of
from serviceoptd.toolkit.interface import HttpProbe, Refusals
from serviceoptd.toolkit.position_checks import refuse_unanswerable

PROGRAMS = {
    ("vllm", "serve"): vllm_flags.SPELLINGS,
    ("-m", "vllm.entrypoints.openai.api_server"): vllm_flags.SPELLINGS,
    ("sglang", "serve"): sglang_flags.SPELLINGS,
    ("-m", "sglang.launch_server"): sglang_flags.SPELLINGS,
}
_ELSEWHERE = frozenset(
    {"docker", "podman", "nerdctl", "kubectl", "ssh", "srun", "singularity", "apptainer", "ip", "nsenter"}
)
"""Programs behind which ports and addresses may be others than those of this machine."""


def known_program(argv: Sequence[str]) -> tuple[Sequence[str], Mapping[str, str] | None]:
    """What follows `vllm serve` or SGLang's server, wherever in the line it stands, with the spellings of its flags.

    What stands before belongs to another program, such as docker. No known one: the whole line, and None.
    """
    names = [word.rpartition("/")[2] for word in argv]
    for at, pair in enumerate(itertools.pairwise(names)):
        if pair in PROGRAMS:
            return argv[at + 2 :], PROGRAMS[pair]
    return argv, None


def refuse_unanswered(argv: Sequence[str], port: int | None, ready: HttpProbe) -> None:
    """Options of a known program with which this readiness check on its own port is never answered.

    Raises:
        InvalidConfiguration: one of them is given, or it listens on another port.
    """
    words, spellings = known_program(argv)
    here = not any(word.rpartition("/")[2] in _ELSEWHERE for word in argv) and not runs_a_shell(argv)
    if spellings is None or not here or ready.port != port:
        return
    never = vllm_flags.NEVER_ANSWERS if spellings is vllm_flags.SPELLINGS else sglang_flags.NEVER_ANSWERS
    refusals = Refusals()
    with refusals.collected():
        refuse_unanswerable(
            words, never, "command.service", spellings, way_out="or give ready_log instead of ready_url"
        )
    listens = whole_number(value_of("--port", words, spellings) or "")
    if listens is not None and listens != port:
        refusals.add(
            InvalidConfiguration(
                f"--port {listens} in [command.service] argv is not its port {port}, so {ready.path} is never answered",
                hint="write --port $PORT",
            )
        )
    refusals.tell()
