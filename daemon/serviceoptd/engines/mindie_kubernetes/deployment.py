"""What the deployment file of the scripts tells: the node port, the accelerators, the ratio that wins. Pure.

The file is the user's own, written for kubectl. Three kinds of its lines are of interest, each in the block style in which
MindIE ships them. So it is read line by line, and a YAML library is not needed for one number.
"""

from __future__ import annotations

import re

from serviceopt_journal.errors import InvalidConfiguration
from serviceopt_journal.foreign_text import whole_number

RATES = {"default_p_rate": "MINDIE_MS_P_RATE", "default_d_rate": "MINDIE_MS_D_RATE"}
"""Positions of conf/ms_controller.json, and the variables of the pod that win over them (MindIE's manual of the
controller, "Configuration Description")."""

_NODE_PORT = re.compile(r"^\s*(?:-\s+)?[\"']?nodePort[\"']?\s*:\s*(.*?)\s*$")
_ACCELERATORS = re.compile(r"^\s*[\"']?huawei\.com/Ascend[\w-]*[\"']?\s*:\s*[\"']?(\d+)[\"']?\s*$")
_COMMENT = re.compile(r"(^|\s)#.*$")


def node_port(text: str, source: str) -> int:
    """The node port under which the service is reached; of several the first one.

    Raises:
        InvalidConfiguration: there is none, or it is no port.
    """
    for line in _lines(text):
        if match := _NODE_PORT.match(line):
            given = match[1].strip("\"'")
            port = whole_number(given)
            if port is None or not 1 <= port <= 65535:
                raise InvalidConfiguration(
                    f"{source}: nodePort is {match[1] or 'empty'}, not a port", hint="correct it, or give node_port"
                )
            return port
    raise InvalidConfiguration(
        f"{source} has no line `nodePort: NUMBER`, so nobody outside the cluster can reach the service",
        hint="add it to the ports of the service (type: NodePort), or give node_port in [kubectl]",
    )


def accelerators(text: str) -> int | None:
    """NPUs that one pod asks for; None: the file does not say."""
    found = [int(match[1]) for line in _lines(text) if (match := _ACCELERATORS.match(line))]
    return max(found) if found and max(found) > 0 else None  # limits and requests name the same ones


def winning_variable(text: str, position: str) -> str | None:
    """The pod's variable that makes a value at this position of ms_controller.json ineffective; None: it is not set."""
    variable = RATES.get(position)
    if variable is None:
        return None
    return variable if any(re.search(rf"\b{variable}\b", line) for line in _lines(text)) else None


def _lines(text: str) -> list[str]:
    return [_COMMENT.sub("", line) for line in text.splitlines()]
