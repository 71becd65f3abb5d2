"""The configurations that ship with the documentation load, and their commands can be planned."""

from __future__ import annotations

from pathlib import Path

import pytest

from serviceopt_journal.events import Configuration
from serviceoptd.config.load import load
from serviceoptd.config.plugins import benchmark_class, engine_class
from serviceoptd.contract.orders import a_measurement_order, a_service_order, a_workplace
from serviceoptd.domain.settings import RunSettings
from serviceoptd.domain.space.space import Space

EXAMPLES = Path(__file__).parents[3] / "docs" / "examples"
SHIPPED = ("demo", "external-service", "llama-cpp", "sglang", "vllm", "vllm-options")


def loaded(name: str) -> tuple[RunSettings, Configuration]:
    settings = load(EXAMPLES / f"{name}.toml", environment={"PATH": "/usr/bin:/bin"}).settings
    current = Space.of(settings.fields).current()
    assert current is not None
    return settings, current


def commands(name: str, tmp_path: Path) -> list[tuple[str, ...]]:
    settings, current = loaded(name)
    place = a_workplace(tmp_path)
    service = engine_class(settings.engine)(settings.engine_options).plan(
        a_service_order(place, current, settings.fields, managed=settings.manage_lifecycle)
    )
    client = benchmark_class(settings.benchmark)(settings.benchmark_options).plan(
        a_measurement_order(place, current, settings.fields, objective=settings.objective)
    )
    return [plan.command.argv for plan in (service, client) if plan.command is not None]


@pytest.mark.parametrize("name", [*SHIPPED, "ais-bench"])
def test_it_loads_without_a_warning_or_a_placeholder(name: str) -> None:
    result = load(EXAMPLES / f"{name}.toml", environment={"PATH": "/usr/bin:/bin"})
    assert (result.warnings, result.placeholders, result.assumed) == ((), (), "")


@pytest.mark.parametrize(("name", "processes"), list(zip(SHIPPED, (0, 1, 2, 2, 2, 2), strict=True)))
def test_its_commands_have_every_name_replaced(name: str, processes: int, tmp_path: Path) -> None:
    planned = commands(name, tmp_path)
    assert len(planned) == processes
    assert not [word for argv in planned for word in argv if "$" in word]


def test_sglangs_own_client_is_asked_for_the_load_that_is_searched(tmp_path: Path) -> None:
    service, client = commands("sglang", tmp_path)
    assert service[-2:] == ("--mem-fraction-static", "0.88")
    assert client[client.index("--max-concurrency") + 1] == "64"
    assert "--request-rate" not in client


def test_llama_cpps_logical_batch_follows_the_physical_one(tmp_path: Path) -> None:
    service, _ = commands("llama-cpp", tmp_path)
    assert service[service.index("--batch-size") + 1] == "2048"
    assert service[service.index("--ubatch-size") + 1] == "512"
