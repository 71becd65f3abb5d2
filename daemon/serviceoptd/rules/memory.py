"""The rule `memory`: weights and one sequence of full length must fit into the devices' memory.

For the fullest of n devices, whose load is at least the mean:

    weights / n + tokens of the longest sequence x bytes of a token in the KV cache  <=  memory x share for the engine

Activations, captured graphs and the runtime come on top, so the left side is a lower bound. Once services have told how
many KV blocks they have, the same is known more closely: a service with no smaller batch has no more blocks.

Sources: W. Kwon et al., *Efficient Memory Management for Large Language Model Serving with PagedAttention*, SOSP 2023,
section 3; vLLM's check when it starts ("to serve at least one request with the model's max seq len").
"""

from __future__ import annotations

from typing import ClassVar

from serviceopt_journal.events import Configuration
from serviceoptd.domain.space.constraints import names_of, number
from serviceoptd.rules.deployment import LENGTH, SHARE, Deployment
from serviceoptd.rules.interface import Facts, Kind, RefutedBy, Rejection, Result

GIBIBYTE = 1024**3
TAKES_MEMORY = ("max_num_batched_tokens", "max_num_seqs", *LENGTH)
"""Parameters of which more never leaves more for the KV cache."""


class Memory:
    """Says nothing where model or device are not known."""

    name: ClassVar[str] = "memory"
    kind: ClassVar[Kind] = "theory"
    refuted_by: ClassVar[RefutedBy] = "start"

    def judge(self, configuration: Configuration, facts: Facts) -> Rejection | None:
        """Against it where the service cannot start for want of memory."""
        wanted = Deployment.of(configuration, facts)
        return _too_large(wanted, facts) or _fewer_blocks(configuration, wanted, facts)


def _too_large(wanted: Deployment, facts: Facts) -> Rejection | None:
    memory, weights = facts.settings.device_facts.memory, wanted.model.weights
    if memory is None or weights is None:
        return None
    there, own = memory * wanted.share, weights / wanted.replica
    each, longest = wanted.cache_each_token, wanted.longest
    insists = wanted.model.needs_a_whole_sequence and "num_gpu_blocks_override" not in wanted.known
    sequence = each * longest if each and longest and insists else 0.0
    if own + sequence <= there:
        return None
    told = f"{_gib(own)} of weights on each of {wanted.replica} devices"
    if sequence:
        told += f" and {_gib(sequence)} for one sequence of {longest} tokens"
    return Rejection(f"{told}, and {_gib(there)} ({wanted.share:g} of {_gib(memory)}) are there")


def _fewer_blocks(configuration: Configuration, wanted: Deployment, facts: Facts) -> Rejection | None:
    longest, block = wanted.longest, number(wanted.known.get("block_size"))
    overridden = {"num_gpu_blocks_override", "kv_cache_memory_bytes"} & wanted.known.keys()
    if longest is None or block is None or overridden or not wanted.model.needs_a_whole_sequence:
        return None
    for blocks, result in facts.reported:
        # What was there is looked at first: it is enough nearly always, and the comparison takes its time.
        if (there := blocks * block) < longest and _no_roomier(configuration, result, facts):
            return Rejection(
                f"a sequence of {longest} tokens needs more than the {there:g} tokens of KV cache that particle "
                f"{result.particle} had with no larger a batch"
            )
    return None


def _no_roomier(configuration: Configuration, result: Result, facts: Facts) -> bool:
    """Whether this configuration cannot have more KV blocks than the one that was launched."""
    for field in facts.space.fields:
        ours, theirs = configuration.get(field.name), result.configuration.get(field.name)
        if field.load or ours == theirs:
            continue
        a, b = number(ours), number(theirs)
        if a is None or b is None:
            return False
        names = set(names_of(field))
        if not (names & set(TAKES_MEMORY) and a >= b) and not (names & set(SHARE) and a <= b):
            return False
    return True


def _gib(size: float) -> str:
    return f"{size / GIBIBYTE:.1f} GiB"
