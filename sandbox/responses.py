"""The sandbox's responses: compact JSON, errors in ESI's format."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from flask import Response
from werkzeug.datastructures import Headers

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment


class NotModified(Response):
    """A 304 with `Last-Modified`, as ESI sends it; werkzeug would drop that header."""

    def __init__(self, headers: dict[str, str]) -> None:
        super().__init__(status=304, headers=headers)

    def get_wsgi_headers(self, environ: WSGIEnvironment) -> Headers:
        headers = super().get_wsgi_headers(environ)
        headers["Last-Modified"] = self.headers["Last-Modified"]
        return headers


class RequestError(Exception):
    """Raised to respond with an error in ESI's format."""

    def __init__(self, status: int, error: str, *, headers: dict[str, str] | None = None) -> None:
        super().__init__(error)
        self.status = status
        self.error = error
        self.headers = headers or {}

    def response(self) -> Response:
        """Return the error response."""
        return as_json({"error": self.error}, status=self.status, headers=self.headers)


def dump(document: object) -> bytes:
    """Return a document as JSON bytes, which are sent and hashed."""
    return json.dumps(document, separators=(",", ":")).encode()


def as_json(document: object, *, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """Return a response with a JSON document."""
    return Response(dump(document), status=status, headers=headers, mimetype="application/json")
