"""A stopping server answers open requests within its time limit, and accepts no new ones."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from types import FrameType

import pytest

from .conftest import Serve, read_to_end

WAIT = b"GET /wait HTTP/1.1\r\nHost: localhost\r\n\r\n"


def test_an_open_request_is_answered_and_a_new_connection_refused(
    serve: Serve, wait_until: Callable[..., None]
) -> None:
    running = serve()
    with running.connect() as client, running.connect():
        client.sendall(WAIT)
        wait_until(lambda: running.application.seen, what="the request")
        running.server.stop(10)

        def is_refused() -> bool:
            try:
                running.connect().close()
            except ConnectionRefusedError:
                return True
            return False

        wait_until(is_refused, what="a closed port")
        running.application.gate.set()
        assert read_to_end(client).endswith(b"ok")
    running.thread.join(5)
    assert not running.thread.is_alive()


def test_a_partially_received_request_is_answered(serve: Serve) -> None:
    running = serve()
    with running.connect() as client:
        client.sendall(b"POST /a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{")
        assert running.is_well()
        running.server.stop(10)
        client.sendall(b"}")
        assert read_to_end(client).endswith(b"ok")


def test_a_signal_handler_may_interrupt_stop_and_call_it_again(serve: Serve) -> None:
    running = serve()
    signals: list[int] = []

    def interrupted(number: int, _: FrameType | None) -> None:
        signals.append(number)
        running.server.stop(1)

    before = signal.signal(signal.SIGALRM, interrupted)
    deadline_mono = time.monotonic() + 20
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
        while len(signals) < 200 and time.monotonic() < deadline_mono:
            running.server.stop(1)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert len(signals) >= 200
    running.thread.join(20)
    assert not running.thread.is_alive()


@pytest.mark.parametrize("request_sent", [WAIT, b"GET /never HTTP/1.1\r\n"])
def test_it_stops_in_time_whatever_clients_do(serve: Serve, request_sent: bytes) -> None:
    running = serve()
    with running.connect() as client:
        client.sendall(request_sent)
        assert running.is_well()
        started = time.monotonic()
        running.server.stop(1)
        running.thread.join(5)
        assert time.monotonic() - started < 3
        assert not running.thread.is_alive()
    running.application.gate.set()


def test_no_thread_remains(serve: Serve, wait_until: Callable[..., None]) -> None:
    before = threading.active_count()
    running = serve()
    assert running.is_well()
    running.server.stop(1)
    running.thread.join(5)
    wait_until(lambda: threading.active_count() == before, what="ended threads")
