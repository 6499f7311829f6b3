"""What the demo's processes are told: their Redis, database, ESI and ports, all of the demo's own."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from nomad_actors.processes.local_redis import LocalRedis, free_port, is_free

ADMIN_PORT = 3000
#: Where prometheus.yml looks for the workers and the scheduler.
METRICS_PORTS = {"workers": 9191, "scheduler": 9192}

_REDIS = ("REDIS_URL", "REDIS_HOST")
#: What an operator may have set for a real installation must not reach the demo's processes.
_NOT_OURS = ("DATABASE_URL", "NOMAD_", "EVE_", "ESI_", "SSO_", "ADMIN_", "SENTRY_", "BULLMQ_", "REDIS_CACHE_URL")


@dataclass(frozen=True)
class Ports:
    """The ports of the demo's services, and those that are not the usual ones because these were taken."""

    admin: int
    metrics: Mapping[str, int]

    @classmethod
    def choose(cls) -> Ports:
        """Return the usual port of each service, or a free one where it is taken."""
        return cls(_usual_or_free(ADMIN_PORT), {name: _usual_or_free(port) for name, port in METRICS_PORTS.items()})


def exports(environ: Mapping[str, str], redis: LocalRedis | None) -> str:
    """Return the line that lets `nomad`, typed in another shell, work on the demo and on nothing else."""
    names = [*(["REDIS_URL"] if redis is not None else []), "DATABASE_URL", "NOMAD_VAR_DIR", "ADMIN_PORT"]
    return "export " + " ".join(f"{name}={shlex.quote(environ[name])}" for name in names)


def _usual_or_free(port: int) -> int:
    return port if is_free(port) else free_port()


def brings_own_redis(environ: Mapping[str, str]) -> bool:
    """Return whether the caller left the choice of Redis to the demo."""
    return not any(environ.get(name) for name in _REDIS)


def child_environ(
    environ: Mapping[str, str], *, directory: Path, redis: LocalRedis | None, sandbox_url: str, ports: Ports
) -> dict[str, str]:
    """Return the environment of the demo's processes; what `environ` says of Redis stands when the demo brings none."""
    kept = {name: value for name, value in environ.items() if not name.startswith(_NOT_OURS)}
    if redis is not None:
        kept = {name: value for name, value in kept.items() if not name.startswith("REDIS_")}
        kept["REDIS_URL"] = redis.url
    return {
        **kept,
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
