"""Records requests: gives each an id, and writes changes and refusals to the audit log and the log."""

from __future__ import annotations

import hashlib
import json
import re
import uuid
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

import structlog
from flask import Response, g, request

from nomad_actors import logs
from nomad_actors.clock import mono_ms
from nomad_actors.errors import Unavailable
from nomad_actors.logs.json_text import shortened_body
from nomad_actors.store import AuditedRequest

from .. import problems
from ..current_app import application
from ..urls import path_of
from . import forms, tokens
from .actors import current_actor

logger = logs.get_logger("admin")

ID_HEADER = "X-Request-Id"
_VALID_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
#: The longest path in a log line; the audit log stores more of it.
_PATH_CHARS = 500
#: Its body contains a token: nothing that helps to guess it is stored.
_LOGIN = "pages_login.take_token"


def begin() -> None:
    """Take the caller's id if it is valid, else create one, and add it to all log lines of this request."""
    header = request.headers.get(ID_HEADER, "")
    g.request_id = header if _VALID_ID.fullmatch(header) else uuid.uuid4().hex
    g.begun_mono_ms = mono_ms()
    g.bound_before = structlog.contextvars.bind_contextvars(request_id=g.request_id)


def end(_error: BaseException | None) -> None:
    """Remove the id from the log context of this thread."""
    bound = g.pop("bound_before", None)
    if bound is not None:
        structlog.contextvars.reset_contextvars(**bound)


def record_change() -> None:
    """Write a change to the audit log before it is made. Raises `Unavailable`: then the change must not be made."""
    g.audit_id = application().store.audit.asked(_audited_request(current_actor().name, **_body()))


def not_audited(error: Unavailable) -> Response:
    """Return the response to a change that was not made because the audit log could not be written."""
    logger.error("refused", **_log_fields(HTTPStatus.SERVICE_UNAVAILABLE), reason="audit", error=str(error))
    return problems.of_error(Unavailable(f"nothing was changed: the audit log cannot be written ({error})"))


def set_outcome(status: int, error: str) -> None:
    """Set the outcome of a change whose response does not show it: the response to a form is always a redirect."""
    g.audit_outcome = (status, error)


def record_outcome(response: Response) -> Response:
    """Write the outcome of the current change to the audit log and the log."""
    entry_id = g.pop("audit_id", None)
    if entry_id is None:
        return response
    detail = g.get("problem_detail") if response.status_code >= 400 else None
    status, error = g.get("audit_outcome", (response.status_code, detail))
    try:
        application().store.audit.outcome(entry_id, status, error)
    except Unavailable as reason:
        # The change was made: the audit log has the request, but only this line has the outcome.
        logger.error("the outcome of a change could not be written to the audit log", entry=entry_id, error=str(reason))
    logger.info("change", **_log_fields(status), **({"error": error} if error else {}))
    return response


def record_refusal(status: int, reason: str, detail: str, *, actor: str = "") -> None:
    """Write a refusal to the audit log, which bounds their number, and to the log.

    While the database is unavailable only the log has the refusal. `actor` is the owner of a token that is no longer
    valid.
    """
    audited = _audited_request(actor or current_actor().name)
    try:
        is_counted = reason == tokens.WRONG_TOKEN
        application().store.audit.refused(audited, status, reason, detail, is_counted=is_counted)
    except Unavailable as error:
        logger.error("a refusal could not be written to the audit log", error=str(error))
    logger.warning("refused", **{**_log_fields(status), "actor": audited.actor}, reason=reason, error=detail)


def _log_fields(status: int) -> dict[str, Any]:
    actor = current_actor()
    return {
        "method": request.method[:16],
        "path": _path()[:_PATH_CHARS],
        "status": status,
        "actor": actor.name,
        "role": actor.role,
        "peer": request.remote_addr or "",
        "ms": round(mono_ms() - g.begun_mono_ms),
    }


def _audited_request(actor: str, **body: Any) -> AuditedRequest:
    peer = (request.remote_addr or "")[:64]
    arguments = request.view_args or {}
    return AuditedRequest(
        request_id=g.request_id,
        actor=actor,
        role=current_actor().role,
        peer=peer,
        source=tokens.source_of(peer),
        method=request.method[:16],
        path=_path(),
        endpoint=None if request.url_rule is None else path_of(request.url_rule),
        queue=arguments.get("queue"),
        job_id=arguments.get("job_id"),
        schedule=arguments.get("name"),
        **body,
    )


def _path() -> str:
    """Return the path as one line of printable ASCII."""
    return quote(request.path, safe="/:@!$&'()*+,;=~", errors="replace")


def _body() -> dict[str, Any]:
    raw = request.get_data()
    if not raw or request.endpoint == _LOGIN:
        return {}
    return {"body": _summary(raw), "body_bytes": len(raw), "body_sha256": hashlib.sha256(raw).hexdigest()}


def _summary(raw: bytes) -> str | None:
    """Return a short form of the body, without secrets."""
    if request.is_json:
        try:
            return shortened_body(json.loads(raw))
        except (ValueError, RecursionError):
            return f"{len(raw)} bytes that are not JSON"
    if problems.is_page() and request.form:
        fields = {
            name: values[0] if len(values) == 1 else values
            for name, values in request.form.lists()
            if name != forms.FIELD
        }
        return shortened_body(fields) if fields else None
    return f"{len(raw)} bytes of {logs.redact(request.mimetype[:80]) or 'no type'}"
