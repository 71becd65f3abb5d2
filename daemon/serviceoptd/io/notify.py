"""Telling systemd how we are (sd_notify(3)). Does nothing where no NOTIFY_SOCKET is set."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping

from serviceopt_journal.unseen import visible


class ServiceNotifier:
    """The service manager's socket. A message that cannot be delivered is dropped: it must never stop the work.

    `environment` is read once; our children get it without NOTIFY_SOCKET (`children_environment.isolated`).
    """

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        address = environment.get("NOTIFY_SOCKET", "")
        # A leading @ stands for the zero byte of Linux's abstract socket names.
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._watchdog = _watchdog_interval(environment)

    @property
    def supervised(self) -> bool:
        """Whether a supervisor, such as systemd, listens."""
        return self._address.startswith(("/", "\0"))

    def watchdog_interval(self) -> float | None:
        """Seconds within which `alive` is expected again and again; None: not expected of this process."""
        return self._watchdog

    def ready(self, status: str = "") -> bool:
        """Start-up is over: `systemctl start` returns now."""
        return self._send("READY=1", *_status(status))

    def status(self, text: str) -> bool:
        """One line for `systemctl status`."""
        return self._send(*_status(text))

    def alive(self) -> bool:
        """Tells systemd's watchdog that the daemon is alive."""
        return self._send("WATCHDOG=1")

    def stopping(self, status: str = "") -> bool:
        """Reports that the daemon has begun to end."""
        return self._send("STOPPING=1", *_status(status))

    def extend_timeout(self, seconds: float) -> bool:
        """Asks for this much more time for starting or stopping, from now on."""
        return self._send(f"EXTEND_TIMEOUT_USEC={int(seconds * 1_000_000)}")

    def _send(self, *lines: str) -> bool:
        if not self.supervised or not lines:
            return False
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
                sender.setblocking(False)
                sender.sendto("\n".join(lines).encode(), self._address)
        except OSError:
            return False
        return True


def _status(text: str) -> tuple[str, ...]:
    # A line break would begin another assignment.
    return (f"STATUS={visible(' '.join(text.split()))}",) if text else ()


def _watchdog_interval(environment: Mapping[str, str]) -> float | None:
    try:
        microseconds = int(environment.get("WATCHDOG_USEC", "0"))
        process = int(environment.get("WATCHDOG_PID", "0"))
    except ValueError:
        return None
    if microseconds <= 0 or process not in (0, os.getpid()):
        return None
    return microseconds / 1_000_000
