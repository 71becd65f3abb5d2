"""What every benchmark client must do. A client's test subclasses `BenchmarkContract` and says what a good result is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import pytest

from serviceopt_journal.events import Configuration
from serviceoptd.benchmarks.interface import Benchmark, ClientOutcome, MeasurementOrder
from serviceoptd.config.plugins import BENCHMARK_GROUP
from serviceoptd.contract.orders import (
    VLLM_CONFIGURATION,
    VLLM_FIELDS,
    a_field,
    a_measurement_order,
    a_workplace,
    an_outcome,
)
from serviceoptd.contract.registration import default_fields, first_configuration, loaded_with_client, registered
from serviceoptd.contract.surroundings import FLAG, SurroundingsContract, made
from serviceoptd.domain.settings import Field
from serviceoptd.toolkit.interface import Command, UnusableResult, Workplace


class BenchmarkContract(SurroundingsContract):
    """`benchmark` is the class; `options` its section as a user writes it.

    The orders are for vLLM's fields and the client's own default ones; `fields` and `configuration` replace them.
    """

    benchmark: ClassVar[type[Benchmark]]
    options: ClassVar[dict[str, Any]] = {}
    fields: ClassVar[tuple[Field, ...]] = VLLM_FIELDS
    configuration: ClassVar[Configuration] = VLLM_CONFIGURATION

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if hasattr(cls, "benchmark") and cls.fields is VLLM_FIELDS:
            own = default_fields(cls.benchmark, load_only=True)
            cls.fields = (*VLLM_FIELDS, *own)
            cls.configuration = cls.configuration | (first_configuration(own) if own else {})

    def make(self) -> Benchmark:
        """The client as the daemon makes it."""
        return self.made_from(self.options)

    def made_from(self, options: Mapping[str, Any]) -> Benchmark:
        """The client as the daemon makes it from another section."""
        client: Benchmark = made(self.benchmark, options)
        return client

    def place(self, tmp_path: Path, environment: Mapping[str, str] | None = None) -> Workplace:
        """The workplace of `order`, with these variables set."""
        place = self.order(tmp_path).workplace
        return replace(place, environment={**place.environment, **(environment or {})})

    def field_of(self, name: str) -> Field:
        """A field of the load that becomes a flag."""
        return a_field(name, f"argument:{FLAG}", min=1, max=9, load=True)

    def planned_command(
        self, plugin: Benchmark, place: Workplace, fields: Sequence[Field], configuration: Configuration
    ) -> Command | None:
        """The command that the client plans; a plan without one fails the suite."""
        own = tuple(field for field in self.fields if field.name not in configuration)
        return plugin.plan(a_measurement_order(place, self.configuration | configuration, (*own, *fields))).command

    def write_good_result(self, outcome: ClientOutcome) -> None:
        """What the client leaves when everything went well: a file, or lines of its output."""

    def order(self, tmp_path: Path, **more: Any) -> MeasurementOrder:
        """An order at the contract's configuration."""
        return a_measurement_order(a_workplace(tmp_path), self.configuration, self.fields, **more)

    def test_it_is_registered_under_its_name(self) -> None:
        assert registered(BENCHMARK_GROUP, self.benchmark.name) is self.benchmark

    def test_a_configuration_that_chooses_it_loads(self) -> None:
        loaded = loaded_with_client(self.benchmark, self.options)
        assert loaded.settings.benchmark == self.benchmark.name

    def test_its_default_section_is_valid(self) -> None:
        defaults = {key: value for key, value in self.benchmark.defaults.items() if key != "target_field"}
        assert self.benchmark.section.model_validate(defaults)

    def test_the_same_order_gives_the_same_plan(self, tmp_path: Path) -> None:
        order = self.order(tmp_path)
        assert self.make().plan(order) == self.make().plan(order)

    def test_planning_and_looking_writes_nothing(self, tmp_path: Path) -> None:
        order, client = self.order(tmp_path), self.make()
        before = sorted(tmp_path.rglob("*"))
        client.plan(order)
        client.problems(order.workplace)
        client.identity(order.workplace)
        assert sorted(tmp_path.rglob("*")) == before

    def test_it_writes_only_into_its_workplace(self, tmp_path: Path) -> None:
        order = self.order(tmp_path)
        plan = self.make().plan(order)
        assert plan.num_prompts >= 1
        assert (plan.command is None) == (plan.simulated is not None or plan.failure is not None)
        assert all(path.is_relative_to(order.workplace.directory) for path in (plan.artefacts or {}).values())

    def test_each_measurement_of_a_service_sends_other_requests(self, tmp_path: Path) -> None:
        client = self.make()
        first, second = (client.plan(self.order(tmp_path, seed=seed, noise_key=(1, 1, seed))) for seed in (1, 2))
        assert first != second

    def test_a_good_result_is_read_in_our_units(self, tmp_path: Path) -> None:
        client, order = self.make(), self.order(tmp_path)
        outcome = an_outcome(client, order)
        self.write_good_result(outcome)
        metrics = client.read(outcome)
        assert metrics.completed + metrics.failed == outcome.plan.num_prompts
        assert metrics.success_rate == pytest.approx(metrics.completed / outcome.plan.num_prompts)
        assert metrics.generate_speed > 0
        assert 0 < metrics.ttft["mean"] < 60
        assert msgspec.json.decode(msgspec.json.encode(metrics), type=type(metrics)) == metrics

    def test_its_identity_is_text(self, tmp_path: Path) -> None:
        identity = self.make().identity(self.order(tmp_path).workplace)
        assert identity
        assert all(isinstance(key, str) and isinstance(value, str) for key, value in identity.items())

    def test_its_problems_name_keys_of_its_own_section(self, tmp_path: Path) -> None:
        problems = self.make().problems(self.order(tmp_path).workplace)
        assert all(problem.key.startswith(f"{self.benchmark.name}.") and problem.message for problem in problems)


class ProcessBenchmarkContract(BenchmarkContract):
    """The contract of clients that run as a process of their own."""

    def test_a_client_that_failed_is_not_believed(self, tmp_path: Path) -> None:
        client, order = self.make(), self.order(tmp_path)
        outcome = an_outcome(client, order, exit_status=7, output="Traceback\nValueError: no such host\nbye\n")
        self.write_good_result(outcome)
        with pytest.raises(UnusableResult, match="exit status 7") as error:
            client.read(outcome)
        assert "ValueError: no such host" in error.value.message

    def test_a_client_that_wrote_nothing_is_not_believed(self, tmp_path: Path) -> None:
        client, order = self.make(), self.order(tmp_path)
        outcome = an_outcome(client, order)
        with pytest.raises(UnusableResult):
            client.read(outcome)
