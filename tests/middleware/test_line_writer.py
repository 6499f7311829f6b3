"""Lines are written soon, in order and once, and none is lost when the process ends."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
import time

import pytest

from nomad_actors.middleware.line_writer import FLUSH_SECONDS, LineWriter
from tests.support.processes import ROOT


class _Sink:
    def __init__(self):
        self.text = ""
        self.writes = 0
        self.gate = threading.Event()
        self.gate.set()

    def __call__(self, text):
        self.gate.wait(10)
        self.text += text
        self.writes += 1


@pytest.fixture
def sink():
    return _Sink()


@pytest.fixture
def writer(sink):
    writer = LineWriter(sink, format_lost=lambda n: f"lost {n}\n", capacity=10)
    yield writer
    sink.gate.set()
    writer.close()


def test_a_line_waits_no_longer_than_the_docs_promise():
    (promised_ms,) = re.findall(r"written by one thread, at most (\d+) ms late", (ROOT / "docs/logs.md").read_text())
    assert int(promised_ms) >= FLUSH_SECONDS * 1000


def test_a_line_is_written_within_a_fraction_of_a_second(writer, sink, wait_until):
    writer.open()
    writer.add(["a\n"])
    wait_until(lambda: sink.text == "a\n", timeout_seconds=2)


def test_lines_added_together_are_written_together(writer, sink, wait_until):
    writer.open()
    for i in range(8):
        writer.add([f"{i}\n"])
    wait_until(lambda: sink.text.count("\n") == 8, timeout_seconds=2)
    assert sink.text == "".join(f"{i}\n" for i in range(8))
    assert sink.writes < 8


def test_adding_never_blocks_and_dropped_lines_are_counted(writer, sink, wait_until):
    sink.gate.clear()
    writer.open()
    writer.add(["first\n"])
    wait_until(lambda: not writer._lines)  # the thread is blocked in the sink now
    began = time.monotonic()
    writer.add([f"{i}\n" for i in range(15)])
    assert time.monotonic() - began < 1
    sink.gate.set()
    wait_until(lambda: sink.text.endswith("lost 5\n"))
    assert sink.text == "first\n" + "".join(f"{i}\n" for i in range(10)) + "lost 5\n"


def test_closing_writes_the_remaining_lines(writer, sink):
    writer.open()
    writer.add(["a\n"])
    writer.close()
    assert sink.text == "a\n"


def test_a_closed_writer_writes_directly(writer, sink):
    writer.add(["a\n"])
    assert sink.text == "a\n"
    writer.open()
    writer.close()
    writer.add(["b\n"])
    assert sink.text == "a\nb\n"


def test_a_closed_writer_can_be_opened_again(writer, sink, wait_until):
    for line in ("a\n", "b\n"):
        writer.open()
        writer.add([line])
        wait_until(lambda line=line: sink.text.endswith(line))
        writer.close()


CHILD = """
import multiprocessing, os, sys
from nomad_actors.middleware.line_writer import FLUSH_SECONDS, LineWriter
from tests.support.processes import ROOT

def run():
    writer = LineWriter(lambda text: os.write(1, text.encode()), format_lost=str, flush_seconds=60)
    writer.open()
    writer.add(["last line\\n"])
    sys.exit(3)

if {child}:
    process = multiprocessing.get_context("fork").Process(target=run)
    process.start()
    process.join()
else:
    run()
"""


@pytest.mark.parametrize("child", [False, True], ids=["a program", "a forked worker process"])
def test_nothing_is_lost_when_the_process_exits(child):
    result = subprocess.run(
        [sys.executable, "-c", CHILD.format(child=child)], capture_output=True, text=True, timeout=30
    )
    assert result.stdout == "last line\n"
