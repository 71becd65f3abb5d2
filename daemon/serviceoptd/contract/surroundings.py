"""What engines and clients alike owe to their surroundings: variables, secrets, and the user's further arguments."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import pytest

from serviceopt_journal.errors import InvalidConfiguration
from serviceopt_journal.events import Configuration
from serviceoptd.contract.orders import a_field, a_workplace
from serviceoptd.domain.settings import LOAD_NAMES, Field
from serviceoptd.toolkit.interface import Command, NamesItsVariables, ProcessOptions, Workplace
from serviceoptd.toolkit.provenance import with_named_variables

OF_A_DEVICE = "CUDA_VISIBLE_DEVICES"
UNSEEN = "hunter2-is-a-secret"
FLAG = "--serviceopt-contract"


class SurroundingsContract:
    """Shared by the suites of engines and of clients, which say what is made and planned.

    `others`: the dotted key of the section under which a user writes further arguments, as one text; "" where the
    section has none. A section with `command.others` or `others` needs no telling.
    """

    others: ClassVar[str | None] = None
    process_table: ClassVar[str] = ""  # the table that has `environment`, where it is not the section itself

    def made_from(self, options: Mapping[str, Any]) -> Any:
        """The plugin as the daemon makes it from this section."""
        raise NotImplementedError

    def planned_command(
        self, plugin: Any, place: Workplace, fields: Sequence[Field], configuration: Configuration
    ) -> Command | None:
        """The command that the plugin plans at the contract's configuration, with these fields and values added."""
        raise NotImplementedError

    def place(self, tmp_path: Path, environment: Mapping[str, str] | None = None) -> Workplace:
        """The workplace in which the plugin is asked, with these variables set."""
        return a_workplace(tmp_path, environment)

    def section_given(self) -> dict[str, Any]:
        """The contract's options, to be changed by a test."""
        return copy.deepcopy(dict(getattr(self, "options", {})))

    def field_of(self, name: str) -> Field:
        """A field that becomes the flag of these tests."""
        raise NotImplementedError

    def test_the_variables_that_it_names_are_part_of_the_measurement_identity(self, tmp_path: Path) -> None:
        plugin = self.made_from(self.section_given())
        patterns = plugin.relevant_variables if isinstance(plugin, NamesItsVariables) else ()
        assert not isinstance(patterns, str)
        unset = _identity(plugin, self.place(tmp_path))
        for pattern in (each for each in patterns if not each.startswith("!")):
            assert pattern.strip("*?"), "a pattern of every variable would let no two runs share a result"
            name = pattern.replace("*", "CONTRACT").replace("?", "X")
            one, two = (_identity(plugin, self.place(tmp_path, {name: value})) for value in ("1", "2"))
            assert one != two, name
            assert unset not in (one, two), name
        assert _identity(plugin, self.place(tmp_path, {"SERVICEOPT_CONTRACT_UNRELATED": "1"})) == unset

    def test_the_devices_that_its_process_sees_are_part_of_the_measurement_identity(self, tmp_path: Path) -> None:
        plugin = self.made_from(self.section_given())
        if self.planned_command(plugin, self.place(tmp_path), (), {}) is None:
            pytest.skip("it starts no process")
        one, two = (_identity(plugin, self.place(tmp_path, {OF_A_DEVICE: value})) for value in ("0", "1"))
        assert one != two, "use serviceoptd.toolkit.provenance.relevant_environment, or name it in relevant_variables"

    def test_no_secret_is_in_its_identity(self, tmp_path: Path) -> None:
        options = self.section_given()
        names = {"VLLM_API_KEY": UNSEEN, "HCCL_PASSWORD": UNSEEN, "CUDA_TOKEN": UNSEEN}
        table = self._process_table(options)
        if table is not None:
            table["environment"] = {**table.get("environment", {}), **names}
        if (others := self._with_others(options, f"--api-key {UNSEEN} --hf-token={UNSEEN}")) is not None:
            options = others
        identity = _identity(self.made_from(options), self.place(tmp_path, names))
        assert UNSEEN not in str(identity)

    def test_a_flag_is_not_given_twice(self, tmp_path: Path) -> None:
        fields = (self.field_of("FIRST_OF_TWO"), self.field_of("SECOND_OF_TWO"))
        plugin = self.made_from(self.section_given())
        if self.planned_command(plugin, self.place(tmp_path), (), {}) is None:
            pytest.skip("it starts no process")
        with pytest.raises(InvalidConfiguration):
            self.planned_command(
                plugin, self.place(tmp_path), fields, dict.fromkeys(("FIRST_OF_TWO", "SECOND_OF_TWO"), 1)
            )
        if (options := self._with_others(self.section_given(), f"{FLAG} 5")) is not None:
            with pytest.raises(InvalidConfiguration):
                self.planned_command(self.made_from(options), self.place(tmp_path), fields[:1], {"FIRST_OF_TWO": 1})

    def test_load_names_in_its_arguments_are_refused_or_replaced(self, tmp_path: Path) -> None:
        """A service must refuse them, since it keeps running when its load changes; a client gets their values."""
        refused: list[str] = []
        for name in sorted(LOAD_NAMES):
            options = self._with_others(self.section_given(), f"{FLAG} ${name}")
            if options is None:
                pytest.skip("its section has no further arguments")
            try:
                configuration: Configuration = {name: 3}
                field = a_field(name, dtype="int", min=1, max=9)
                command = self.planned_command(self.made_from(options), self.place(tmp_path), (field,), configuration)
            except InvalidConfiguration:
                refused.append(name)
            else:
                assert command is None or f"${name}" not in command.argv
                assert not self.keeps_running, f"${name} reached a service's command line"
        assert not refused or self.keeps_running

    keeps_running: ClassVar[bool] = False  # the process lives on while the load changes: a service

    def _with_others(self, options: dict[str, Any], words: str) -> dict[str, Any] | None:
        key = self.others if self.others is not None else self._usual_key(options)
        if not key:
            return None
        *tables, last = key.split(".")
        place = options
        for table in tables:
            place = place.setdefault(table, {})
        given = place.get(last, "")
        place[last] = f"{given} {words}".strip() if isinstance(given, str) else [*given, *words.split()]
        return options

    def _usual_key(self, options: dict[str, Any]) -> str:
        dumped = self._section().model_validate(options).model_dump(mode="json")
        if isinstance(dumped.get("command"), dict) and "others" in dumped["command"]:
            return "command.others"
        return "others" if "others" in dumped else ""

    def _process_table(self, options: dict[str, Any]) -> dict[str, Any] | None:
        if self.process_table:
            table: dict[str, Any] = options[self.process_table]
            return table
        return options if issubclass(self._section(), ProcessOptions) else None

    def _section(self) -> Any:
        plugin = getattr(self, "engine", None) or self.benchmark  # type: ignore[attr-defined]
        return plugin.section


def _identity(plugin: Any, place: Workplace) -> dict[str, str]:
    return with_named_variables(plugin, plugin.identity(place), place)


def made(plugin: Any, options: Mapping[str, Any]) -> Any:
    """A plugin made as the daemon makes it: from the validated section, dumped to plain values and through the journal."""
    section = plugin.section.model_validate(dict(options)).model_dump(mode="json")
    return plugin(msgspec.json.decode(msgspec.json.encode(section)))
