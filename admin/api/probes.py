"""Probes for machines: liveness, readiness and metrics."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from flask import Blueprint, Response, request

from nomad_actors import logs
from nomad_actors.errors import NomadError
from nomad_actors.metrics.exposition import render

from ..current_app import application
from .declared import Text, declared
from .models import Alive, Ready

api = Blueprint("probes", __name__)

OK = "ok"


@api.get("/healthz")
@declared(Alive, problems=(), lenient=True, is_open=True)
def alive() -> dict[str, str]:
    """Report that the process is alive, whatever the state of Redis and the database."""
    return {"status": OK}


@api.get("/readyz")
@declared({200: Ready, 503: Ready}, problems=(), lenient=True)
def ready() -> tuple[dict[str, Any], int]:
    """Report whether Redis and the database answer: 200, or 503 with the reason of each that does not."""
    app = application()
    # In parallel, because each may take the full time limit.
    with ThreadPoolExecutor(1) as executor:
        database = executor.submit(_state, app.store.ping)
        found = {"redis": _state(app.broker.ping), "database": database.result()}
    is_ready = all(state == OK for state in found.values())
    return {"ready": is_ready, **found}, 200 if is_ready else 503


@api.get("/metrics")
@declared({200: Text(("text/plain", "application/openmetrics-text"))}, problems=(), lenient=True)
def metrics() -> Response:
    """Return the metrics of this process and of the queues, in the format that Prometheus requests."""
    body, content_type = render(application().registry, request.headers.get("Accept", ""))
    return Response(body, content_type=content_type)


def _state(ping: Callable[[], None]) -> str:
    try:
        ping()
    except NomadError as error:
        return logs.redact(str(error))
    return OK
