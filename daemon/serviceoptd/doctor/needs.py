"""Which files, directories and devices of this machine a configuration needs."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from serviceopt_journal.foreign_files import MIB, content
from serviceopt_journal.foreign_text import json_value
from serviceoptd.domain.settings import RunSettings

WRITTEN = frozenset({"config_path", "kubectl_default_path"})
"""Keys of an engine's section that name a file, or a directory of files, that each evaluation changes (and puts back)."""

LINKS_LOOKED_AT = 10_000  # entries of a directory; a model has dozens, a mistaken `/` has millions

_WHOLE_TREES = frozenset(
    f"/{name}"
    for name in (
        "",
        "bin",
        "dev",
        "etc",
        "home",
        "lib",
        "opt",
        "proc",
        "root",
        "run",
        "srv",
        "sys",
        "tmp",
        "usr",
        "var",
    )
)
"""Never meant as a model or a data set, and too large to look through."""

_DRIVER_NODES = (
    "nvidia[0-9]*", "nvidiactl", "nvidia-uvm", "nvidia-uvm-tools", "nvidia-modeset", "nvidia-caps/*",
    "davinci[0-9]*", "davinci_manager", "devmm_svm", "hisi_hdc", "kfd", "dri/renderD*",
)  # fmt: skip


@dataclass(frozen=True)
class Needs:
    """Absolute paths that exist here, sorted."""

    read: tuple[str, ...] = ()  # files and whole directories: models, data sets, programs with their environments
    write: tuple[str, ...] = ()
    enter: tuple[str, ...] = ()  # directories that a process starts in
    devices: tuple[str, ...] = ()  # nodes of accelerators


def needs(
    settings: RunSettings,
    commands: Sequence[Sequence[str]],
    working_directory: Path,
    *,
    edits: Mapping[Path, bytes] | None = None,
    devices_directory: Path = Path("/dev"),
) -> Needs:
    """What the settings and these command lines (programs as absolute paths) refer to, as far as it exists here.

    `edits`: files that a launch changes, with their new content; what a JSON one names is needed too, a model above all.
    """
    options = (settings.engine_options, settings.benchmark_options)
    named = [*(text for each in options for _, text in _texts(each)), *(word for argv in commands for word in argv)]
    named += [text for content in (edits or {}).values() for _, text in _texts(_document(content))]
    written = {text for each in options for key, text in _texts(each) if key in WRITTEN and Path(text).is_absolute()}
    written |= {str(path.resolve().parent) for path in edits or {}}  # replaced by a file that is made beside it
    found = {path for text in named for path in _paths(text, working_directory)}
    programs = {argv[0] for argv in commands if argv and os.access(argv[0], os.X_OK)}
    read = {root for path in found | programs for root in roots(Path(path))}
    return Needs(
        read=tuple(sorted(_outermost(read - written))),
        write=tuple(sorted(written)),
        enter=(str(working_directory),),
        devices=accelerators(devices_directory),
    )


def _document(content: bytes) -> Any:
    try:
        return json_value(content)
    except ValueError:
        return None


def accelerators(devices_directory: Path = Path("/dev")) -> tuple[str, ...]:
    """The device nodes of NVIDIA, Ascend and AMD accelerators."""
    nodes = {str(node) for pattern in _DRIVER_NODES for node in devices_directory.glob(pattern) if not node.is_dir()}
    return tuple(sorted(nodes))


def roots(path: Path) -> Iterator[str]:
    """What must be visible for `path` to be usable: itself, where its links lead, a program's virtual environment."""
    environment = path.parent.parent
    if path.parent.name == "bin" and (environment / "pyvenv.cfg").is_file():
        yield str(environment)
        yield from _interpreter(environment)
        return
    yield str(path)
    if not path.is_dir():
        if (target := path.resolve()) != path:
            yield str(target)
        return
    # A model of the Hugging Face cache is a directory of links to ../../blobs.
    resolved = path.resolve()
    for place in {target.parent for target in _link_targets(path)}:
        if not place.is_relative_to(resolved):
            yield str(place)
    if resolved != path:
        yield str(resolved)


def _link_targets(directory: Path) -> Iterator[Path]:
    looked_at = 0
    for place, _, files in os.walk(directory):
        for name in files:
            looked_at += 1
            if looked_at > LINKS_LOOKED_AT:
                return
            entry = Path(place, name)
            if entry.is_symlink():
                yield entry.resolve()


def _interpreter(environment: Path) -> Iterator[str]:
    """The Python installation below a virtual environment, where it is not the system's."""
    told = content(environment / "pyvenv.cfg", MIB, through_links=True).decode(errors="replace")
    for line in told.splitlines():
        name, _, value = line.partition("=")
        home = Path(value.strip())
        if name.strip() == "home" and not home.is_relative_to("/usr") and home.is_dir():
            yield str(home.parent)


def _texts(value: Any, key: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield key, value
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _texts(inner, str(name))
    elif isinstance(value, Sequence):
        for inner in value:
            yield from _texts(inner, key)


def _paths(text: str, working_directory: Path) -> Iterator[str]:
    try:
        words = [text, *shlex.split(text)]
    except ValueError:  # an apostrophe in a text that is no command line
        words = [text]
    for word in words:
        for candidate in (word, word.partition("=")[2]):
            if candidate.startswith(("/", "./", "../")) and (path := working_directory / candidate).exists():
                normal = Path(os.path.normpath(path))
                if str(normal) not in _WHOLE_TREES:
                    yield str(normal)


def _outermost(paths: set[str]) -> set[str]:
    return {path for path in paths if not any(str(parent) in paths for parent in Path(path).parents)}
