"""Runs nginx as docs/deployment.md describes it, on free ports, with its own certificate."""

from __future__ import annotations

import datetime
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from nomad_actors.processes.local_redis import free_port

PAGE = Path(__file__).resolve().parent.parent / "docs" / "deployment.md"
#: The name in the documented configuration.
NAME = "jobs.example.org"
_MAIN = """
daemon off;
pid {directory}/nginx.pid;
error_log {directory}/error.log;
worker_processes 1;
{main}
http {{
    access_log off;
    client_body_temp_path {directory}/bodies;
    proxy_temp_path {directory}/responses;
    fastcgi_temp_path {directory}/unused;
    uwsgi_temp_path {directory}/unused;
    scgi_temp_path {directory}/unused;
    {server}
}}
"""


def program() -> str | None:
    """Return the path of nginx, None if it is not installed."""
    return shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")


def documented() -> tuple[str, str]:
    """Return the documented main settings of nginx and its `server` block."""
    main, server = re.findall(r"```nginx\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    return main, server


@contextmanager
def nginx(directory: Path, admin_port: int) -> Iterator[int]:
    """Run nginx as a proxy for the admin on `admin_port`; yields its TLS port."""
    port = free_port()
    main, server = documented()
    certificate, key = _certificate(directory)
    for documented_text, replacement in {
        "listen 443 ssl": f"listen 127.0.0.1:{port} ssl",
        "/etc/nginx/tls/jobs.example.org.crt": str(certificate),
        "/etc/nginx/tls/jobs.example.org.key": str(key),
        "http://127.0.0.1:3000": f"http://127.0.0.1:{admin_port}",
    }.items():
        assert documented_text in server, f"docs/deployment.md does not say {documented_text!r}"
        server = server.replace(documented_text, replacement)
    config = directory / "nginx.conf"
    config.write_text(_MAIN.format(directory=directory, main=main, server=server), encoding="utf-8")
    path = program()
    assert path is not None
    process = subprocess.Popen([path, "-p", str(directory), "-c", str(config)], stderr=subprocess.DEVNULL)
    try:
        yield port
    finally:
        process.terminate()
        process.wait(timeout=20)


def _certificate(directory: Path) -> tuple[Path, Path]:
    """Write a self-signed certificate and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, NAME)])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    certificate_path, key_path = directory / "nginx.crt", directory / "nginx.key"
    certificate_path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    key_path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    key_path.chmod(0o600)
    return certificate_path, key_path
