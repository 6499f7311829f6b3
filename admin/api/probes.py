"""What machines ask: is the process alive, can it work, what does it count."""

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
from .models.installation import Alive, Ready

api = Blueprint("probes", __name__)

OK = "ok"


@api.get("/healthz")
@declared(Alive, problems=(), lenient=True, is_open=True)
def alive() -> dict[str, str]:
    """Answer: the process is alive, whatever else is not."""
    return {"status": OK}


@api.get("/readyz")
@declared({200: Ready, 503: Ready}, problems=(), lenient=True)
def ready() -> tuple[dict[str, Any], int]:
    """Tell whether Redis and the database answer: 200, or 503 with the reason of each that does not."""
    app = application()
    # Both at once: each may take as long as somebody may be kept waiting.
    with ThreadPoolExecutor(1) as beside:
        database = beside.submit(_asked, app.store.ping)
        found = {"redis": _asked(app.queues.ping), "database": database.result()}
    is_ready = all(word == OK for word in found.values())
    return {"ready": is_ready, **found}, 200 if is_ready else 503


@api.get("/metrics")
@declared({200: Text(("text/plain", "application/openmetrics-text"))}, problems=(), lenient=True)
def metrics() -> Response:
    """Return this process' metrics and the queues', in the format that Prometheus asks for."""
    body, content_type = render(application().registry, request.headers.get("Accept", ""))
    return Response(body, content_type=content_type)


def _asked(ping: Callable[[], None]) -> str:
    try:
        ping()
    except NomadError as error:
        return logs.redact(str(error))
    return OK
