"""Can the hardened unit do the job? Tried by effect, as the service's user, and mended by drop-ins that were tried too.

A transient unit with the sandboxing of the installed one runs `unit_probe`. What is refused there is tried again with
the drop-in that should mend it: a drop-in is only recommended after it has helped. Needs root and a running systemd;
the installed unit, its state and its socket are not touched.
"""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from serviceopt_journal.errors import EnvironmentLacks
from serviceopt_journal.foreign_text import json_value
from serviceoptd.doctor.drop_ins import DROP_IN_DIRECTORY, Settings, as_text, beside, proposals
from serviceoptd.doctor.finding import Finding, fail, ok, warn
from serviceoptd.doctor.needs import Needs

UNIT = "serviceoptd.service"
ENOUGH_FILES = 65536  # open files of an engine and a client with thousands of connections
TIME_LIMIT = 60.0  # seconds for one probe: it opens every file of a model

COPIED = (
    "User", "Group", "SupplementaryGroups", "UMask", "NoNewPrivileges",
    "ProtectSystem", "ProtectHome", "PrivateTmp", "PrivateDevices", "PrivateUsers",
    "ReadWritePaths", "ReadOnlyPaths", "InaccessiblePaths", "ExecPaths", "NoExecPaths",
    "BindPaths", "BindReadOnlyPaths", "TemporaryFileSystem",
    "DevicePolicy", "DeviceAllow", "LimitNOFILE", "LimitMEMLOCK",
)  # fmt: skip
"""What decides which paths and devices a process of the unit can use. Its directories are shown, never made."""


@dataclass(frozen=True)
class Unit:
    """The installed unit, as `systemctl show` tells it."""

    properties: Mapping[str, tuple[str, ...]]

    def one(self, name: str) -> str:
        """The value of a property, or the empty text."""
        return next(iter(self.properties.get(name, ())), "")

    @property
    def python(self) -> Path:
        """The interpreter of the installation that the unit starts."""
        found = re.search(r"path=(\S+) ;", self.one("ExecStart"))
        return Path(found[1] if found else "/opt/serviceopt/bin/serviceoptd").parent / "python"


def examine_unit(needs: Needs, *, is_root: bool, unit_name: str = UNIT) -> Iterator[Finding]:
    """Whether the unit's processes can use what a configuration needs; a drop-in for what they cannot.

    Raises:
        EnvironmentLacks: systemd does not answer, or the trial itself cannot be made.
    """
    unit = installed(unit_name)
    if unit.one("LoadState") != "loaded":
        yield fail("unit", f"{unit_name} is not installed ({unit.one('LoadState')})", "`make install` as root")
        return
    yield from _directives(unit, unit_name)
    if not is_root:
        yield fail(
            "unit's sandbox", "only root can look from inside it", f"`sudo serviceoptctl doctor --unit` for {unit_name}"
        )
        return
    before = probe(unit, needs)
    yield ok("unit's user", f"{unit.one('User') or 'root'} (uid {before['uid']}), groups {_joined(before['groups'])}")
    yield from _paths(unit, needs, before)
    yield from _caches(before)
    yield from _limits(unit, before)


def installed(unit_name: str) -> Unit:
    """What systemd knows of a unit.

    Raises:
        EnvironmentLacks: no systemd answers.
    """
    wanted = [*COPIED, "LoadState", "ExecStart", "Environment", "Delegate", "WatchdogUSec", "Type", "NotifyAccess"]
    wanted += ["StateDirectory", "CacheDirectory", "NeedDaemonReload", "ProtectControlGroups"]
    output = _run(["systemctl", "show", unit_name, *(f"--property={name}" for name in wanted)])
    properties: dict[str, tuple[str, ...]] = {}
    for line in output.splitlines():
        name, _, value = line.partition("=")
        if value:
            properties[name] = (*properties.get(name, ()), value)
    return Unit(properties)


def probe(unit: Unit, needs: Needs, extra: Settings = ()) -> dict[str, Any]:
    """What `unit_probe` tells from inside the unit's sandbox, with `extra` settings as a drop-in would add them.

    Raises:
        EnvironmentLacks: the transient unit cannot be started.
    """
    output = _run([*transient(unit, extra), str(unit.python), "-m", "serviceoptd.doctor.unit_probe"], asdict(needs))
    try:
        told: dict[str, Any] = json_value(output)
    except ValueError as error:
        raise EnvironmentLacks(f"the check inside the unit's sandbox gave no result: {output[:200]!r}") from error
    return told


def transient(unit: Unit, extra: Settings) -> list[str]:
    """The `systemd-run` command line of a unit with the same sandboxing.

    The directories that systemd makes for the unit are shown where they exist, and not made: a transient unit would
    remove its runtime directory at its end, and with it the daemon's socket.
    """
    settings = [(name, value) for name in COPIED for value in unit.properties.get(name, ())]
    owned = [f"-/var/lib/{name}" for name in unit.one("StateDirectory").split()]
    owned += [f"-/var/cache/{name}" for name in unit.one("CacheDirectory").split()]
    settings.append(("ReadWritePaths", " ".join(owned)))
    settings += list(extra)
    environment = [f"--setenv={entry}" for entry in shlex.split(unit.one("Environment"))]
    return [
        "systemd-run", "--pipe", "--wait", "--quiet", "--collect", "--service-type=exec", *environment,
        *(f"--property={name}={value}" for name, value in settings if value),
    ]  # fmt: skip


