"""A fault of the disk costs counts, never a scrape and never a job."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from nomad_actors.metrics import place
from nomad_actors.metrics.place import FILES_LOCK, SERVING_LOCK, VARIABLE, make_place
from nomad_actors.metrics.process_files import DEAD, ProcessFiles
from tests.support.processes import ROOT

COUNTING = """
from nomad_actors.metrics.reserved_file import reserve_files
reserve_files()
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
registry = CollectorRegistry()
Counter("nomad_test_total", "Counted.", ("kind",), registry=registry).labels("a").inc(3)
Gauge("nomad_test_gauge", "Set.", registry=registry, multiprocess_mode="mostrecent").set(7)
Histogram("nomad_test_seconds", "Timed.", buckets=(1, 2), registry=registry).observe(1.5)
"""


#: Counts more than one file's first room holds, where files may be no larger than is said.
MANY = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), resource.RLIM_INFINITY))
from nomad_actors.metrics.reserved_file import reserve_files
reserve_files()
from prometheus_client import CollectorRegistry, Counter
registry = CollectorRegistry()
counter = Counter("nomad_many_total", "Counted.", ("kind",), registry=registry)
for _ in range(2):
    for number in range(1_000):
        counter.labels(f"{number:0100}").inc()
assert [s.value for m in registry.collect() for s in m.samples if s.name.endswith("_total")] == [2] * 1_000
"""
BURYING = """
import resource, sys
from pathlib import Path
from nomad_actors.metrics.process_files import ProcessFiles
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))
try:
    ProcessFiles(Path(sys.argv[1])).bury()
except OSError as error:
    print(error.strerror)
"""


#: Is killed in the middle of burying, when a file is about to be moved or removed for the nth time.
KILLED = """
import itertools, os, sys
from pathlib import Path
from nomad_actors.metrics.process_files import ProcessFiles
turn = itertools.count(1)
for name in ("replace", "unlink"):
    def killed(self, *arguments, _real=getattr(Path, name), **more):
        if next(turn) == int(sys.argv[2]):
            os._exit(9)
        return _real(self, *arguments, **more)
    setattr(Path, name, killed)
ProcessFiles(Path(sys.argv[1])).bury()
print("buried")
"""


