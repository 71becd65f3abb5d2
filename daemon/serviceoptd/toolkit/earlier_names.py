"""Modules that plugins may import under an earlier name, for one release. Goes with release 0.2 (docs/plugins.md).

A table and one finder instead of a file for each name: the folders stay as they are meant to be read.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from importlib import import_module
from importlib.machinery import ModuleSpec
from types import ModuleType

MOVED = {
    "serviceoptd.benchmarks.belief": "serviceoptd.benchmarks.result_checks",
    "serviceoptd.benchmarks.extraction": "serviceoptd.toolkit.extraction",
    "serviceoptd.domain.constraints": "serviceoptd.domain.space.constraints",
    "serviceoptd.domain.draws": "serviceoptd.domain.statistics.draws",
    "serviceoptd.domain.order_statistics": "serviceoptd.domain.statistics.order_statistics",
    "serviceoptd.engines.arguments": "serviceoptd.toolkit.arguments",
    "serviceoptd.engines.endpoint": "serviceoptd.toolkit.endpoint",
    "serviceoptd.engines.external": "serviceoptd.toolkit.position_checks",
    "serviceoptd.engines.model_facts": "serviceoptd.toolkit.model_facts",
    "serviceoptd.engines.program": "serviceoptd.toolkit.program",
    "serviceoptd.engines.provenance": "serviceoptd.toolkit.provenance",
    "serviceoptd.io.programs": "serviceoptd.toolkit.find_program",
}


class _Alias:
    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        """Puts the module of the present name in its place, so that classes are the same under both names."""
        earlier, present = module.__name__, MOVED[module.__name__]
        warnings.warn(f"{earlier} is {present}; the earlier name will be removed in release 0.2", DeprecationWarning, 2)
        sys.modules[earlier] = import_module(present)


class _Finder:
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        # by its methods, without the bases of importlib.abc: every command imports this, and would import those for it
        return ModuleSpec(fullname, _Alias()) if fullname in MOVED else None  # type: ignore[arg-type]


def offer_earlier_names() -> None:
    """Makes the earlier names importable. Called once, when `serviceoptd` is imported."""
    sys.meta_path.append(_Finder())
