"""A PgBouncer in transaction mode before the tests' PostgreSQL, with fewer connections than its clients."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from sqlalchemy.engine import make_url

from nomad_actors.processes.local_redis import free_port
from nomad_actors.testing import wait_until

from .postgres import Postgres

#: Connections to PostgreSQL, for all clients together.
SERVER_CONNECTIONS = 2
_CONFIG = """
[databases]
postgres = host=127.0.0.1 port={server_port} user=nomad
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = {size}
"""


def serve(postgres: Postgres) -> Iterator[str]:
    """Serve `postgres` at another URL; skip the test if PgBouncer is not installed."""
    program = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if program is None:
        pytest.skip("pgbouncer is not installed")
    url, port = make_url(postgres.url), free_port()
    with tempfile.TemporaryDirectory(prefix="nomad-pgbouncer-") as directory:
        config = Path(directory) / "pgbouncer.ini"
        config.write_text(_CONFIG.format(server_port=url.port, port=port, size=SERVER_CONNECTIONS))
        # PgBouncer refuses to run as root.
        user = "nobody" if os.getuid() == 0 else None
        for path in (Path(directory), config):
            path.chmod(0o755)
        with subprocess.Popen([program, config], user=user, stderr=subprocess.DEVNULL, cwd=directory) as process:
            try:
                wait_until(lambda: _listens(port), timeout_seconds=10, what="PgBouncer")
                yield url.set(port=port).render_as_string(hide_password=False)
            finally:
                process.kill()


def _listens(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False
