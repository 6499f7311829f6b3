"""The environment of the demo's processes: its own Redis, database, ESI and ports."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from nomad_actors.processes.local_redis import LocalRedis, free_port, is_free

ADMIN_PORT = 3000
#: The ports of the workers and the scheduler in prometheus.yml.
METRICS_PORTS = {"workers": 9191, "scheduler": 9192}

_REDIS = ("REDIS_URL", "REDIS_HOST")
#: Settings for a real installation must not reach the demo's processes.
_REMOVED = ("DATABASE_URL", "NOMAD_", "EVE_", "ESI_", "SSO_", "ADMIN_", "SENTRY_", "BULLMQ_", "REDIS_CACHE_URL")


@dataclass(frozen=True)
class Ports:
    """The ports of the demo's services."""

    admin: int
    metrics: Mapping[str, int]

    @classmethod
    def choose(cls) -> Ports:
        """Return the default port of each service, or a free one if it is in use."""
        return cls(_default_or_free(ADMIN_PORT), {name: _default_or_free(port) for name, port in METRICS_PORTS.items()})


def exports(environ: Mapping[str, str], redis: LocalRedis | None) -> str:
    """Return the shell command that makes `nomad` in another shell use the demo."""
    names = [*(["REDIS_URL"] if redis is not None else []), "DATABASE_URL", "NOMAD_VAR_DIR", "ADMIN_PORT"]
    return "export " + " ".join(f"{name}={shlex.quote(environ[name])}" for name in names)


def _default_or_free(port: int) -> int:
    return port if is_free(port) else free_port()


def needs_own_redis(environ: Mapping[str, str]) -> bool:
    """Return whether the environment sets no Redis, so that the demo starts its own."""
    return not any(environ.get(name) for name in _REDIS)


def child_environ(
    environ: Mapping[str, str], *, directory: Path, redis: LocalRedis | None, sandbox_url: str, ports: Ports
) -> dict[str, str]:
    """Return the environment of the demo's processes; without `redis`, the Redis settings of `environ` are used."""
    inherited = {name: value for name, value in environ.items() if not name.startswith(_REMOVED)}
    if redis is not None:
        inherited = {name: value for name, value in inherited.items() if not name.startswith("REDIS_")}
        inherited["REDIS_URL"] = redis.url
    return {
        **inherited,
        "DATABASE_URL": f"sqlite:///{directory / 'demo.db'}",
        "NOMAD_VAR_DIR": str(directory),
        "NOMAD_SHUTDOWN_MS": "5000",
        "EVE_CLIENT_ID": "sandbox-client",
        "EVE_CLIENT_SECRET": "sandbox-secret",
        "ESI_BASE_URL": sandbox_url,
        "SSO_BASE_URL": sandbox_url,
        "ESI_USER_AGENT": "nomad-actors-demo/0.1.0 (demo@localhost)",
        "ADMIN_PORT": str(ports.admin),
        "PYTHONUNBUFFERED": "1",
    }
