"""The wire over TLS; what it does in clear is in test_client.py."""

from __future__ import annotations

import os
import ssl
import threading
import time

import pytest
import trustme
from wire import FINISH, SOON_S, STALL_S, STREAM, WireServer, delta, whole

from ornb import errors
from ornb.api import transport
from ornb.api.client import Client
from ornb.api.reply import Reply


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
    with WireServer([STREAM, delta("A part"), STALL_S], tls=tls) as server:
        stream = Client(base_url=server.url).stream("Hi")
        events = iter(stream)
        next(events)
        threading.Timer(0.1, stream.close).start()
        began = time.perf_counter()
        assert list(events) == []
        assert time.perf_counter() - began < SOON_S
    assert (stream.reply.text, stream.reply.status) == ("A part", "stopped")


@pytest.mark.usefixtures("trusted")
def test_a_companys_certificates_are_read_once(tls) -> None:
    transport.tls_context.cache_clear()
    with WireServer([STREAM, delta("A"), FINISH], tls=tls) as server:
        for _ in range(3):
            list(Client(base_url=server.url).stream("Hi"))
    assert server.connections == 3
    assert transport.tls_context.cache_info().currsize == 1
    transport.tls_context.cache_clear()


def test_certificates_that_are_not_there_are_named(tls, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "none.pem"))
    calls: list[Reply] = []
    with WireServer([STREAM, FINISH], tls=tls) as server:
        asked = Client(base_url=server.url, on_call=calls.append)
        with pytest.raises(errors.ConfigError, match=r"none\.pem.*REQUESTS_CA_BUNDLE"):
            asked.chat("Hi")
    assert [call.status for call in calls] == ["error"]
    assert calls[0].error is not None


def test_no_proxy_is_told_what_stays_on_this_machine(monkeypatch) -> None:
    with WireServer([whole({}, 403)]) as proxy, WireServer([STREAM, delta("A"), FINISH]) as server:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url.removesuffix("/api/v1"))
        for name in ("no_proxy", "NO_PROXY"):
            monkeypatch.delenv(name, raising=False)
        stream = Client("sk-or-v1-0123456789", base_url=server.url).stream("Hi")
        list(stream)
    assert stream.reply.text == "A"
    assert proxy.requests == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_fork_has_connections_of_its_own() -> None:
    with WireServer([STREAM, delta("A"), 0.2, delta("B"), FINISH]) as server:
        asked = Client(base_url=server.url)
        list(asked.stream("Hi"))
        child = os.fork()
        stream = asked.stream("Hi")
        list(stream)
        whole_answer = stream.reply.text == "AB"
        if child == 0:
            os._exit(0 if whole_answer else 1)
        assert whole_answer
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert server.connections == 2, "the parent kept its own"


@pytest.mark.parametrize("body", [{"detail": "a fuse"}, b"Internal Server Error"])
def test_a_server_that_fell_over_is_asked_again_on_a_new_connection(body) -> None:
    """Starlette's closes after a 500, and does not say so: the next question would meet that."""
    fell = [whole(body, 500), 0.3, "close"]
    with WireServer(fell, [STREAM, delta("A"), FINISH]) as server:
        asked = Client(base_url=server.url)
        with pytest.raises(errors.ServerError):
            asked.chat("Hi")
        stream = asked.stream("Hi")
        list(stream)
    assert stream.reply.text == "A"
    assert server.connections == 2


def test_a_connection_that_was_idle_for_long_is_not_trusted(monkeypatch) -> None:
    with WireServer([STREAM, delta("A"), FINISH]) as server:
        asked = Client(base_url=server.url)
        list(asked.stream("Hi"))
        later = time.time() + transport.IDLE_S
        monkeypatch.setattr(transport.time, "time", lambda: later)
        list(asked.stream("Hi"))
        list(asked.stream("Hi"))
    assert server.connections == 2


def test_an_interrupt_while_a_call_is_booked_takes_no_row() -> None:
    def settle(*_: object) -> None:
        raise KeyboardInterrupt

    calls: list[Reply] = []
    with WireServer([STREAM, delta("A"), FINISH]) as server:
        asked = Client(base_url=server.url, on_call=calls.append, before_call=lambda *_: settle)
        with pytest.raises(KeyboardInterrupt):
            list(asked.stream("Hi"))
    assert [call.text for call in calls] == ["A"]
