"""Fields that are named like an option and reach nothing: exported, read by nobody, and searched all night. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from serviceoptd.domain.settings import LOAD_NAMES, Field
from serviceoptd.toolkit.arguments import references, referred, with_capitals
from serviceoptd.toolkit.interface import Problem
from serviceoptd.toolkit.spellings import Spellings

SHORT_NAMES = {
    "tp": "--tensor-parallel-size",
    "pp": "--pipeline-parallel-size",
    "dp": "--data-parallel-size",
    "tensor_parallel": "--tensor-parallel-size",
    "pipeline_parallel": "--pipeline-parallel-size",
    "data_parallel": "--data-parallel-size",
}
"""What people call these options, whatever the program calls them."""

LOAD_LIKE = {
    "concurrency": "CONCURRENCY",
    "max_concurrency": "CONCURRENCY",
    "maxconcurrency": "CONCURRENCY",
    "request_rate": "REQUESTRATE",
    "requestrate": "REQUESTRATE",
}
"""What is meant for the load, and is one of the service's fields in this spelling."""


def unreached(
    fields: Iterable[Field], words: Sequence[str], options: Mapping[str, str], *, load: bool, place: str
) -> list[Problem]:
    """A remark for each `env` field that is named like an option of the program and that no argument refers to.

    Args:
        fields: the target fields, without those that the program is given as flags in any case.
        words: everything in which `$NAME` is replaced.
        options: spelling -> flag, as `flag_of` takes it; a field may have any of these names, with `_` and in capitals.
        load: whether the fields of the client's load are meant, or those of the service.
        place: where an argument would be written, such as `[vllm.command] others`.
    """
    remarks = []
    for field in fields:
        names = with_capitals({field.name: None})
        if field.config_position != "env" or field.load != load or field.name in LOAD_NAMES or references(words, names):
            continue
        if meant := LOAD_LIKE.get(field.name.lower()):
            message = f"is a field of the service, which is launched anew for each value; the load's is called {meant}"
            remarks.append(Problem(field.name, message, f'name = "{meant}"'))
        elif flag := named_like(field.name, options):
            message = (
                f"is exported as a variable and reaches nothing else; {flag}, after which it is named, does not get it"
            )
            hint = f'config_position = "argument:{flag}", or `{flag} ${field.name}` in {place}'
            remarks.append(Problem(field.name, message, hint))
    return remarks


def named_like(name: str, options: Mapping[str, str]) -> str | None:
    """The flag that a field's name is a spelling of: `TP`, `max_num_seqs`, `MAX_NUM_SEQS`, `maxNumSeqs`, `MaxNumSeqs`."""
    # of `Spellings` every beginning is an option too, and none of those is meant here
    flags, spelled = (options.flags, options.aliases) if isinstance(options, Spellings) else (options.values(), options)
    known = {**{flag: flag for flag in flags}, **spelled}
    meant = _letters(name)
    found = sorted(flag for spelling, flag in known.items() if _letters(spelling) == meant)
    return found[0] if found else SHORT_NAMES.get(name.lower().strip("_"))


def _letters(name: str) -> str:
    """A name without its case and without what separates its words."""
    return name.lower().replace("-", "").replace("_", "")


def unreplaced(environment: Mapping[str, str], fields: Iterable[Field], table: str) -> list[Problem]:
    """A remark for each configured variable with a `$NAME` that no field replaces: the program gets it as it stands."""
    known = with_capitals({field.name: None for field in fields})
    return [
        Problem(
            f"{table}.environment",
            f"{name}: nothing replaces ${found}",
            "write the value itself: environment variables are not substituted",
        )
        for name, value in environment.items()
        for found in referred(value)
        if found not in known
    ]
