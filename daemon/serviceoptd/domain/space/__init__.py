"""The search space: fields of every dtype, positions in the unit cube, and configurations decoded from them.

Pure. Imports `domain.settings` only.
Read first: `space.py` (decode, encode, repair), then `scales.py` (one dtype each) and `derived.py`.
"""

from typing import Any


def __getattr__(name: str) -> Any:
    """The names of `space.space`, which stood here before release 0.1: kept for plugins for one release."""
    if name.startswith("__"):
        raise AttributeError(name)
    from serviceoptd.domain.space import space

    return getattr(space, name)
