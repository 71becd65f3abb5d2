"""Values that the predecessor's default file holds in the place of the user's own."""

from __future__ import annotations

from collections.abc import Collection

from .problems import ConfigProblem
from .source import Source

PLACEHOLDERS = {
    "port": ("port", "the port that the service listens on, such as 8000"),
    "model": ("model_path", "the directory of the model's weights"),
    "served_model_name": ("model_name", "the name that the service gives the model"),
    "dataset_name": ("dataset_name", "the data set's kind, such as random or sharegpt"),
    "models": ("models", "the model task of AISBench, such as vllm_api_stream_chat"),
    "datasets": ("datasets", "the data set task of AISBench, such as gsm8k_gen"),
}


def placeholders(source: Source, sections: Collection[str] | None = None) -> list[ConfigProblem]:
    """The placeholders that are still in `[<section>.command]`, in the order of the file.

    `sections` None: of every section in it.
    """
    found: list[ConfigProblem] = []
    for name, section in source.document.items():
        command = section.get("command") if isinstance(section, dict) else None
        if not isinstance(command, dict) or (sections is not None and name not in sections):
            continue
        for key, value in command.items():
            text, wanted = PLACEHOLDERS.get(key, (None, ""))
            if text is not None and value == text:
                message = f'is still the placeholder "{text}"'
                found.append(source.problem((name, "command", key), message, f"give {wanted}"))
    return found
