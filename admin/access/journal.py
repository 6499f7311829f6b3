"""What is written down of a request: in the audit log before a change acts and after it, and one line in the log."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

from flask import Response, g, request

from nomad_actors import logs
from nomad_actors.errors import Unavailable
from nomad_actors.logs.audit_body import body_in_short
from nomad_actors.store import AuditedRequest

from .. import problems
from ..parts import application
from ..paths import path_of
from . import forms, tries
from .actors import current_actor
from .request_ids import elapsed_ms, request_id

logger = logs.get_logger("admin")

#: Of a path in the log; the audit log keeps more.
_PATH_CHARS = 500
#: The body holds a token: nothing is kept that it could be found by.
_WITH_TOKEN = "pages_login.take_token"


def begin() -> None:
    """Write a change before it acts.

    Raises `Unavailable`: then it must not act.
    """
    g.audit_id = application().store.audit.asked(_asked(**_body()))


def not_begun(error: Unavailable) -> Response:
    """Return the answer to a change that was not made because it could not be written down first."""
    logger.error("refused", **_line(HTTPStatus.SERVICE_UNAVAILABLE), reason="audit", error=str(error))
    return problems.unavailable(Unavailable(f"nothing was changed: the audit log cannot be written ({error})"))


def set_outcome(status: int, error: str) -> None:
    """Set how a change ended if its response does not say so: a form is always answered with a redirect."""
    g.audit_outcome = (status, error)


def finish(answer: Response) -> Response:
    """Write how the change at hand ended."""
    entry_id = g.pop("audit_id", None)
    if entry_id is None:
        return answer
    detail = g.get("problem_detail") if answer.status_code >= 400 else None
    status, error = g.get("audit_outcome", (answer.status_code, detail))
    try:
        application().store.audit.outcome(entry_id, status, error)
    except Unavailable as reason:
        # It has acted: that it was asked for stands in the log, how it ended only here.
        logger.error("the end of a change is not in the audit log", entry=entry_id, error=str(reason))
    logger.info("change", **_line(status), **({"error": error} if error else {}))
    return answer


def refused(status: int, reason: str, detail: str, *, actor: str = "") -> None:
    """Write down a refusal, bounded in number; a database that is away lets nobody in and stops no refusal.

    `actor` is who it was, if a token says so that does not count.
    """
    asked = _asked()
    if actor:
        asked = dataclasses.replace(asked, actor=actor)
    try:
        is_try = reason == tries.WRONG_TOKEN
        application().store.audit.refused(asked, status, reason, detail, is_counted=is_try)
    except Unavailable as error:
        logger.error("a refusal is not in the audit log", error=str(error))
    logger.warning("refused", **{**_line(status), "actor": asked.actor}, reason=reason, error=detail)


def _line(status: int) -> dict[str, Any]:
    actor = current_actor()
    told = {
        "method": request.method[:16],
        "path": _path()[:_PATH_CHARS],
        "status": status,
        "actor": actor.name,
        "role": actor.role,
    }
    return {**told, "peer": request.remote_addr or "", "ms": elapsed_ms()}


def _asked(**body: Any) -> AuditedRequest:
    actor, peer = current_actor(), (request.remote_addr or "")[:64]
    named = request.view_args or {}
    return AuditedRequest(
        request_id=request_id(),
        actor=actor.name,
        role=actor.role,
        peer=peer,
        source=tries.source_of(peer),
        method=request.method[:16],
        path=_path(),
        endpoint=None if request.url_rule is None else path_of(request.url_rule),
        queue=named.get("queue"),
        job_id=named.get("job_id"),
        schedule=named.get("name"),
        **body,
    )


def _path() -> str:
    """Return the path as one line of printable ASCII, however it was sent."""
    return quote(request.path, safe="/:@!$&'()*+,;=~", errors="replace")


def _body() -> dict[str, Any]:
    """Return what is kept of the body."""
    raw = request.get_data()
    if not raw or request.endpoint == _WITH_TOKEN:
        return {}
    return {"body": _in_short(raw), "body_bytes": len(raw), "body_sha256": hashlib.sha256(raw).hexdigest()}


def _in_short(raw: bytes) -> str | None:
    """Return the body in short, without secrets."""
    if request.is_json:
        try:
            return body_in_short(json.loads(raw))
        except (ValueError, RecursionError):
            return f"{len(raw)} bytes that are not JSON"
    if problems.is_page() and request.form:
        fields = {
            name: values[0] if len(values) == 1 else values
            for name, values in request.form.lists()
            if name != forms.FIELD
        }
        return body_in_short(fields) if fields else None
    return f"{len(raw)} bytes of {logs.redact(request.mimetype[:80]) or 'no type'}"
