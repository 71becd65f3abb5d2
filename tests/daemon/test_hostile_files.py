"""Every other place that reads what a person, an engine or a client has put somewhere: a reason at once, or a result."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path

import pytest

from hostile_files import HOSTILE
from journal.test_foreign_files import bounded
from serviceopt_journal.errors import ServiceoptError
from serviceopt_journal.foreign_files import MIB
from serviceoptd.engines.mindie.deployment import read_model
from serviceoptd.engines.mindie_kubernetes.files import content_of
from serviceoptd.io import environment_file
from serviceoptd.predicting import model_file, prediction
from serviceoptd.profiling.data.predecessor_tables import tables_of
from serviceoptd.profiling.data.recorded_load import DESCRIPTION, read_load
from serviceoptd.profiling.data.recorded_steps import is_recording, read_recording
from serviceoptd.profiling.recording.recorded_service import complaint
from serviceoptd.toolkit import provenance

READERS: dict[str, tuple[str, Callable[[Path], object]]] = {
    "a model's description": ("config.json", lambda path: read_model(path.parent)),
    "the scripts' file": ("config.json", content_of),
    "a run's environment": ("env.json", lambda path: environment_file.load(path.parent, path.name, "0" * 64)),
    "a latency model": ("latency_model.json", model_file.load),
    "the lengths of requests": ("lengths.csv", prediction.content_of),
    "a file's digest": ("data.jsonl", provenance.file_digest),
    "a program": ("vllm", provenance.prefixes),
    "whether it is a recording": ("run.csv", is_recording),
    "a recording": ("run.csv", lambda path: read_recording(path, name="run", configuration="c")),
    "what was served": (DESCRIPTION, lambda path: read_load(path.with_name("run.csv"), run="run")),
    "the log of a recorded service": ("service.log", complaint),
    "a parsed profile": ("batch.csv", lambda path: tables_of(path.parent)),
    "a parsed database": ("profiler.db", lambda path: tables_of(path.parent)),
}
"""What is read -> the name under which it lies, and what reads it."""


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("what", HOSTILE)
def test_it_is_read_or_refused_with_a_reason_and_neither_waits_nor_takes_the_memory(
    tmp_path: Path, what: str, reader: str
) -> None:
    name, read = READERS[reader]
    HOSTILE[what](tmp_path / name)
    with bounded(96 * MIB, seconds=30.0), contextlib.suppress(ServiceoptError, FileNotFoundError):
        read(tmp_path / name)