def count(path: Path, *arguments: str, program: str = COUNTING) -> str:
    """Let a process count, and die; return what it said."""
    environ = {**os.environ, VARIABLE: str(path), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", program, *arguments]
    done = subprocess.run(command, env=environ, check=False, capture_output=True, text=True)
    # What kills itself says nothing.
    assert done.returncode == 0 or (program is KILLED and done.returncode == 9), done.stderr
    return done.stdout + done.stderr


def samples(path: Path) -> dict[str, float]:
    return {
        sample.name + str(sample.labels.get("le", "")): sample.value
        for metric in ProcessFiles(path).collect()
        for sample in metric.samples
    }


def test_the_dead_are_one_file_a_kind_and_count_on(tmp_path: Path) -> None:
    for dead in (1, 2, 3):
        count(tmp_path)
        ProcessFiles(tmp_path).bury()
        found = samples(tmp_path)
        assert found["nomad_test_total"] == 3 * dead
        assert (found["nomad_test_seconds_bucket1.0"], found["nomad_test_seconds_bucket2.0"]) == (0, dead)
        assert (found["nomad_test_seconds_count"], found["nomad_test_seconds_sum"]) == (dead, 1.5 * dead)
        # What a dead process was is no more.
        assert "nomad_test_gauge" not in found
    assert sorted(file.name for file in tmp_path.glob("*.db")) == [f"counter_{DEAD}.db", f"histogram_{DEAD}.db"]


@pytest.mark.parametrize("rubbish", [b"", b"\x40\x00\x00\x00rubbish", b"\x40\x00\x00\x00" + b"\x08\x00\x00\x00" * 30])
def test_a_file_that_cannot_be_read_is_put_aside(
    tmp_path: Path, rubbish: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    count(tmp_path)
    (tmp_path / "counter_999999999.db").write_bytes(rubbish)
    (tmp_path / "somebodys.db").write_bytes(rubbish)
    ProcessFiles(tmp_path).bury()
    assert samples(tmp_path)["nomad_test_total"] == 3
    assert (tmp_path / "counter_999999999.db.unreadable").exists()
    assert "counts of a dead process are lost" in caplog.text


def test_a_file_of_a_living_process_that_cannot_be_read_is_left_out_and_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    count(tmp_path)
    files = ProcessFiles(tmp_path)
    # The number of a process that lives, whether or not it is the one that wrote it.
    damaged = tmp_path / f"counter_{os.getpid()}.db"
    damaged.write_bytes(b"\x40\x00\x00\x00rubbish")
    files.bury()
    for _ in range(3):
        assert {s.name: s.value for m in files.collect() for s in m.samples}["nomad_test_total"] == 3
    assert caplog.text.count("counts cannot be read, and are left out") == 1
    damaged.unlink()
    caplog.set_level("INFO")
    list(files.collect())
    assert "counts can be read again, or are gone" in caplog.text


def test_a_directory_that_is_gone_is_said_and_nothing_is_shown_of_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    place = tmp_path / "counts"
    count_into(place)
    files = ProcessFiles(place)
    assert list(files.collect())
    shutil.rmtree(place)
    assert [*files.collect(), *files.collect()] == []
    assert caplog.text.count("counts cannot be read, and are left out") == 1
    count_into(place)
    assert list(files.collect())


def count_into(place: Path) -> None:
    assert make_place(place) == ""
    count(place)


def test_all_room_of_a_file_is_reserved(tmp_path: Path) -> None:
    """What is written to a hole of a file on a full disk kills the process: SIGBUS."""
    count(tmp_path)
    count(tmp_path, str(1 << 30), program=MANY)
    ProcessFiles(tmp_path).bury()
    count(tmp_path)
    files = {path.name: path.stat() for path in tmp_path.glob("*.db")}
    assert max(stat.st_size for stat in files.values()) > 1 << 16
    assert {name for name, stat in files.items() if stat.st_blocks * 512 < stat.st_size} == set()


@pytest.mark.parametrize("most_bytes", [0, 1 << 16])
def test_without_room_a_process_counts_on_in_its_memory(tmp_path: Path, most_bytes: int) -> None:
    said = count(tmp_path, str(most_bytes), program=MANY)
    assert said.count("counts are not kept: they have no room") == 1
    kept = [sample.value for metric in ProcessFiles(tmp_path).collect() for sample in metric.samples]
    assert set(kept) <= {2.0}
    assert 0 < len(kept) < 1_000 if most_bytes else not kept


def test_without_room_the_dead_are_not_merged_and_nothing_is_lost(tmp_path: Path) -> None:
    count(tmp_path)
    count(tmp_path)
    assert "File too large" in count(tmp_path, str(tmp_path), program=BURYING)
    assert samples(tmp_path)["nomad_test_total"] == 6
    ProcessFiles(tmp_path).bury()
    assert samples(tmp_path)["nomad_test_total"] == 6


def test_a_process_that_is_killed_while_it_merges_loses_and_doubles_nothing(tmp_path: Path) -> None:
    count_into(tmp_path / "made")
    ProcessFiles(tmp_path / "made").bury()
    count(tmp_path / "made")
    count(tmp_path / "made")
    for turn in range(1, 50):
        place = tmp_path / str(turn)
        shutil.copytree(tmp_path / "made", place)
        done = "buried" in count(place, str(place), str(turn), program=KILLED)
        found = samples(place)
        assert (found["nomad_test_total"], found["nomad_test_seconds_count"]) == (9, 3), turn
        ProcessFiles(place).bury()
        found = samples(place)
        assert (found["nomad_test_total"], found["nomad_test_seconds_count"]) == (9, 3), turn
        assert sorted(file.name for file in place.glob("*.db")) == [f"counter_{DEAD}.db", f"histogram_{DEAD}.db"]
        if done:
            break
    assert turn > 8


def test_a_scrape_waits_while_files_are_merged(tmp_path: Path, wait_until: Callable[..., None]) -> None:
    count_into(tmp_path)
    found: list[dict[str, float]] = []
    scrape = threading.Thread(target=lambda: found.append(samples(tmp_path)))
    with (tmp_path / FILES_LOCK).open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        inode = os.fstat(lock.fileno()).st_ino
        scrape.start()
        # The kernel lists who waits for a lock behind an arrow.
        wait_until(lambda: re.search(rf"-> FLOCK .*:{inode} ", Path("/proc/locks").read_text()))
        assert not found
    scrape.join(10)
    assert found[0]["nomad_test_total"] == 3


def test_a_place_whose_lock_is_another_users_is_told(tmp_path: Path) -> None:
    # A directory in its place: root may open any file.
    (tmp_path / SERVING_LOCK).mkdir()
    assert make_place(tmp_path) == f"{tmp_path / SERVING_LOCK} cannot be written: Is a directory"


def test_a_place_that_is_none_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert make_place(tmp_path / "a" / "b") == ""
    (tmp_path / "file").touch()
    assert "cannot be written" in make_place(tmp_path / "file" / "below")
    monkeypatch.setattr(place, "LEAST_FREE_BYTES", 1 << 60)
    assert "MiB left, less than" in make_place(tmp_path)
