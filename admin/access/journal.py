"""What is written down of a request: in the audit log before a change acts and after it, and one line in the log."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

from flask import Response, g, request

from nomad_actors import log
from nomad_actors.errors import Unavailable
from nomad_actors.store import AuditedRequest

from .. import problems
from ..parts import application
from . import forms, tries
from .actors import current_actor
from .request_ids import elapsed_ms, request_id

logger = log.get_logger("admin")

#: What is written down of a body: of its texts, and of its lists and objects.
MOST_CHARS = 2_000
MOST_ENTRIES = 20


def begin() -> None:
    """Write a change before it acts.

    Raises `Unavailable`: then it must not act.
    """
    g.audit_id = application().store.audit.asked(_asked(_body()))


def not_begun(error: Unavailable) -> Response:
    """Return the answer to a change that was not made because it could not be written down first."""
    logger.error("refused", **_line(HTTPStatus.SERVICE_UNAVAILABLE), reason="audit", error=str(error))
    return problems.unavailable(Unavailable(f"nothing was changed: the audit log cannot be written ({error})"))


def told(status: int, error: str) -> None:
    """Note how a change ended whose answer does not say it: a page's answer to a form is always a redirect."""
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


def refused(status: int, reason: str, detail: str) -> None:
    """Write down a refusal, bounded in number; a database that is away lets nobody in and stops no refusal."""
    try:
        is_try = reason == tries.WRONG_TOKEN
        application().store.audit.refused(_asked(None), status, reason, detail, is_counted=is_try)
    except Unavailable as error:
        logger.error("a refusal is not in the audit log", error=str(error))
    logger.warning("refused", **_line(status), reason=reason, error=detail)


def _line(status: int) -> dict[str, Any]:
    actor = current_actor()
    told = {"method": request.method[:16], "path": _path(), "status": status, "actor": actor.name, "role": actor.role}
    return {**told, "peer": request.remote_addr or "", "ms": elapsed_ms()}


def _asked(body: str | None) -> AuditedRequest:
    actor, peer = current_actor(), (request.remote_addr or "")[:64]
    return AuditedRequest(
        request_id=request_id(),
        actor=actor.name,
        role=actor.role,
        peer=peer,
        source=tries.source_of(peer),
        method=request.method[:16],
        path=_path(),
        body=body,
    )


def _path() -> str:
    """Return the path as one line of printable ASCII, however it was sent."""
    return quote(request.path, safe="/:@!$&'()*+,;=~", errors="replace")[:500]


def _body() -> str | None:
    """Return the body in short, without secrets."""
    raw = request.get_data()
    if not raw:
        return None
    if request.is_json:
        try:
            return json.dumps(log.hide_secrets("", _in_short(json.loads(raw))), ensure_ascii=False)
        except (ValueError, RecursionError):
            return f"{len(raw)} bytes that are not JSON"
    if problems.is_page() and request.form:
        fields = {name: value for name, value in request.form.items() if name != forms.FIELD}
        return json.dumps(log.hide_secrets("", fields), ensure_ascii=False) if fields else None
    return f"{len(raw)} bytes of {log.redact(request.mimetype[:80]) or 'no type'}"


def _in_short(value: Any) -> Any:
    """Return a body's value with the beginning of what is long: what is written down is short anyway."""
    if isinstance(value, str):
        return value[:MOST_CHARS]
    if isinstance(value, dict):
        return {name[:MOST_CHARS]: _in_short(each) for name, each in list(value.items())[:MOST_ENTRIES]}
    if isinstance(value, list):
        more = [f"and {len(value) - MOST_ENTRIES} more"] if len(value) > MOST_ENTRIES else []
        return [*map(_in_short, value[:MOST_ENTRIES]), *more]
    return value
