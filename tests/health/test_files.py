"""The doctor's findings about files that cannot be written: each path once, and a command that works."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from nomad_actors.processes.local_redis import free_port
from tests.support.processes import environ_for
from tests.support.without_override import obey_file_rights

DOCTOR = [sys.executable, "-m", "nomad_actors.cli", "doctor", "--json"]
#: Has its directory mounted read-only, as a container's volume may be; the mount ends with the shell.
READ_ONLY = """
mount --bind "$1" "$1" && mount -o remount,bind,ro "$1" || exit 77
shift
"$@"
"""


def own_files(directory: Path) -> Path:
    """Make a `var/` with a database in it and return it; a shell must quote its path."""
    var = directory / "own var"
    var.mkdir(mode=0o700)
    with sqlite3.connect(var / "nomad.db") as database:
        database.execute("CREATE TABLE x (y)")
    database.close()
    (var / "nomad.db").chmod(0o600)
    return var


def environ_of(var: Path) -> dict[str, str]:
    redis_url = f"redis://127.0.0.1:{free_port()}/0"
    return environ_for(var.parent, redis_url, NOMAD_VAR_DIR=str(var), DATABASE_URL=f"sqlite:///{var}/nomad.db")


def problems(printed: str) -> dict[str, tuple[str, str]]:
    checks = json.loads(printed)["checks"]
    return {check["name"]: (check["found"], check["fix"]) for check in checks if check["status"] == "problem"}


def test_a_read_only_mount_is_named_with_the_command_that_makes_it_writable(tmp_path: Path) -> None:
    var = own_files(tmp_path)
    unshared = ["unshare", "--map-root-user", "--mount", "sh", "-c"]
    if subprocess.run([*unshared, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this user may not mount anything")
    ran = subprocess.run(
        [*unshared, READ_ONLY, "sh", str(var), *DOCTOR],
        env=environ_of(var),
        capture_output=True,
        text=True,
        check=False,
    )
    found = problems(ran.stdout)
    fix = f"mount -o remount,bind,rw '{var}'"
    assert found["files"] == (f"cannot write {var}, {var}/nomad.db: mounted read-only", fix)
    assert found["database writes"][1] == fix
    mended = f'{READ_ONLY}{fix} && touch "{var}/token.key"'
    subprocess.run([*unshared, mended, "sh", str(var), "true"], check=True)
    assert (var / "token.key").exists()


def test_files_that_lost_their_owners_rights_get_them_back(tmp_path: Path) -> None:
    var = own_files(tmp_path)
    (var / "nomad.db").chmod(0o400)
    found = found_by_one_who_obeys_rights(var)
    assert found["files"][0] == f"this user (uid {os.getuid()}) cannot write {var}/nomad.db"
    subprocess.run(found["files"][1].splitlines()[0], shell=True, check=True)
    assert (var / "nomad.db").stat().st_mode & 0o777 == 0o600


@pytest.mark.skipif(os.getuid() != 0, reason="only root can make another's files")
def test_files_of_another_user_are_given_to_this_one(tmp_path: Path) -> None:
    var = own_files(tmp_path)
    for path in (var, var / "nomad.db"):
        os.chown(path, 65534, 65534)
    # A directory that others may look into, and no more.
    var.chmod(0o755)
    (var / "nomad.db").chmod(0o644)
    found = found_by_one_who_obeys_rights(var)
    command, note = found["files"][1].splitlines()
    assert (command, note.partition(":")[0]) == (f"chown -R root '{var}'", "as the programs' user")
    # Other programs may have files next to a database.
    alone = f"chown -R root '{var}/nomad.db' && chown root '{var}'"
    assert found["database writes"][1].splitlines()[0] == alone
    subprocess.run(command, shell=True, check=True)
    assert {(path.stat().st_uid) for path in (var, var / "nomad.db")} == {0}


def found_by_one_who_obeys_rights(var: Path) -> dict[str, tuple[str, str]]:
    ran = subprocess.run(
        DOCTOR, env=environ_of(var), preexec_fn=obey_file_rights, capture_output=True, text=True, check=False
    )
    return problems(ran.stdout)
