"""What is read of the model and the machine when a run is submitted, frozen into its first event."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import msgspec
import pytest

from daemon.rules.machines import GIBIBYTE, Llama
from daemon.service.daemons import a_loop, submitted
from memory_journal import MemoryJournal
from serviceopt_journal import events as e
from serviceoptd.config.reload import changes
from serviceoptd.contract.orders import a_program
from serviceoptd.domain.settings import DeviceFacts, ModelFacts, RunSettings

H100 = "0, GPU-1, 81559, NVIDIA H100 80GB HBM3"


def free_port() -> int:
    """One on which nothing listens."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def settings_of_a_run(tmp_path: Path, *, others: str = "", more: str = "", smi: str = H100) -> tuple[RunSettings, str]:
    """The settings in the event of a submitted run, and the event as the journal has it."""
    a_program(tmp_path, "vllm")
    a_program(tmp_path, "nvidia-smi", f"#!/bin/sh\necho '{smi}'\n")
    Llama().written(tmp_path / "model")
    port = free_port()
    text = f"""
engine = "vllm"
{more}
[vllm.command]
model = "./model"
served_model_name = "m"
port = {port}
others = "{others}"
[vllm_benchmark.command]
port = {port}
model = "./model"
served_model_name = "m"
dataset_name = "random"
"""
    journal = MemoryJournal()

    async def story() -> None:
        context, _ = a_loop(tmp_path, journal)
        environment = {"PATH": f"{tmp_path}/bin:/usr/bin:/bin", "HOME": str(tmp_path)}
        await submitted(context, text, environment=environment)

    asyncio.run(story())
    event = next(r.event for r in journal.records if isinstance(r.event, e.RunSubmitted))
    return msgspec.convert(event.settings, RunSettings), msgspec.json.encode(event).decode()


def test_model_and_devices_are_read_once_and_frozen(tmp_path: Path) -> None:
    settings, _ = settings_of_a_run(tmp_path, others="--gpu-memory-utilization 0.85")
    assert settings.model_facts.weights == 2 * Llama().parameters
    assert settings.model_facts.arguments == {"gpu_memory_utilization": "0.85"}
    assert settings.device_facts == DeviceFacts(
        name="NVIDIA H100 80GB HBM3", memory=81559 * 2**20, bandwidth=3.35e12, flops=989e12
    )


def test_what_the_configuration_says_of_the_devices_comes_first(tmp_path: Path) -> None:
    more = "[device]\nmemory_gb = 64\nbandwidth_gb_s = 1600\ntflops = 300"
    settings, _ = settings_of_a_run(tmp_path, more=more, smi="no devices were found")
    assert settings.device_facts == DeviceFacts(memory=64 * GIBIBYTE, bandwidth=1.6e12, flops=300e12)


def test_of_a_service_that_somebody_else_runs_nothing_is_known(tmp_path: Path) -> None:
    settings, _ = settings_of_a_run(tmp_path, more="[vllm]\nmanage_lifecycle = false")
    assert (settings.model_facts, settings.device_facts) == (ModelFacts(), DeviceFacts())


def test_no_secret_gets_into_the_event_as_an_option(tmp_path: Path) -> None:
    settings, written = settings_of_a_run(tmp_path, others="--api-key sesame --seed 1")
    assert settings.model_facts.arguments == {"api_key": "***", "seed": "1"}
    assert "sesame" not in written


def test_what_was_found_out_is_no_change_of_the_configuration(tmp_path: Path) -> None:
    settings, _ = settings_of_a_run(tmp_path)
    elsewhere = msgspec.structs.replace(settings, model_facts=ModelFacts(), device_facts=DeviceFacts(name="another"))
    assert changes(settings, elsewhere) == ({}, [])


@pytest.mark.parametrize("others", ["--config more.yaml", "--cpu-offload-gb 4"])
def test_an_option_that_changes_the_model_leaves_only_the_options(others: str, tmp_path: Path) -> None:
    settings, _ = settings_of_a_run(tmp_path, others=others)
    assert settings.model_facts.weights is None
    assert settings.model_facts.arguments
