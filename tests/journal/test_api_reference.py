from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from serviceopt_journal.api_reference import TITLES, json_type, reference
from serviceopt_journal.documents import checked, local, models, particles, records, requests, runs

PAGE = Path(__file__).parents[2] / "docs" / "api.md"
MODULES = (checked, local, models, particles, records, requests, runs)


def test_the_page_is_what_the_types_say() -> None:
    regenerate = "run: python -m serviceopt_journal.api_reference > docs/api.md"
    assert PAGE.read_text(encoding="utf-8") == reference(), regenerate


@pytest.mark.parametrize("module", MODULES, ids=lambda module: str(module.__name__))
def test_every_document_of_a_module_has_its_section_with_every_key(module: object) -> None:
    own = [
        kind for kind in vars(module).values()
        if isinstance(kind, type) and issubclass(kind, msgspec.Struct) and kind.__module__ == module.__name__  # type: ignore[attr-defined]
    ]  # fmt: skip
    assert own
    for kind in own:
        section = reference().partition(f"\n## {TITLES[kind]}\n")[2].partition("\n## ")[0]
        inherited = {name for base in kind.__bases__ for name in getattr(base, "__struct_fields__", ())}
        for name in set(kind.__struct_fields__) - inherited:
            assert f"| `{name}` |" in section, (kind, name)


def test_types_are_told_in_the_words_of_json() -> None:
    assert json_type("tuple[dict[str, Value | None], ...]") == "[{key: value | null}]"
    assert json_type("tuple[int, int] | None") == "[integer, integer] | null"
    assert json_type("Literal['ok', 'warn']") == '"ok" | "warn"'
