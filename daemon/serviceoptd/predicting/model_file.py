"""The file of a trained model: one JSON document, and its card beside it as a page to read."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from serviceopt_journal import foreign_files
from serviceopt_journal.codec import UNDECODABLE
from serviceopt_journal.errors import ExitCode, ServiceoptError
from serviceoptd.simulation.step_times.latency_model import TrainedModel
from serviceoptd.simulation.step_times.model_card import as_markdown

MODEL_FILE = "latency_model.json"
LARGEST_MODEL = 256 * foreign_files.MIB
"""Bytes of a file that a person names: a latency model, or the data of one."""
CARD_FILE = "latency_model.md"
VERSION = 1


class _Document(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    latency_model: int  # version of the format
    trained: TrainedModel


class _Header(msgspec.Struct, frozen=True):
    latency_model: int


class ModelRejected(ServiceoptError):
    """A file that is not a latency model, or one of another release."""

    exit_code = ExitCode.CONFIGURATION

    def __init__(self, path: Path, problem: str) -> None:
        super().__init__(f"{path}: {problem}", hint="`serviceoptctl train` makes a latency model")


def save(trained: TrainedModel, directory: Path) -> Path:
    """Writes the model and its card, each whole or not at all. Equal models give equal bytes.

    Returns:
        The model's path.
    """
    directory.mkdir(parents=True, exist_ok=True)
    document = msgspec.json.encode(_Document(VERSION, trained), order="deterministic")
    _write(directory / CARD_FILE, as_markdown(trained.card, trained.validity, trained.overheads).encode())
    _write(directory / MODEL_FILE, document + b"\n")
    return directory / MODEL_FILE


def load(path: Path) -> TrainedModel:
    """Reads a model back.

    Raises:
        ModelRejected: the file is not a latency model, is damaged, or is of a newer release.
        OSError: it cannot be read.
    """
    content = foreign_files.content(path, LARGEST_MODEL, through_links=True)
    try:
        version = msgspec.json.decode(content, type=_Header).latency_model
        if version != VERSION:
            raise ModelRejected(path, f"is a latency model of version {version}; this release reads version {VERSION}")
        return msgspec.json.decode(content, type=_Document).trained
    except UNDECODABLE as error:
        raise ModelRejected(path, f"is not a latency model: {error}") from error


def _write(path: Path, content: bytes) -> None:
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        partial.write_bytes(content)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
