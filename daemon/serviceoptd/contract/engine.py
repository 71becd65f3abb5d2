"""What every engine must do. An engine's test subclasses `EngineContract` and gives `engine` and, if need be, `options`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import msgspec

from serviceopt_journal.events import Configuration
from serviceoptd.config.plugins import ENGINE_GROUP
from serviceoptd.contract.orders import VLLM_CONFIGURATION, VLLM_FIELDS, a_field, a_service_order, a_workplace
from serviceoptd.contract.registration import default_fields, first_configuration, loaded_with_engine, registered
from serviceoptd.contract.surroundings import FLAG, SurroundingsContract, made
from serviceoptd.domain.settings import Field
from serviceoptd.engines.interface import Engine
from serviceoptd.toolkit.interface import Command, Workplace


class EngineContract(SurroundingsContract):
    """`engine` is the class; `options` its section as a user writes it, without target fields.

    The orders are for its default target fields at their first values; an engine without any gets those of vLLM.
    `fields` and `configuration`, given together, replace them; one of the load's fields must be CONCURRENCY or the like.
    """

    engine: ClassVar[type[Engine]]
    options: ClassVar[dict[str, Any]] = {}
    fields: ClassVar[tuple[Field, ...]] = ()
    load_fields: ClassVar[tuple[Field, ...]] = ()
    configuration: ClassVar[Configuration] = {}

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if not cls.fields and hasattr(cls, "engine"):
            cls.fields = default_fields(cls.engine, load_only=False) or VLLM_FIELDS
        if not cls.configuration and cls.fields:
            cls.configuration = VLLM_CONFIGURATION if cls.fields == VLLM_FIELDS else first_configuration(cls.fields)
        if not cls.load_fields:
            cls.load_fields = tuple(field for field in cls.fields if field.load)

    def make(self) -> Engine:
        """The engine as the daemon makes it: from the validated section, dumped to plain values and through the journal."""
        return self.made_from(self.options)

    def made_from(self, options: Mapping[str, Any]) -> Engine:
        """The engine as the daemon makes it from another section."""
        engine: Engine = made(self.engine, options)
        return engine

    keeps_running = True

    def field_of(self, name: str) -> Field:
        """A field of the service that becomes a flag."""
        return a_field(name, f"argument:{FLAG}", min=1, max=9)

    def planned_command(
        self, plugin: Engine, place: Workplace, fields: Sequence[Field], configuration: Configuration
    ) -> Command | None:
        """The command that starts the service; a plan without one fails the suite."""
        own = tuple(field for field in self.fields if field.name not in configuration)
        return plugin.plan(a_service_order(place, self.configuration | configuration, (*own, *fields))).command

    def test_it_is_registered_under_its_name(self) -> None:
        assert registered(ENGINE_GROUP, self.engine.name) is self.engine

    def test_a_configuration_that_chooses_it_loads(self) -> None:
        loaded = loaded_with_engine(self.engine, self.options)
        assert loaded.settings.engine == self.engine.name

    def test_its_default_section_is_valid(self) -> None:
        defaults = {key: value for key, value in self.engine.defaults.items() if key != "target_field"}
        assert self.engine.section.model_validate(defaults)

    def test_its_default_target_fields_are_fields(self) -> None:
        fields = msgspec.convert(self.engine.defaults.get("target_field", []), list[Field], strict=False)
        assert len({field.name for field in fields}) == len(fields)

    def test_the_same_order_gives_the_same_plan(self, tmp_path: Path) -> None:
        order = a_service_order(a_workplace(tmp_path), self.configuration, self.fields)
        assert self.make().plan(order) == self.make().plan(order)

    def test_planning_and_looking_writes_nothing(self, tmp_path: Path) -> None:
        place, engine = a_workplace(tmp_path), self.make()
        before = sorted(tmp_path.rglob("*"))
        engine.plan(a_service_order(place, self.configuration, self.fields))
        engine.problems(place)
        engine.identity(place)
        assert sorted(tmp_path.rglob("*")) == before

    def test_a_command_is_words_and_its_files_lie_in_the_workplace(self, tmp_path: Path) -> None:
        place = a_workplace(tmp_path)
        plan = self.make().plan(a_service_order(place, self.configuration, self.fields))
        assert plan.simulated == (plan.command is None)
        for command in filter(None, (plan.command, plan.stop)):
            assert command.argv
            assert all(isinstance(word, str) for word in command.argv)
            assert all(isinstance(value, str) for value in command.environment.values())
            assert all(path.is_relative_to(place.directory) for path in command.files)

    def test_a_managed_service_is_started_only_when_its_readiness_can_be_told(self, tmp_path: Path) -> None:
        plan = self.make().plan(a_service_order(a_workplace(tmp_path), self.configuration, self.fields))
        assert plan.command is None or plan.ready is not None

    def test_a_service_of_somebody_else_is_neither_started_nor_stopped(self, tmp_path: Path) -> None:
        load = {field.name: self.configuration[field.name] for field in self.load_fields}
        order = a_service_order(a_workplace(tmp_path), load, self.load_fields, managed=False)
        plan = self.make().plan(order)
        assert (plan.command, plan.stop, plan.listens_on) == (None, None, None)

    def test_the_load_changes_nothing_about_the_service(self, tmp_path: Path) -> None:
        place, engine = a_workplace(tmp_path), self.make()
        other = self.configuration | {field.name: 17 for field in self.load_fields}
        assert other != self.configuration
        plans = [engine.plan(a_service_order(place, one, self.fields)) for one in (self.configuration, other)]
        assert plans[0] == plans[1]

    def test_its_identity_is_text_and_does_not_depend_on_the_launch(self, tmp_path: Path) -> None:
        for name in ("first", "second"):
            (tmp_path / name).mkdir()
        place = a_workplace(tmp_path / "first")
        elsewhere = a_workplace(tmp_path / "second")
        moved = type(place)(elsewhere.directory, place.working_directory, place.environment)
        identity = self.make().identity(place)
        assert identity == self.make().identity(moved)
        assert all(isinstance(key, str) and isinstance(value, str) for key, value in identity.items())

    def test_its_problems_name_keys_of_its_own_section(self, tmp_path: Path) -> None:
        problems = self.make().problems(a_workplace(tmp_path))
        table = getattr(self.engine, "table", self.engine.name)
        assert all(problem.key.startswith(f"{table}.") and problem.message for problem in problems)

    def test_a_service_uses_at_least_one_device(self) -> None:
        assert self.make().devices(self.configuration) >= 1

    def test_a_report_without_a_number_of_blocks_gives_none(self) -> None:
        assert self.make().kv_blocks("nothing of that kind\n") is None
