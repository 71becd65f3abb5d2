from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from serviceoptd.config.explain import allowed_at, shown
from serviceoptd.config.fields import TargetField
from serviceoptd.config.schema import Document, keys

DOCS = Path(__file__).parents[3] / "docs"
KEYS_OF_OURS = (DOCS / "configuration.md").read_text().split("## Engines and clients")[0]
ROWS = {
    match[1]: [cell.strip() for cell in match[2].split(" | ")]
    for match in re.finditer(r"^\| `([\w.]+)` \| (.*) \|$", KEYS_OF_OURS, re.MULTILINE)
}


def default(key: str) -> Any:
    value: Any = Document()
    for part in key.split("."):
        value = getattr(value, part)
    return value.model_dump() if isinstance(value, BaseModel) else value


@pytest.mark.parametrize("key", keys())
def test_every_key_is_documented_with_its_range_and_default(key: str) -> None:
    allowed, written, meaning, in_effect = ROWS[key]
    path = tuple(key.split("."))
    assert not allowed_at(Document, path) or allowed in (allowed_at(Document, path), "a table of lists of texts")
    assert written == ("" if default(key) is None else f"`{shown(default(key))}`")
    assert len(meaning) > 10
    assert in_effect in ("yes", "later", "no")


@pytest.mark.parametrize(("page", "table"), [("early-stopping.md", "early_stopping"), ("proof.md", "")])
def test_a_default_on_another_page_is_the_same(page: str, table: str) -> None:
    rows = re.findall(r"^\| `(?:\[(\w+)\] )?(\w+)` \| ([\d.]+|true|false) \|", (DOCS / page).read_text(), re.MULTILINE)
    assert rows
    for named, key, written in rows:
        value = default(f"{named or table}.{key}")
        assert written == str(value).lower() or float(written) == value


def test_every_key_of_a_target_field_is_documented() -> None:
    text = (DOCS / "configuration.md").read_text()
    section = text[text.index("## Target fields") : text.index("## Placeholders")]
    assert [name for name in TargetField.model_fields if f"`{name}`" not in section] == []


def test_the_example_loads_without_a_warning(load: Any) -> None:
    loaded = load((DOCS / "examples" / "config.toml").read_text())
    assert loaded.settings.engine == "vllm"
    assert loaded.warnings == loaded.placeholders == ()
    assert loaded.assumed == ""
