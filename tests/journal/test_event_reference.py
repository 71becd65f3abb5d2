from __future__ import annotations

from pathlib import Path

from serviceopt_journal.event_reference import reference
from serviceopt_journal.events import EVENT_TYPES

PAGE = Path(__file__).parents[2] / "docs" / "events.md"


def test_the_page_is_what_the_types_say() -> None:
    regenerate = "run: python -m serviceopt_journal.event_reference > docs/events.md"
    assert PAGE.read_text(encoding="utf-8") == reference(), regenerate


def test_the_page_has_every_type_with_every_field() -> None:
    page = reference()
    for event_type in EVENT_TYPES:
        section = page.partition(f"### `{event_type.__struct_config__.tag}`,")[2].partition("###")[0]
        assert (event_type.__doc__ or "").strip().splitlines()[0] in section
        for field in event_type.__struct_fields__:
            assert field == "v" or f"| `{field}` |" in section
