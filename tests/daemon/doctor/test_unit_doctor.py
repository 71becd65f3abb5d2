"""The parts of `doctor --unit` that need no systemd: what is needed, what is tried, and what a drop-in says."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from hypothesis import example, given
from hypothesis import strategies as st

from serviceoptd.doctor import drop_ins, unit_probe
from serviceoptd.doctor.needs import needs, roots
from serviceoptd.doctor.unit_doctor import Unit, transient
from serviceoptd.domain.settings import Budget, Objective, RunSettings, Search


def settings(**options: object) -> RunSettings:
    return RunSettings(
        engine="vllm",
        benchmark="vllm_benchmark",
        fields=(),
        objective=Objective(),
        search=Search(),
        budget=Budget(evaluations=1),
        engine_options=options,
    )


def test_models_programs_and_files_in_arguments_are_needed_and_urls_and_whole_trees_are_not(tmp_path: Path) -> None:
    model, template = tmp_path / "model", tmp_path / "chat template.jinja"
    model.mkdir()
    template.touch()
    command = ["/bin/sh", "serve", str(model), f"--chat-template={template}", "--url=/health", "/usr", "./model"]
    found = needs(settings(), [command], tmp_path, devices_directory=tmp_path)
    assert {str(model), str(template)} <= set(found.read)
    assert not {"/usr", "/health"} & set(found.read)
    assert found.enter == (str(tmp_path),)


def test_a_file_that_the_engine_changes_is_needed_for_writing(tmp_path: Path) -> None:
    (tmp_path / "config.json").touch()
    found = needs(settings(config_path=str(tmp_path / "config.json")), [], tmp_path, devices_directory=tmp_path)
    assert found.write == (str(tmp_path / "config.json"),)
    assert found.read == ()


def test_device_nodes_of_every_driver_are_found(tmp_path: Path) -> None:
    for name in ("nvidia0", "nvidiactl", "nvidia-uvm", "davinci3", "davinci_manager", "devmm_svm", "hisi_hdc", "sda"):
        (tmp_path / name).touch()
    found = needs(settings(), [], tmp_path, devices_directory=tmp_path).devices
    assert str(tmp_path / "sda") not in found
    assert len(found) == 7


def test_links_out_of_a_model_lead_to_what_must_be_visible_too(tmp_path: Path) -> None:
    (tmp_path / "blobs").mkdir()
    (tmp_path / "blobs" / "abc").touch()
    snapshot = tmp_path / "snapshots" / "main"
    snapshot.mkdir(parents=True)
    (snapshot / "model.safetensors").symlink_to("../../blobs/abc")
    assert set(roots(snapshot)) == {str(snapshot), str(tmp_path / "blobs")}


def test_a_program_of_a_virtual_environment_needs_the_whole_of_it_and_its_interpreter(tmp_path: Path) -> None:
    (tmp_path / "venv" / "bin").mkdir(parents=True)
    (tmp_path / "python" / "bin").mkdir(parents=True)
    (tmp_path / "venv" / "pyvenv.cfg").write_text(f"home = {tmp_path}/python/bin\n")
    assert set(roots(tmp_path / "venv" / "bin" / "vllm")) == {str(tmp_path / "venv"), str(tmp_path / "python")}


def probed(wanted: dict[str, list[str]], user: int | None = None) -> dict[str, dict[str, str]]:
    """What the probe, run as a program, refuses."""
    # Another user may not be able to run this environment's interpreter; the probe needs the standard library only.
    command = [sys.executable if user is None else "/usr/bin/python3", "-"]
    source = Path(unit_probe.__file__).read_text() + f"\nprint(json.dumps(tried(json.loads({json.dumps(wanted)!r}))))"
    source = source.replace('if __name__ == "__main__":\n    main()\n', "")
    done = subprocess.run(command, input=source, capture_output=True, text=True, check=True, user=user)
    refused: dict[str, dict[str, str]] = json.loads(done.stdout)["refused"]
    return refused


def test_the_probe_tells_what_cannot_be_used_and_why(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    wanted = {
        "read": [str(tmp_path), str(tmp_path / "absent")],
        "write": [str(tmp_path / "file"), str(tmp_path / "absent")],
        "enter": [str(tmp_path), str(tmp_path / "file")],
        "devices": ["/dev/null", str(tmp_path / "absent")],
    }
    absent = {str(tmp_path / "absent"): "no such file or directory"}
    assert probed(wanted) == {
        "read": absent,
        "write": absent,
        "enter": {str(tmp_path / "file"): "not a directory"},
        "devices": absent,
    }
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file"]


def test_one_file_that_may_not_be_read_is_named() -> None:
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o755)
        secret = Path(directory, "weights")
        secret.touch()
        secret.chmod(0)
        refused = probed({"read": [directory]}, user=65534 if os.geteuid() == 0 else None)
    assert refused["read"] == {directory: f"permission denied ({secret})"}


def test_each_file_of_drop_ins_is_printed_once_with_every_setting() -> None:
    first = drop_ins.as_text(drop_ins.proposals("read", "/home/a/model"))
    second = drop_ins.as_text([*drop_ins.proposals("read", "/home/a/data"), *drop_ins.proposals("write", "/opt/conf")])
    assert drop_ins.merged([first, second, first]) == (
        "# /etc/systemd/system/serviceoptd.service.d/models.conf\n[Service]\n"
        "BindReadOnlyPaths=/home/a/model\nBindReadOnlyPaths=/home/a/data\n"
        "# /etc/systemd/system/serviceoptd.service.d/writable.conf\n[Service]\nReadWritePaths=/opt/conf"
    )


def test_a_hidden_path_that_is_written_is_bound_and_not_only_made_writable() -> None:
    assert [name for _, name, _ in drop_ins.proposals("write", "/home/a/conf")] == ["BindPaths"]
    assert [name for _, name, _ in drop_ins.proposals("write", "/usr/local/conf")] == ["ReadWritePaths"]


names = st.text(st.characters(codec="utf-8", exclude_characters="\n\r\x00/"), min_size=1).map(
    lambda name: f"/srv/{name}"
)


@given(st.lists(names, min_size=1, max_size=4))
@example(["/srv/\x1e", "/srv/\x0c", "/srv/\u2028"])
def test_merging_drop_ins_loses_no_path_whatever_it_is_called(paths: list[str]) -> None:
    merged = drop_ins.merged(drop_ins.as_text(drop_ins.proposals("read", path)) for path in paths)
    lines = [line for line in merged.split("\n") if line.startswith("BindReadOnlyPaths=")]
    assert len(lines) == len(set(paths))


def test_the_trial_has_the_sandbox_of_the_unit_and_not_its_directories() -> None:
    unit = Unit(
        {
            "User": ("serviceopt",),
            "ProtectHome": ("tmpfs",),
            "DeviceAllow": ("char-rtc r", "/dev/nvidia0 rw"),
            "StateDirectory": ("serviceoptd",),
            "RuntimeDirectory": ("serviceoptd",),
            "Environment": ('HOME=/var/cache/serviceoptd "A=b c"',),
            "ExecStart": ("{ path=/opt/x/bin/serviceoptd ; argv[]=/opt/x/bin/serviceoptd }",),
        }
    )
    command = transient(unit, [("BindReadOnlyPaths", "/home/a")])
    assert {"--property=User=serviceopt", "--property=ProtectHome=tmpfs", "--setenv=A=b c"} <= set(command)
    assert {"--property=DeviceAllow=char-rtc r", "--property=DeviceAllow=/dev/nvidia0 rw"} <= set(command)
    assert {"--property=BindReadOnlyPaths=/home/a", "--property=ReadWritePaths=-/var/lib/serviceoptd"} <= set(command)
    assert not [each for each in command if "RuntimeDirectory" in each or "=StateDirectory" in each]
    assert unit.python == Path("/opt/x/bin/python")
