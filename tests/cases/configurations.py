"""Configurations as users write them, for cases that came from outside: a vLLM and its client, with one thing special."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from serviceoptd.submitting.checking import Planned, check, dry_run
from serviceoptd.submitting.draft import Draft

VLLM = """
{top}
engine = "vllm"
benchmark = "vllm_benchmark"
budget = 2
[vllm]
{section}
[vllm.command]
host = "127.0.0.1"
port = 18431
model = "./model"
served_model_name = "m"
others = '''{others}'''
[vllm_benchmark]
{client_section}
[vllm_benchmark.command]
host = "127.0.0.1"
port = 18431
model = "./model"
served_model_name = "m"
dataset_name = "random"
num_prompts = 200
others = '''{client_others}'''
{fields}
"""


def a_vllm_case(directory: Path, **texts: str) -> Path:
    """Its file, with an empty model beside it. `texts` fill the holes of VLLM: top, section, others, fields..."""
    (directory / "model").mkdir(exist_ok=True)
    (directory / "model" / "config.json").write_text('{"model_type": "none"}')
    holes = dict.fromkeys(("top", "section", "others", "client_section", "client_others", "fields"), "")
    path = directory / "config.toml"
    path.write_text(VLLM.format(**{**holes, **texts}))
    return path


def a_field(name: str, dtype: str, *, table: str = "vllm", **keys: str) -> str:
    """The text of a target field; `keys` in TOML."""
    lines = "\n".join(f"{key} = {value}" for key, value in keys.items())
    return f'[[{table}.target_field]]\nname = "{name}"\ndtype = "{dtype}"\n{lines}\n'


CONCURRENCY = a_field("CONCURRENCY", "int", min="1", max="50", value="10")


@dataclass(frozen=True)
class Seen:
    """What `serviceoptctl check --dry-run` would show."""

    checked: Draft
    commands: tuple[Planned, ...]

    @property
    def service(self) -> tuple[str, ...]:
        """The service's command line."""
        return next(command.argv for command in self.commands if command.role == "service")

    @property
    def client(self) -> tuple[str, ...]:
        """The client's."""
        return next(command.argv for command in self.commands if command.role == "client")

    @property
    def environment(self) -> dict[str, str]:
        """What is set for the service."""
        return next(command.environment for command in self.commands if command.role == "service")

    @property
    def remarks(self) -> str:
        """All remarks, one a line."""
        return "\n".join(str(remark) for remark in self.checked.remarks)


def seen(path: Path) -> Seen:
    """Checks the file and plans its first configuration, in the file's directory.

    Raises:
        InvalidConfiguration: what `check` shows as an error.
    """
    checked = check(path, environment=dict(os.environ), working_directory=path.parent)
    assert checked.unusable == (), [str(problem) for problem in checked.unusable]
    return Seen(checked, dry_run(checked, path.parent / "state"))
