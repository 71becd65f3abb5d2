"""`serviceoptctl docs`: every page that a message names is there for whoever has installed the wheel."""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

import messages
from serviceoptctl import pages
from serviceoptctl.program import COMMANDS

Invoke = Callable[..., Result]
NAMED = re.compile(r"`serviceoptctl docs ([\w/#-]+)`")


def test_without_a_topic_every_page_is_listed_with_its_title(invoke: Invoke) -> None:
    shown = invoke("docs")
    assert shown.exit_code == 0
    names = [line.split()[0] for line in shown.stdout.splitlines()]
    assert {path.stem for path in pages.IN_A_CHECKOUT.glob("*.md")} <= set(names)
    assert re.search(r"^configuration +\S", shown.stdout, re.MULTILINE)


@pytest.mark.parametrize("topic", ["configuration", "docs/configuration.md", "configuration.md"])
def test_a_page_is_shown_as_it_was_written(invoke: Invoke, topic: str) -> None:
    assert invoke("docs", topic).stdout == (pages.IN_A_CHECKOUT / "configuration.md").read_text()


def test_a_section_is_shown_alone(invoke: Invoke) -> None:
    shown = invoke("docs", "engines#command").stdout
    assert shown.startswith("## ")
    assert len(re.findall(r"^## ", shown, re.MULTILINE)) == 1
    assert json.loads(invoke("docs", "engines#command", "--json").stdout)["text"] == shown


@pytest.mark.parametrize(
    ("topic", "said"),
    [
        ("configuraton", "there is no page 'configuraton', did you mean `configuration`?"),
        ("../README", "there is no page '../README'"),
        ("engines#comand", "the page engines has no section 'comand', did you mean `command`?"),
    ],
)
def test_a_topic_that_is_not_there_names_the_closest(invoke: Invoke, topic: str, said: str) -> None:
    shown = invoke("docs", topic)
    assert shown.exit_code == 9
    assert shown.stderr.startswith(f"error: {said}")


def test_messages_name_pages_as_an_installed_user_has_them_and_each_is_there() -> None:
    generated = ("event_reference.py", "api_prose.py", "api_reference.py")  # texts of pages, and no messages
    texts = [line for line in messages.listed() if not any(name in line for name in generated)]
    assert not [line for line in texts if re.search(r"\bdocs/[\w-]+\.md", line)]
    named = {topic for line in texts for topic in NAMED.findall(line)}
    assert len(named) > 5
    for topic in named:
        assert pages.page(topic)


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_the_help_of_a_command_names_pages_as_an_installed_user_has_them(invoke: Invoke, name: str) -> None:
    told = " ".join(invoke(name, "--help").stdout.split())
    assert not re.search(r"\bdocs/[\w-]+\.md\b", told)
    for topic in NAMED.findall(told):
        assert pages.page(topic)


def test_the_wheel_has_the_pages(tmp_path: Path) -> None:
    from hatchling.builders.wheel import WheelBuilder

    (wheel,) = WheelBuilder(str(pages.IN_A_CHECKOUT.parent)).build(directory=str(tmp_path), versions=["standard"])
    packed = {name for name in zipfile.ZipFile(wheel).namelist() if name.startswith("serviceoptctl/docs/")}
    assert {f"serviceoptctl/docs/{name}.md" for name in ("configuration", "engines", "evidence/README")} <= packed
