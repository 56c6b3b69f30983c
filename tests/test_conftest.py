"""The guard of tests/conftest.py guards."""

from __future__ import annotations

import socket

import pytest


@pytest.mark.parametrize("host", ["192.0.2.1", "localhost.example", "2001:db8::1"])
def test_another_machine_cannot_be_reached(host):
    with pytest.raises(BaseException, match="this machine only"):
        socket.create_connection((host, 9), timeout=1)
    with socket.socket() as caller, pytest.raises(BaseException, match="this machine only"):
        caller.connect(("192.0.2.1", 9))


def test_no_datagram_leaves_either():
    with (
        socket.socket(type=socket.SOCK_DGRAM) as caller,
        pytest.raises(BaseException, match="this machine only"),
    ):
        caller.sendto(b"x", ("192.0.2.1", 9))


def test_loopback_can_be_reached():
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(server.getsockname(), timeout=5).close()
