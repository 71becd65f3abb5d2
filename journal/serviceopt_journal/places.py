"""Where the daemon keeps its state and listens. One answer for daemon and client, so that they always meet."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

SYSTEM_STATE = Path("/var/lib/serviceoptd")
SYSTEM_SOCKET = Path("/run/serviceoptd/serviceoptd.sock")
SOCKET_NAME = "serviceoptd.sock"


@dataclass(frozen=True)
class Places:
    """Absolute paths: `state` holds the journal and everything beside it; `socket` is the daemon's."""

    state: Path
    socket: Path


def places(environment: Mapping[str, str] | None = None, *, uid: int | None = None) -> Places:
    """The places of a user, by default of the one who runs this process.

    SERVICEOPT_STATE_DIR and SERVICEOPT_SOCKET win, each for itself; where only the first is set the socket lies in that
    directory, so that a state directory of one's own never talks to the machine's daemon. Otherwise root has the
    machine's places, and everybody else those of the XDG base directories; without XDG_RUNTIME_DIR (containers, su) the
    socket lies in the state directory. Creates nothing.
    """
    variables = os.environ if environment is None else environment
    own_state, own_socket = variables.get("SERVICEOPT_STATE_DIR"), variables.get("SERVICEOPT_SOCKET")
    is_root = (os.geteuid() if uid is None else uid) == 0
    if own_state:
        state = Path(own_state).expanduser().absolute()
        socket = state / SOCKET_NAME
    elif is_root:
        state, socket = SYSTEM_STATE, SYSTEM_SOCKET
    else:
        state = _user_state(variables)
        runtime = variables.get("XDG_RUNTIME_DIR")
        socket = Path(runtime) / "serviceoptd" / SOCKET_NAME if runtime else state / SOCKET_NAME
    return Places(state, Path(own_socket).expanduser().absolute() if own_socket else socket)


def _user_state(variables: Mapping[str, str]) -> Path:
    base = variables.get("XDG_STATE_HOME", "")
    # the XDG specification: a relative path is invalid and ignored
    if not base.startswith("/"):
        base = f"{variables.get('HOME') or Path('~').expanduser()}/.local/state"
    return Path(base) / "serviceoptd"
