"""`$NAME` in a key in which nothing is replaced: the program would look for a model or a directory of that name. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from serviceoptd.domain.settings import RunSettings
from serviceoptd.toolkit.arguments import referred

TABLES = ("command", "service", "client")
KEYS = (
    "program", "working_directory", "environment_file", "config_path", "host", "model", "served_model_name",
    "dataset_name", "dataset_path", "dataset", "models", "datasets", "config_dir", "backend",
)  # fmt: skip
"""Keys whose text reaches engine and client as it stands."""


def unreplaced_keys(settings: RunSettings) -> Iterator[tuple[str, str, str]]:
    """The dotted place of each, what is wrong there, and what should stand there."""
    sections = {settings.engine: settings.engine_options, settings.benchmark: settings.benchmark_options}
    for section, options in sections.items():
        for place, table in (
            (section, options), *((f"{section}.{name}", options[name]) for name in TABLES if name in options)
        ):  # fmt: skip
            for key in KEYS:
                value = table.get(key) if isinstance(table, Mapping) else None
                for name in referred(value) if isinstance(value, str) else ():
                    allowed = "the value itself; `$NAME` stands for a target field in `others` and `argv` alone"
                    yield f"{place}.{key}", f"nothing replaces ${name} here", allowed
