"""Options of engines after which a model's directory does not tell what lies in the devices' memory. Pure.

By words in their names, since every release of an engine has further ones: what is not known for certain is not said.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

from serviceopt_journal.events import Value

OTHER_MODEL = (
    "offload",
    "override",
    "hf_config",
    "load_format",
    "loader",
    "model_impl",
    "additional_config",
    "config_file",
    "config_format",
)
SMALLER_WEIGHTS = ("quant", "torchao")
WITHOUT_EFFECT = (False, "false", 0, "0", "", "none", "auto")


def changes_the_model(options: Mapping[str, Value | str]) -> bool:
    """Whether one of these options puts less into the devices than the checkpoint says, or something else."""
    return _any(options, OTHER_MODEL)


def quantises(options: Mapping[str, Value | str]) -> bool:
    """Whether one of these options makes the weights smaller while they are loaded."""
    return _any(options, SMALLER_WEIGHTS)


def _any(options: Mapping[str, Value | str], words: tuple[str, ...]) -> bool:
    for name, value in options.items():
        plain = value.casefold() if isinstance(value, str) else value
        if plain not in WITHOUT_EFFECT and _has_one_of(name, words):
            return True
    return False


@lru_cache(maxsize=1024)  # rules ask for the same few names with every configuration that was measured
def _has_one_of(name: str, words: tuple[str, ...]) -> bool:
    # `--hf-overrides.num_layers 4` is a part of `--hf-overrides`
    return any(word in name.partition(".")[0].casefold() for word in words)
