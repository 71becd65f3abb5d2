from __future__ import annotations

import os
import socket

import psutil
import pytest

from serviceopt_journal.errors import ExitCode
from serviceoptd.io.ports import PortHolder, PortTaken, ensure_free, holder


def listening(host: str = "127.0.0.1", family: socket.AddressFamily = socket.AF_INET) -> socket.socket:
    server = socket.socket(family)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the servers that we start do
    server.bind((host, 0))
    server.listen()
    return server


def test_a_taken_port_is_told_with_its_holder_and_what_to_do() -> None:
    with listening() as server:
        port = server.getsockname()[1]
        assert holder("127.0.0.1", port) == PortHolder(os.getpid(), psutil.Process().name())
        with pytest.raises(PortTaken) as caught:
            ensure_free("127.0.0.1", port)
    assert f"port {port} on 127.0.0.1 is taken by process {os.getpid()}" in caught.value.message
    assert "`port`" in caught.value.hint
    assert caught.value.exit_code == ExitCode.ENVIRONMENT


@pytest.mark.parametrize(("listens", "wanted"), [("0.0.0.0", "127.0.0.1"), ("127.0.0.1", "0.0.0.0"), ("127.0.0.1", "")])  # noqa: S104
def test_listening_on_every_address_collides_with_listening_on_one(listens: str, wanted: str) -> None:
    with listening(listens) as server:
        assert holder(wanted, server.getsockname()[1]) is not None


def test_a_port_is_free_again_after_its_server_though_connections_linger() -> None:
    with listening() as server:
        address = server.getsockname()
        with socket.create_connection(address):
            accepted, _ = server.accept()
            accepted.close()  # the server closes first, so its end stays in TIME_WAIT
    ensure_free(*address)
    assert holder("localhost", address[1]) is None


def test_an_address_that_is_not_ours_is_held_by_nobody_we_know() -> None:
    assert holder("192.0.2.1", 8000) is None
    assert holder("no such host", 8000) is None


def test_a_holder_that_we_are_not_told_of_is_another_process() -> None:
    assert "taken by another process" in PortTaken("h", 1, PortHolder(None, None)).message
