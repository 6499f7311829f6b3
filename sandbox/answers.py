"""How the sandbox writes answers: compact JSON, errors in ESI's form."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from flask import Response
from werkzeug.datastructures import Headers

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment


class NotModified(Response):
    """A 304 that says `Last-Modified`, as ESI's do; werkzeug would drop it as a header of the body."""

    def __init__(self, headers: dict[str, str]) -> None:
        super().__init__(status=304, headers=headers)

    def get_wsgi_headers(self, environ: WSGIEnvironment) -> Headers:
        """Return the headers to send."""
        headers = super().get_wsgi_headers(environ)
        headers["Last-Modified"] = self.headers["Last-Modified"]
        return headers


class Refusal(Exception):
    """Raised to answer a request with an error in ESI's form."""

    def __init__(self, status: int, error: str, *, headers: dict[str, str] | None = None) -> None:
        super().__init__(error)
        self.status = status
        self.error = error
        self.headers = headers or {}

    def answer(self) -> Response:
        """Return the error's answer."""
        return as_json({"error": self.error}, status=self.status, headers=self.headers)


def dump(document: object) -> bytes:
    """Write a document as the bytes that are sent and hashed."""
    return json.dumps(document, separators=(",", ":")).encode()


def as_json(document: object, *, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """Return an answer that holds one JSON document."""
    return Response(dump(document), status=status, headers=headers, mimetype="application/json")
