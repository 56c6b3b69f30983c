"""The wire over TLS; what it does in clear is in test_client.py."""

from __future__ import annotations

import ssl
import threading
import time

import pytest
import trustme
from wire import FINISH, STREAM, WireServer, delta

from ornb import errors
from ornb.client import Client
from ornb.wire import transport


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def tls(authority) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return context


@pytest.fixture
def trusted(authority, tmp_path, monkeypatch) -> None:
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "ca.pem"))


def test_a_certificate_nobody_vouches_for_is_refused(tls) -> None:
    with WireServer([STREAM, FINISH], tls=tls) as server:
        asked = Client("sk-secret", base_url=server.url, retries=0)
        with pytest.raises(errors.ConnectionFailed, match="REQUESTS_CA_BUNDLE"):
            list(asked.stream("Hi"))
        assert server.requests == [], "the key did not leave"


@pytest.mark.usefixtures("trusted")
def test_a_companys_own_certificate_is_taken_from_the_environment(tls) -> None:
    with WireServer([STREAM, delta("A"), FINISH], tls=tls) as server:
        asked = Client(base_url=server.url)
        for _ in range(2):
            stream = asked.stream("Hi")
            list(stream)
    assert (stream.reply.text, server.connections) == ("A", 1)


def test_the_shared_context_carries_the_certificates(authority, tls, tmp_path, monkeypatch) -> None:
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setattr(transport, "DEFAULT_CA_BUNDLE_PATH", str(tmp_path / "ca.pem"))
    transport.tls_context.cache_clear()
    try:
        with WireServer([STREAM, delta("A"), FINISH], tls=tls) as server:
            for _ in range(2):
                stream = Client(base_url=server.url).stream("Hi")
                list(stream)
        assert stream.reply.text == "A"
        assert transport.tls_context.cache_info().misses == 1, "one context a process"
    finally:
        transport.tls_context.cache_clear()


@pytest.mark.usefixtures("trusted")
def test_stop_wakes_a_stalled_read_over_tls(tls) -> None:
    with WireServer([STREAM, delta("A part"), 5.0], tls=tls) as server:
        stream = Client(base_url=server.url).stream("Hi")
        events = iter(stream)
        next(events)
        threading.Timer(0.1, stream.close).start()
        began = time.perf_counter()
        assert list(events) == []
        assert time.perf_counter() - began < 1
    assert (stream.reply.text, stream.reply.status) == ("A part", "stopped")
