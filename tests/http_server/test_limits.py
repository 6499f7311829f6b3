"""Limits for clients: connections, time, and the bodies of all requests together."""

from __future__ import annotations

import os
import resource
import threading
import time
from collections.abc import Callable
from dataclasses import replace

import pytest

from .conftest import LIMITS, Serve, connections, read_to_end

HEAD = b"POST /a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 90000\r\n\r\n"
WAITING = {
    "idle": b"",
    "slow head": b"GET / HTTP/1.1\r\nX-Slow: ",
    "slow body": HEAD + b"{",
    "slow chunks": b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nff\r\n{",
}


@pytest.mark.parametrize("kind", WAITING)
def test_too_many_connections_do_not_lock_out_new_clients(serve: Serve, kind: str) -> None:
    running = serve()
    with connections(running, 3 * LIMITS.connections, WAITING[kind]):
        for _ in range(5):
            started = time.monotonic()
            assert running.is_well()
            assert time.monotonic() - started < 5


@pytest.mark.parametrize("kind", WAITING)
def test_a_request_that_arrives_byte_by_byte_times_out(serve: Serve, kind: str) -> None:
    running = serve(replace(LIMITS, request_seconds=1))
    with connections(running, 1, WAITING[kind]) as (client,):
        client.settimeout(0.2)
        deadline = time.monotonic() + 15
        while time.monotonic() < deadline:
            try:
                if not client.recv(1000):
                    break
            except TimeoutError:
                if kind != "idle":
                    client.sendall(b"x")
            except ConnectionError:
                break
        assert time.monotonic() < deadline
    assert running.application.seen == []


def test_an_unread_response_occupies_no_thread(serve: Serve) -> None:
    running = serve()
    pipelined = b"GET /a HTTP/1.1\r\nHost: localhost\r\n\r\n" * 200
    with connections(running, LIMITS.threads + 1, pipelined):
        assert running.is_well()


def test_an_unread_response_times_out(serve: Serve, wait_until: Callable[..., None]) -> None:
    running = serve(replace(LIMITS, request_seconds=1))
    channels = running.server._server.active_channels
    large = b"GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with connections(running, 2, large, receive_buffer_bytes=2048):
        wait_until(lambda: sum(each.held_bytes for each in list(channels.values())) > 0, what="a response")
        wait_until(lambda: not channels, what="closed connections")


HOLDING = {
    # Each body is announced and almost complete.
    "bodies": (HEAD + b"x" * 80_000, 30, 1_000_000),
    # Each response is requested, but not read beyond the kernel's buffers.
    "responses": (b"GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n", 10, 12_000_000),
}


@pytest.mark.parametrize("kind", HOLDING)
def test_the_memory_of_all_clients_is_bounded(
    serve: Serve, wait_until: Callable[..., None], kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    sent, count, limit_bytes = HOLDING[kind]
    running = serve(replace(LIMITS, connections=40, held_bytes=limit_bytes))

    def held() -> list[int]:
        return [each.held_bytes for each in list(running.server._server.active_channels.values())]

    with connections(running, count, sent, receive_buffer_bytes=2048):
        wait_until(lambda: running.is_well() and limit_bytes / 2 < sum(held()) <= limit_bytes, what="clients given up")
        reason = "clients use too much memory"
        wait_until(lambda: reason in str([vars(each) for each in caplog.records]), what="a warning")
        assert running.is_well()


CHUNKED = b"POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
#: Almost all bytes on the wire are framing.
COSTLY = {
    "one byte each": b"1\r\nx\r\n" * 30_000,
    "extensions": b"1;name=value\r\nx\r\n" * 20_000,
    "one extension": b"1;" + b"x" * 300_000,
    "a trailer": b"0\r\nX: " + b"x" * 300_000,
    "as small as allowed": b"6\r\nxxxxxx\r\n" * 15_000,
}


@pytest.mark.parametrize("kind", COSTLY)
def test_tiny_chunks_do_not_make_other_clients_wait(serve: Serve, kind: str) -> None:
    running = serve(replace(LIMITS, body_bytes=1_000_000, held_bytes=10_000_000))
    request = CHUNKED + COSTLY[kind] + b"0\r\n\r\n"
    senders = [threading.Thread(target=running.exchange, args=(request,)) for _ in range(4)]
    for sender in senders:
        sender.start()
    waits = []
    while any(sender.is_alive() for sender in senders):
        started = time.monotonic()
        assert running.is_well()
        waits.append(time.monotonic() - started)
    assert max(waits, default=0) < 5
    assert running.application.seen.count(("POST", "/a")) == (4 if kind == "as small as allowed" else 0)


def test_a_process_without_free_files_waits_and_does_not_spin(serve: Serve) -> None:
    running = serve()
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    client = running.connect()
    try:
        # The lowest free descriptor is next; the client above has used what it needs.
        free = min(set(range(4096)) - {int(each) for each in os.listdir("/proc/self/fd")})
        late = running.connect()
        resource.setrlimit(resource.RLIMIT_NOFILE, (free + 1, before[1]))
        used = time.process_time()
        late.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        time.sleep(1)
        assert time.process_time() - used < 0.5
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
        assert read_to_end(late).startswith(b"HTTP/1.1 200")
        late.close()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
        client.close()


def test_without_free_files_no_connection_is_closed_if_none_waits(serve: Serve) -> None:
    running = serve()
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    with running.connect() as client:
        client.sendall(b"GET / HTTP/1.1\r\n")
        assert running.is_well()
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (3, before[1]))
            # As in the loop turn in which the last file was used.
            assert running.server._server.accept() is None
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, before)
        client.sendall(b"Host: localhost\r\nConnection: close\r\n\r\n")
        assert read_to_end(client).startswith(b"HTTP/1.1 200")


def test_the_file_limit_reduces_the_connection_limit() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (96, before[1]))
        assert LIMITS.max_connections() == 16
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_an_application_that_exits_loses_its_connection_but_no_thread(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    running = serve()
    for _ in range(LIMITS.threads + 1):
        assert running.exchange(b"GET /exit HTTP/1.1\r\nHost: localhost\r\n\r\n") == b""
    assert running.is_well()
    assert "SystemExit" in caplog.text


@pytest.mark.parametrize("chunks", [2_000, 10**9])
def test_a_long_response_that_is_not_read_frees_its_thread(
    serve: Serve, wait_until: Callable[..., None], chunks: int
) -> None:
    running = serve(replace(LIMITS, request_seconds=1))
    running.application.chunks = chunks
    request = b"GET /stream HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with connections(running, LIMITS.threads, request, receive_buffer_bytes=4096):
        wait_until(lambda: running.application.streaming == LIMITS.threads)
        assert running.is_well()
        wait_until(lambda: running.application.streaming == 0)


def test_a_long_response_that_is_read_slowly_is_sent_to_its_end(serve: Serve) -> None:
    running = serve(replace(LIMITS, request_seconds=1))
    running.application.chunks = 100
    with running.connect() as client:
        client.sendall(b"GET /stream HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        received = b""
        while part := client.recv(1_000_000):
            received += part
            time.sleep(0.05)
    assert received.endswith(b"\r\n0\r\n\r\n")
    assert received.count(b"x" * 65_536) == 100
