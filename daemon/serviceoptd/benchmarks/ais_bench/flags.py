"""Flags of `ais_bench`: those that are ours, and those that would make its result mean something else. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from serviceopt_journal.errors import InvalidConfiguration
from serviceoptd.benchmarks.interface import MeasurementOrder
from serviceoptd.toolkit import arguments
from serviceoptd.toolkit.interface import Refusals

FIXED = ("--models", "--datasets", "--mode", "--num-prompts", "--work-dir", "--config-dir")
ALIASES = {"-m": "--mode", "-w": "--work-dir", "-r": "--reuse", "-s": "--search"}
REFUSED = {
    "--debug": "in debug mode all requests come from one process, which limits the throughput",
    "--reuse": "it would use the results of another measurement",
    "--search": "it only looks for files",
    "--dry-run": "it sends no request",
    "--pressure": "it sends as many requests as fit into a time, and not num_prompts",
    "--pressure-time": "it sends as many requests as fit into a time, and not num_prompts",
    "--summarizer": "only the results of the default summarizer can be read",
}
ITS_OWN_WARM_UPS = 1
SHORTEST = len("--num-")  # what begins less closely may be --num-prompts


def refuse(others: Sequence[str], fields: Mapping[str, Sequence[str]] | None = None) -> None:
    """Checks the user's extra arguments, and those of target fields (name -> words).

    Raises:
        InvalidConfiguration: a flag is given twice, or must not be given at all, abbreviated or not.
    """
    parts = {f"target_field {name}": words for name, words in (fields or {}).items()}
    refusals = Refusals()
    with refusals.collected():
        arguments.refuse_doubled({"[ais_bench.command]": FIXED, **parts, "others": others}, ALIASES)
    for word in (*others, *(word for words in parts.values() for word in words)):
        flag = arguments.flag_of(word, ALIASES)
        for refused in (*REFUSED, *FIXED):
            if flag and len(flag) > 2 and refused.startswith(flag):
                why = REFUSED.get(refused, f"it stands for {refused}, which [ais_bench.command] gives")
                refusals.add(InvalidConfiguration(f"{word} must not be given: {why}", hint=f"remove {word}"))
                break
    refusals.tell()


def warm_up(order: MeasurementOrder, num_prompts: int, others: Sequence[str]) -> list[str]:
    """How many requests to send before the measured ones. The user's own number counts."""
    wanted = min(order.warm_up_requests, num_prompts)
    flags = [flag for word in others if (flag := arguments.flag_of(word)) and len(flag) > SHORTEST]
    given = any("--num-warmups".startswith(flag) for flag in flags)
    # older versions do not know the flag, and send one all the same
    return [] if given or wanted == ITS_OWN_WARM_UPS else ["--num-warmups", str(wanted)]


def way_out(message: str) -> str:
    """What to do where AISBench is too old for a flag of ours, as its last line tells; empty where that is not why."""
    _, found, unknown = message.partition("unrecognized arguments:")
    older = found and "--num-warmups" in unknown.replace("=", " ").split()
    return "; this AISBench is older than the flag: [measurement] warm_up_requests = 1 leaves it out" if older else ""
