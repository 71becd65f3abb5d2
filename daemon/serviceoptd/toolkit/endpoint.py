"""Host and port of a service, as a configuration writes them and as a client reaches them. Pure."""

from __future__ import annotations

import ipaddress
from typing import Annotated

from pydantic import AfterValidator, StrictInt

from serviceopt_journal.errors import InvalidConfiguration
from serviceopt_journal.foreign_text import whole_number
from serviceoptd.toolkit.interface import Problem


def _in_range(port: int | str) -> int | str:
    number = port if isinstance(port, int) else whole_number(port.strip())
    if number is not None and not 1 <= number <= 65535:
        raise ValueError(f"{number} is not a port: 1 to 65535")
    return port


LOOPBACK_NAME = "localhost"
"""The name of this machine to itself, whatever its addresses."""

Port = Annotated[StrictInt | str, AfterValidator(_in_range)]
"""8000 or "8000". Another text is a placeholder: tolerated while loading, reported by `problems()`."""


def port_number(port: int | str, key: str) -> int:
    """The port as a number.

    Raises:
        InvalidConfiguration: it is still a placeholder.
    """
    number = port if isinstance(port, int) else whole_number(port.strip())
    if number is not None:
        return number
    raise InvalidConfiguration(f'{key} is "{port}", not a number', hint="give the port, such as 8000")


def port_problem(port: int | str, key: str) -> list[Problem]:
    """What is wrong with the port, if anything."""
    try:
        port_number(port, key)
    except InvalidConfiguration as error:
        return [Problem(key, f'"{port}" is not a port', error.hint, configuration=True)]
    return []


def placeholder_problem(value: str, placeholder: str, key: str, wanted: str) -> list[Problem]:
    """A value that is empty, or still the one of the example configuration."""
    if value == placeholder:
        return [Problem(key, f'is still the placeholder "{placeholder}"', f"give {wanted}")]
    return [] if value else [Problem(key, "is empty", f"give {wanted}")]


def reachable(host: str) -> str:
    """Where a service that listens on this address is reached from this machine."""
    return {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "*": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - compared, not bound


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach it."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == LOOPBACK_NAME
