"""Damages to a route's response; headers stay as they were, so a careless client keeps the ETag of what it lost."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from email.utils import formatdate, parsedate_to_datetime
from typing import Final

from flask import Response

from .fault_kinds import HTML

#: How much older another node's copy of a page is (esi-issues #1124).
OLDER_S = 600


def alter(name: str, response: Response) -> Response:
    """Return the response with one damage; a body is damaged only if there is one."""
    if name in _HEADERS:
        _HEADERS[name](response)
    elif response.status_code == 200:
        _BODIES[name](response)
    return response


def _replace(text: str, mimetype: str = "application/json") -> Callable[[Response], None]:
    def change(response: Response) -> None:
        response.set_data(text)
        response.mimetype = mimetype

    return change


def _no_content(response: Response) -> None:
    response.status_code = 204
    response.set_data(b"")


def _truncate(response: Response) -> None:
    """Keep the first half, with a Content-Length that fits it, as a proxy passes it on."""
    response.set_data(_half(response.get_data()))


def _cut(response: Response) -> None:
    """Keep the first half, with the Content-Length of all of it: the connection ends too early."""
    body = response.get_data()
    response.set_data(_half(body))
    response.headers["Content-Length"] = str(len(body))


def _half(body: bytes) -> bytes:
    return body[: len(body) // 2]


def _mixed_page(response: Response) -> None:
    """Give one page the time of an older copy of the listing."""
    if "Last-Modified" in response.headers:
        made_s = parsedate_to_datetime(response.headers["Last-Modified"]).timestamp() - OLDER_S
        response.headers["Last-Modified"] = formatdate(made_s, usegmt=True)


def _no_x_pages(response: Response) -> None:
    response.headers.pop("X-Pages", None)


def _more_pages(response: Response) -> None:
    if "X-Pages" in response.headers:
        response.headers["X-Pages"] = str(int(response.headers["X-Pages"]) + 1)


_BODIES: Final[Mapping[str, Callable[[Response], None]]] = {
    "null": _replace("null"),
    "empty-string": _replace('""'),
    "error-object": _replace('{"error":"Timeout contacting tranquility"}'),
    "empty-body": _replace(""),
    "no-content": _no_content,
    "empty-list": _replace("[]"),
    "html": _replace(HTML, "text/html"),
    "truncated": _truncate,
    "cut": _cut,
}
_HEADERS: Final[Mapping[str, Callable[[Response], None]]] = {
    "mixed-page": _mixed_page,
    "no-x-pages": _no_x_pages,
    "more-pages": _more_pages,
}
