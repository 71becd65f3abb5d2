"""Which server a client's command line really asks: flags with an address win over host and port. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from serviceopt_journal.foreign_text import whole_number
from serviceoptd.toolkit.arguments import flag_of, runs_a_shell, value_of
from serviceoptd.toolkit.endpoint import LOOPBACK_NAME, is_loopback, reachable

URL_FLAGS = (
    "--base-url", "--url", "--target", "--api-base", "--api-url", "--server-url", "--endpoint-url", "--openai-base-url",
    "--openai-api-base", "--service-url", "--server", "-u",
)  # fmt: skip
"""How clients of LLM services call the flag with the server's address."""
URL_VARIABLE = re.compile(r"(\w+_)?(BASE_URL|API_BASE)")
DEFAULT_PORTS = {"http": 80, "https": 443}
_EVERYWHERE = ("0.0.0.0", "::", "", "*")  # noqa: S104 - compared with, never listened on


@dataclass(frozen=True)
class Asked:
    """An address that a client asks, and the words that say so. None: that half is not said."""

    words: str
    host: str | None
    port: int | None
    tls: bool = False


def address_in(url: str, words: str) -> Asked | None:
    """The address of `http://HOST:PORT/...`, or of HOST:PORT alone; None: it is neither."""
    text = url if "://" in url else f"//{url}"
    try:
        parts = urlsplit(text)
        port = parts.port or DEFAULT_PORTS.get(parts.scheme)
    except ValueError:
        return None
    if not parts.hostname or port is None:
        return None
    return Asked(words, parts.hostname, port, tls=parts.scheme == "https")


def asked_in(
    argv: Sequence[str], aliases: Mapping[str, str] | None = None, environment: Mapping[str, str] | None = None
) -> list[Asked]:
    """Every address in a client's command line and in the variables that it is given.

    A URL counts behind a flag of `URL_FLAGS`, in a variable such as OPENAI_BASE_URL, and by itself. Nothing is said of
    what a shell in the command line does.
    """
    if runs_a_shell(argv):
        return []
    found = [address_in(url, f"{flag} {url}") for flag in URL_FLAGS if (url := value_of(flag, argv, aliases))]
    if not any(found):
        host, port = value_of("--host", argv, aliases), value_of("--port", argv, aliases)
        # some clients, such as Locust, take a whole address there
        found += [address_in(host, f"--host {host}") or Asked(f"--host {host}", host, None)] if host else []
        number = whole_number(port or "")
        found += [] if number is None else [Asked(f"--port {port}", None, number)]
        alone = [
            word for before, word in zip(("", *argv), argv, strict=False) if "://" in word and not flag_of(word)
            and not flag_of(before)
        ]  # fmt: skip
        found += [address_in(word, word) for word in alone]
    variables = (environment or {}).items()
    found += [address_in(value, f"{name}={value}") for name, value in variables if URL_VARIABLE.fullmatch(name)]
    return [asked for asked in found if asked is not None]


def same_server(asked: Asked, host: str, port: int) -> bool:
    """Whether that address reaches the service that listens on this host and port, as far as it is said."""
    if asked.port is not None and asked.port != port:
        return False
    if asked.host is None or host in _EVERYWHERE:
        return True
    ours, theirs = reachable(host), reachable(asked.host)
    by_name = LOOPBACK_NAME in (ours, theirs)  # of two loopback addresses each may have a server of its own
    return ours == theirs or (by_name and is_loopback(ours) and is_loopback(theirs))
