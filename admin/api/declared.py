"""Declares an endpoint once, next to its view; requests are read and the document is written from the declaration.

A view's signature declares its input: `query` and `body` (each an `Input`), parameters of its path (annotated with
`InPath`) and headers (`InHeader`). Input that is not declared does not reach the view and is refused.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from http import HTTPStatus
from typing import Annotated, Any, get_type_hints

from flask import current_app, request
from pydantic import BaseModel

from nomad_actors.errors import BadInput
from nomad_actors.queues import Queue, Queues
from nomad_actors.response_model import ResponseModel

from ..current_app import all_queues
from ..inputs import MAX_BODY_BYTES, Input, NoInput, read_accept, read_body, read_header, read_query


@dataclass(frozen=True)
class Text:
    """A response that is not JSON, with its possible content types; without any it has no body."""

    content_types: tuple[str, ...]


@dataclass(frozen=True)
class InPath:
    """A parameter of the path; `find` turns its text into the view's argument, and raises if the response is 404."""

    description: str
    find: Callable[[str], object] = str
    #: The existing values, if they are known in advance.
    choices: Callable[[Queues], Sequence[str]] | None = None


@dataclass(frozen=True)
class InHeader:
    """A header that may be left out: the view's argument is then None."""

    name: str
    description: str


@dataclass(frozen=True)
class InAccept:
    """The header `Accept`: the view's argument is the content type that the caller prefers; without one the first."""

    content_types: tuple[str, ...]


#: Looked up before anything else is read: an unknown queue is 404, whatever the rest of the request.
ThisQueue = Annotated[Queue, InPath("a queue's name", lambda name: all_queues().get_queue(name), Queues.names)]
JobId = Annotated[str, InPath("a job's id; write a slash in it as %2F")]
ScheduleName = Annotated[str, InPath("a schedule's name")]


@dataclass(frozen=True)
class declared:  # noqa: N801 - a decorator
    """Declares a view as an endpoint, with its responses (of 200, or by status) and its own problems.

    Others are added: 403 everywhere, 401 and 429 if a token is needed, 404 with a parameter in the path, 400, 413 and
    503 for changes, 406 with an `InAccept`, 422 unless it is `lenient` about query parameters.
    """

    responses: type[BaseModel] | Mapping[int, type[BaseModel] | Text]
    _: KW_ONLY
    problems: tuple[int, ...] = (503,)
    #: Ignores query parameters.
    lenient: bool = False
    #: Needs no token.
    is_open: bool = False
    #: Shows players' data: the role reader may ask, and nobody without a token, not even on this machine.
    is_data: bool = False
    #: A larger body is refused by its length, before it is read into memory.
    max_body_bytes: int = MAX_BODY_BYTES
    #: Headers that callers may expect to work here and that are refused, and what to use instead.
    instead_of: Mapping[str, str] = field(default_factory=dict)

    def __call__(self, view: Callable[..., Any]) -> Endpoint:
        return Endpoint(view, self)


class Endpoint:
    """A view with its input and responses; Flask calls it with the texts of the path."""

    def __init__(self, view: Callable[..., Any], declaration: declared) -> None:
        functools.update_wrapper(self, view)
        hints = get_type_hints(view, include_extras=True)
        hints.pop("return", None)
        self.view = view
        self.declaration = declaration
        self.query: type[Input] | None = hints.pop("query", None)
        self.body: type[Input] | None = hints.pop("body", None)
        marks = {name: _mark(view, name, hint) for name, hint in hints.items()}
        self.path = {name: mark for name, mark in marks.items() if isinstance(mark, InPath)}
        self.headers = {name: mark for name, mark in marks.items() if isinstance(mark, InHeader)}
        self.accepts = {name: mark.content_types for name, mark in marks.items() if isinstance(mark, InAccept)}

    @property
    def responses(self) -> Mapping[int, type[BaseModel] | Text]:
        """The model of each status that is no problem."""
        responses = self.declaration.responses
        return responses if isinstance(responses, Mapping) else {200: responses}

    def __call__(self, **texts: str) -> Any:
        arguments = {name: self.path[name].find(text) for name, text in texts.items()}
        for name, instead in self.declaration.instead_of.items():
            if name in request.headers:
                raise BadInput(f"header {name} is not supported here (allowed: {instead})", accepted=[instead])
        if not self.declaration.lenient:
            query = read_query(request, self.query or NoInput)
            arguments |= {"query": query} if self.query else {}
        if request.method not in ("GET", "HEAD"):
            body = read_body(request, self.body or NoInput)
            arguments |= {"body": body} if self.body else {}
        arguments |= {name: read_header(request, header.name) for name, header in self.headers.items()}
        arguments |= {name: read_accept(request, content_types) for name, content_types in self.accepts.items()}
        return _with_json(self.view(**arguments))

    def problems(self, method: str) -> list[int]:
        """Return the statuses of its possible problem responses, sorted."""
        statuses = {*self.declaration.problems, HTTPStatus.FORBIDDEN}
        if not self.declaration.is_open:
            statuses |= {HTTPStatus.UNAUTHORIZED, HTTPStatus.TOO_MANY_REQUESTS}
        if not self.declaration.lenient:
            statuses.add(HTTPStatus.UNPROCESSABLE_ENTITY)
        if self.path:
            statuses.add(HTTPStatus.NOT_FOUND)
        if self.accepts:
            statuses.add(HTTPStatus.NOT_ACCEPTABLE)
        if method != "GET":
            # The body is read, and the request is first written to the audit log, whose database may be down.
            statuses |= {HTTPStatus.BAD_REQUEST, HTTPStatus.REQUEST_ENTITY_TOO_LARGE, HTTPStatus.SERVICE_UNAVAILABLE}
        return sorted(int(status) for status in statuses)


def current_declaration() -> declared | None:
    """Return the declaration of the current request's endpoint; None for a page and for an unknown path."""
    view = current_app.view_functions.get(request.endpoint or "")
    return view.declaration if isinstance(view, Endpoint) else None


def _with_json(response: Any) -> Any:
    if isinstance(response, tuple):
        return _with_json(response[0]), *response[1:]
    return response.as_json() if isinstance(response, ResponseModel) else response


def _mark(view: Callable[..., Any], name: str, hint: object) -> InPath | InHeader | InAccept:
    for mark in getattr(hint, "__metadata__", ()):
        if isinstance(mark, InPath | InHeader | InAccept):
            return mark
    raise TypeError(
        f"{view.__name__} takes {name!r}, which is not a query or a body, and not annotated with InPath, InHeader or "
        "InAccept"
    )