def _directives(unit: Unit, unit_name: str) -> Iterator[Finding]:
    if unit.one("NeedDaemonReload") == "yes":
        yield warn("unit", f"{unit_name} was changed on disk since systemd read it", "systemctl daemon-reload")
    for name, wanted, why in (
        ("Type", "notify", "systemd must know when the journal is verified"),
        ("Delegate", "yes", "each service gets a cgroup of its own"),
        ("ProtectControlGroups", "no", "a delegated cgroup must be writable"),
        ("PrivateUsers", "no", "the socket must know who calls"),
    ):
        if unit.one(name) != wanted:
            yield warn("unit", f"{name}={unit.one(name) or '(not set)'}: {why}", f"set {name}={wanted}")


def _paths(unit: Unit, needs: Needs, before: Mapping[str, Any]) -> Iterator[Finding]:
    refused: dict[str, dict[str, str]] = before["refused"]
    proposed = [each for kind, paths in refused.items() for path in paths for each in proposals(kind, path)]
    settings = [(name, value) for _, name, value in proposed]
    mended = probe(unit, needs, settings)["refused"] if settings else refused
    for kind, paths in (
        ("read", needs.read),
        ("write", needs.write),
        ("enter", needs.enter),
        ("devices", needs.devices),
    ):
        for path in paths:
            reason = refused[kind].get(path)
            if reason is None:
                yield ok(_LABELS[kind], path)
                continue
            yield _refused(unit, kind, path, reason, mended[kind].get(path))


def _refused(unit: Unit, kind: str, path: str, reason: str, still: str | None) -> Finding:
    """`still`: what is refused with the drop-in; None when it mends all. One that changes nothing is not recommended."""
    drop_in = as_text([*proposals(kind, path), *beside(kind)]) if still != reason else ""
    if still is None:
        return Finding(_LABELS[kind], "fail", f"{path}: {reason}", "install the drop-in below", drop_in)
    told = reason if still == reason else f"{reason}, with the drop-in below {still}"
    return Finding(_LABELS[kind], "fail", f"{path}: {told}", _permission(unit, kind, path), drop_in)


_LABELS = {"read": "unit reads", "write": "unit writes", "enter": "unit starts in", "devices": "unit's device"}


def _permission(unit: Unit, kind: str, path: str) -> str:
    user = unit.one("User") or "root"
    if kind == "devices":
        return f"the node belongs to {Path(path).group()}: the user {user} needs its permission"
    rights = "rwX" if kind == "write" else "rX"
    return f"also allow the user: setfacl -R -m u:{user}:{rights} {shlex.quote(path)}"


def _caches(told: Mapping[str, Any]) -> Iterator[Finding]:
    for name, reason in told["caches_refused"].items():
        place = told["caches"].get(name, "(not set)")
        text = as_text(
            [("caches", "CacheDirectory", "serviceoptd"), ("caches", "Environment", f"{name}=/var/cache/serviceoptd")]
        )
        if place == "/var/cache/serviceoptd" and reason == "no such file or directory":
            yield ok("unit's caches", f"{name}={place}, which systemd makes at the start")
        else:
            yield Finding("unit's caches", "fail", f"{name}={place}: {reason}", "install the drop-in below", text)
    for name in told["caches"].keys() - told["caches_refused"].keys():
        yield ok("unit's caches", f"{name}={told['caches'][name]}")


def _limits(unit: Unit, told: Mapping[str, Any]) -> Iterator[Finding]:
    """Limits that a unit asks for and does not get are those of the machine (or container) itself."""
    for label, setting, has, enough, wanted in (
        ("open files", "LimitNOFILE", told["open_files"], told["open_files"] >= ENOUGH_FILES, "1048576"),
        ("bytes of locked memory", "LimitMEMLOCK", told["locked_memory"], told["locked_memory"] == -1, "infinity"),
    ):
        if enough:
            continue
        if unit.one(setting) == wanted:
            yield warn(
                "unit's limits", f"at most {has} {label}, although {setting}={wanted}: this machine allows no more"
            )
        else:
            text = as_text([("limits", setting, wanted)])
            yield Finding("unit's limits", "warn", f"at most {has} {label}", "install the drop-in below", text)


def _joined(values: Sequence[object]) -> str:
    return " ".join(map(str, values))


def _run(command: list[str], document: object = None) -> str:
    try:
        done = subprocess.run(  # noqa: S603 - systemd's own programs, by words of ours
            command,
            input=json.dumps(document) if document is not None else "",
            capture_output=True,
            text=True,
            timeout=TIME_LIMIT,
            check=False,
        )
    except FileNotFoundError as error:
        raise EnvironmentLacks(
            f"{command[0]} is not here: this machine does not run systemd", hint="leave out --unit"
        ) from error
    except subprocess.TimeoutExpired as error:
        raise EnvironmentLacks(f"{command[0]} took longer than {TIME_LIMIT:.0f} s") from error
    if done.returncode:
        reason = done.stderr.strip().splitlines()[-1:] or [f"exit status {done.returncode}"]
        raise EnvironmentLacks(
            f"{command[0]} failed: {reason[0]}",
            hint=f"drop-ins of the unit lie in {DROP_IN_DIRECTORY}; `systemctl status {UNIT}` may tell more",
        )
    return done.stdout
