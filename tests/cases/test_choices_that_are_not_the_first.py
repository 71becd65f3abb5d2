"""A choice that is not the first one: what the first configuration does not show is told before the night, too."""

from __future__ import annotations

from pathlib import Path

import pytest

from cases.configurations import CONCURRENCY, a_field, a_vllm_case, seen
from serviceopt_journal.errors import InvalidConfiguration


def a_choice(first: str, other: str) -> str:
    return CONCURRENCY + a_field("CHOICE", "enum", dtype_param=f"['{first}', '{other}']", value=f"'{first}'")


@pytest.mark.parametrize(
    ("client_others", "first", "other"),
    [
        ("$CHOICE", "", "--base-url http://10.0.0.1:80"),
        ("$CHOICE", "--base-url http://127.0.0.1:18431", "--base-url http://127.0.0.1:18432"),
        ("--base-url http://$CHOICE:18431", "127.0.0.1", "10.0.0.1"),
    ],
)
def test_no_choice_may_lead_to_another_server(tmp_path: Path, client_others: str, first: str, other: str) -> None:
    path = a_vllm_case(tmp_path, client_others=client_others, fields=a_choice(first, other))
    with pytest.raises(InvalidConfiguration, match=r"CHOICE = .*is not the service's 127.0.0.1:18431"):
        seen(path)


@pytest.mark.parametrize(
    ("others", "first", "other", "told"),
    [
        ("$CHOICE", "", "--uds v.sock", "is never answered"),
        ("$CHOICE", "", "--port 18432", "--port is given twice"),
        ("$CHOICE", "", '--compilation-config "', "No closing quotation"),
    ],
)
def test_a_choice_that_the_engine_refuses_is_remarked(
    tmp_path: Path, others: str, first: str, other: str, told: str
) -> None:
    remarks = seen(a_vllm_case(tmp_path, others=others, fields=a_choice(first, other))).remarks
    assert f"CHOICE: '{other}' is refused" in remarks
    assert told in remarks


def test_choices_that_go_together_are_not_remarked(tmp_path: Path) -> None:
    fields = a_choice("--block-size 16", "--block-size 32")
    assert "is refused" not in seen(a_vllm_case(tmp_path, others="$CHOICE", fields=fields)).remarks
