"""What pyproject.toml declares: `pythons` prints the versions of Python, `oldest` a constraint for each dependency."""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PROJECT: dict[str, Any] = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]


def pythons() -> Iterator[str]:
    """Each `3.N` of the classifiers, in their order."""
    for classifier in PROJECT["classifiers"]:
        if found := re.fullmatch(r"Programming Language :: Python :: (3\.\d+)", classifier):
            yield found[1]


def oldest() -> Iterator[str]:
    """`name==version` for the lower bound of every direct dependency, those of the extra `test` included.

    Raises:
        ValueError: a requirement has no lower bound, or none that this reads.
    """
    for requirement in sorted({*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["test"]}):
        found = re.fullmatch(r"([\w.-]+)>=([\w.]+)", requirement)
        if not found:
            raise ValueError(f"{requirement!r} of pyproject.toml has no lower bound of the form name>=version")
        yield f"{found[1]}=={found[2]}"


if __name__ == "__main__":
    print("\n".join({"pythons": pythons, "oldest": oldest}[sys.argv[1]]()))
