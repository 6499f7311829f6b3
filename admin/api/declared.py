"""How an endpoint is declared: once, beside its view, for the reading of requests and for the document alike.

A view's signature says what it takes: a parameter of its path (annotated with `InPath`), `query` (a `Query`), `body`
(a `Body`) and `headers` (`Headers`). What is not declared cannot reach the view; what is sent beside it is refused.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from types import MappingProxyType
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from flask import request
from pydantic import BaseModel

from nomad_actors.errors import BadInput
from nomad_actors.queues import Queue, Queues
from nomad_actors.response_model import ResponseModel

from ..current_app import all_queues
from ..inputs import Body, Headers, NoBody, NoQuery, Query, read_body, read_headers, read_query
from ..sizes import MAX_BODY_BYTES


@dataclass(frozen=True)
class Text:
    """An answer that is not JSON: the content types that it may have."""

    content_types: tuple[str, ...]


@dataclass(frozen=True)
class InPath:
    """A parameter of the path; `find` makes of its text what the view gets, and raises what makes the answer 404."""

    description: str
    find: Callable[[str], object] = str
    #: The texts that exist, where they are known before anybody asks.
    choices: Callable[[Queues], Sequence[str]] | None = None


#: Found before anything else is read: an unknown queue is 404, whatever is sent to it.
ThisQueue = Annotated[Queue, InPath("a queue's name", lambda name: all_queues().get_queue(name), Queues.names)]
JobId = Annotated[str, InPath("a job's id; a slash in it is written %2F")]
ScheduleName = Annotated[str, InPath("a schedule's name")]

Answers = type[BaseModel] | Mapping[int, type[BaseModel] | Text]


class Endpoint:
    """A view with what it takes and answers; called by Flask with the texts of the path."""

    def __init__(
        self,
        view: Callable[..., Any],
        answers: Answers,
        *,
        problems: tuple[int, ...],
        lenient: bool,
        is_open: bool,
        max_body_bytes: int,
        instead_of: Mapping[str, str],
    ) -> None:
        functools.update_wrapper(self, view)
        hints = get_type_hints(view, include_extras=True)
        hints.pop("return", None)
        self.view = view
        self.answers = answers if isinstance(answers, Mapping) else {200: answers}
        self.own_problems = problems
        #: Takes any query parameter, and does not look at it.
        self.lenient = lenient
        #: Answers callers without a token too.
        self.is_open = is_open
        #: A larger body is refused by its length, before any of it is read into memory.
        self.max_body_bytes = max_body_bytes
        #: Headers that callers may take for heeded here, and what there is instead.
        self.instead_of = instead_of
        self.query: type[Query] | None = hints.pop("query", None)
        self.body: type[Body] | None = hints.pop("body", None)
        self.headers: type[Headers] | None = hints.pop("headers", None)
        self.path = {name: _in_path(view, name, hint) for name, hint in hints.items()}

    def __call__(self, **texts: str) -> Any:
        """Read the request and answer it.

        Raises `BadInput`, and what the path's parameters raise.
        """
        given = {name: self.path[name].find(text) for name, text in texts.items()}
        for name, instead in self.instead_of.items():
            if name in request.headers:
                raise BadInput(f"header {name} is not heeded here (accepted: {instead})", accepted=[instead])
        if not self.lenient:
            query = read_query(request, self.query or NoQuery)
            given |= {"query": query} if self.query else {}
        if request.method not in ("GET", "HEAD"):
            body = read_body(request, self.body or NoBody)
            given |= {"body": body} if self.body else {}
        if self.headers:
            given["headers"] = read_headers(request, self.headers)
        return _with_json(self.view(**given))

    def problems(self, method: str) -> list[int]:
        """Return the statuses of the problems that it may answer, sorted."""
        statuses = {*self.own_problems, HTTPStatus.FORBIDDEN}
        if not self.is_open:
            statuses |= {HTTPStatus.UNAUTHORIZED, HTTPStatus.TOO_MANY_REQUESTS}
        if not self.lenient:
            statuses.add(HTTPStatus.UNPROCESSABLE_ENTITY)
        if self.path:
            statuses.add(HTTPStatus.NOT_FOUND)
        if method != "GET":
            # Its body is read whole, and it is written to the audit log first, which may be away.
            statuses |= {
                HTTPStatus.BAD_REQUEST,
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                HTTPStatus.SERVICE_UNAVAILABLE,
            }
        return sorted(int(status) for status in statuses)


def declared(
    answers: Answers,
    *,
    problems: tuple[int, ...] = (503,),
    lenient: bool = False,
    is_open: bool = False,
    max_body_bytes: int = MAX_BODY_BYTES,
    instead_of: Mapping[str, str] = MappingProxyType({}),
) -> Callable[[Callable[..., Any]], Endpoint]:
    """Declare a view an endpoint: what it answers (200, or by status) and which problems of its own it has.

    What follows from the rest is added: 403 everywhere, 401 and 429 where a token is asked for, 404 with a parameter in
    the path, 400, 413 and 503 with a change, 422 unless it is `lenient` with query parameters. `is_open` asks for no
    token. `instead_of` refuses headers, each with what there is in its place.
    """
    return functools.partial(
        Endpoint,
        answers=answers,
        problems=problems,
        lenient=lenient,
        is_open=is_open,
        max_body_bytes=max_body_bytes,
        instead_of=instead_of,
    )


def _with_json(answer: Any) -> Any:
    """Return a view's answer with the model in it, alone or beside a status, as JSON."""
    if isinstance(answer, tuple):
        return _with_json(answer[0]), *answer[1:]
    return answer.as_json() if isinstance(answer, ResponseModel) else answer


def _in_path(view: Callable[..., Any], name: str, hint: object) -> InPath:
    if get_origin(hint) is Annotated:
        for mark in get_args(hint)[1:]:
            if isinstance(mark, InPath):
                return mark
    raise TypeError(f"{view.__name__} takes {name!r}, which is no query, no body and not annotated with InPath")
