"""Our files are private to their owner, whatever the umask, and open files of an earlier release are made private."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from nomad_actors.processes.local_redis import LocalRedis
from nomad_actors.processes.private_files import found_open, make_private, our_files, write, write_new
from nomad_actors.settings import Settings
from nomad_actors.store import TokenCipher
from nomad_actors.store.database import Database


def open_in(directory: Path) -> list[str]:
    """Return the paths at and below a directory that others may use."""
    return [
        str(path)
        for path in (directory, *directory.rglob("*"))
        if not path.is_symlink() and stat.S_IMODE(path.lstat().st_mode) & 0o077
    ]


@pytest.fixture
def careless() -> Iterator[None]:
    """A umask that leaves everything open."""
    before = os.umask(0)
    yield
    os.umask(before)


def made(var_dir: Path) -> Settings:
    settings = Settings(var_dir=var_dir, database_url=f"sqlite:///{var_dir}/nomad.db", log_level="critical")
    TokenCipher.from_settings(settings)
    database = Database(settings.database_url)
    database.migrate()
    with database.write():
        pass
    server = LocalRedis(var_dir / "redis", append_only=True).start()
    server.stop()
    database.close()
    return settings


def test_files_are_private_in_a_program_that_sets_no_umask(careless: None, tmp_path: Path) -> None:
    made(tmp_path / "a" / "var")
    assert open_in(tmp_path / "a") == []


def test_files_left_open_by_an_earlier_release_are_made_private_and_logged_once(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    settings = made(tmp_path / "var")
    for path in (settings.var_dir, *settings.var_dir.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    paths = our_files(settings.var_dir, settings.database_path)
    assert len(found_open(paths)) > 8
    changed, still_open = make_private(paths)
    assert (len(changed) > 8, still_open, open_in(settings.var_dir)) == (True, [], [])
    assert make_private(paths) == ([], [])


def test_a_shared_directory_is_not_changed(tmp_path: Path) -> None:
    settings = made(tmp_path)
    foreign = tmp_path / "theirs.txt"
    foreign.write_text("")
    for path in (tmp_path, foreign, tmp_path / "nomad.db"):
        path.chmod(0o755)
    make_private(our_files(settings.var_dir, settings.database_path))
    assert set(open_in(tmp_path)) == {str(tmp_path), str(foreign)}


def test_only_files_with_our_exact_names_are_ours(tmp_path: Path) -> None:
    foreign = [
        "admin",
        "admin.py",
        "redis-data",
        "redis.conf",
        "metrics.csv",
        "nomad.db.backup",
        "token.key.pub",
        ".admin-token.md",
    ]
    ours = [
        "admin-token",
        "token.key",
        "nomad.db",
        "nomad.db-wal",
        ".token.key.17.0a1b2c3d",
        ".admin-token.17.0a1b2c3d",
    ]
    for name in (*foreign, *ours):
        (tmp_path / name).write_text("")
    assert {path.name for path in our_files(tmp_path, None)} == set(ours)


def test_links_and_devices_are_not_changed(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_text("")
    target.chmod(0o644)
    var_dir = tmp_path / "var"
    var_dir.mkdir()
    (var_dir / "token.key").symlink_to(target)
    make_private([*our_files(var_dir, None), Path("/dev/null")])
    assert stat.S_IMODE(target.stat().st_mode) == 0o644
    assert stat.S_IMODE(os.stat("/dev/null").st_mode) & 0o006


def test_missing_paths_are_not_created(tmp_path: Path) -> None:
    assert our_files(tmp_path / "var", None) == []
    assert make_private([tmp_path / "var" / "nomad.db"]) == ([], [])
    assert not (tmp_path / "var").exists()


def test_a_file_is_written_atomically_and_private(tmp_path: Path, careless: None) -> None:
    path = tmp_path / "secret"
    assert write_new(path, "first\n")
    with path.open() as reader:
        assert not write_new(path, "second\n")
        assert path.read_text() == "first\n"
        write(path, "third\n")
        # A reader that opened it before reads the old content to the end.
        assert reader.read() == "first\n"
    assert path.read_text() == "third\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_a_failed_write_leaves_the_old_file_and_no_temporary_one(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    write(path, "first\n")
    for make in (write, write_new):
        with pytest.raises(UnicodeEncodeError):
            make(path, "second\n\ud800")
    assert path.read_text() == "first\n"
    assert list(tmp_path.iterdir()) == [path]
