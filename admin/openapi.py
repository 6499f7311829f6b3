"""The API's description, OpenAPI 3.1, made of what the endpoints declare and of the job types that are registered."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from http import HTTPStatus
from typing import Any

from flask import Flask
from pydantic import BaseModel
from pydantic.alias_generators import to_camel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaMode, models_json_schema
from werkzeug.routing import Rule

from nomad_actors.queues import Queues
from nomad_actors.queues.job_type import JobType
from nomad_actors.version import __version__

from .api.declared import Endpoint, Text
from .api.jobs import NewJob
from .api.models.problem import Problem
from .inputs import Query, repeated_of
from .paths import path_of

Schema = dict[str, Any]

_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
_INTRODUCTION = (
    "Background jobs: queues, jobs, schedules. Times are milliseconds, instants milliseconds since the epoch; only the "
    "schedules' are ISO 8601 in UTC. An unknown field or query parameter is refused."
)
_WHEN = {
    400: "A request that makes no sense as HTTP, or whose body cannot be read; nothing was done.",
    401: "No token where one is needed, or one that is not known or was revoked.",
    403: "Whoever asks may not.",
    404: "What the path names does not exist.",
    409: "The state of the job or the schedule does not allow it.",
    413: "A body over 64 KiB, of a new job over 1 MiB, of a batch over 8 MiB.",
    422: "A wrong value, an unknown field or query parameter, a body that is not JSON.",
    429: "A wrong token, after too many other wrong ones from this address.",
    503: "Redis or the database does not answer.",
}
_TOKEN: list[Schema] = [{"token": []}]
#: Where no tokens are configured, this machine may look without one.
_TOKEN_OR_THIS_MACHINE: list[Schema] = [*_TOKEN, {}]
_RETRY_AFTER = {"Retry-After": {"description": "seconds until asking again makes sense", "schema": {"type": "integer"}}}


def endpoints(web: Flask) -> Iterator[tuple[Rule, str, Endpoint]]:
    """Yield the declared endpoints with their rules and methods, in the order of their registration."""
    for rule in web.url_map.iter_rules():
        view = web.view_functions[rule.endpoint]
        if isinstance(view, Endpoint):
            yield from ((rule, method, view) for method in _METHODS if method in (rule.methods or ()))


def document(web: Flask, queues: Queues, *, prefix: str = "") -> Schema:
    """Return the document of `web`'s endpoints, which callers reach below `prefix`."""
    schemas = _Schemas([endpoint for _, _, endpoint in endpoints(web)], queues)
    paths: dict[str, Schema] = {}
    for rule, method, endpoint in endpoints(web):
        paths.setdefault(path_of(rule), {})[method.lower()] = _operation(rule, method, endpoint, schemas)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Nomad Actors", "version": __version__, "description": _INTRODUCTION},
        "servers": [{"url": prefix or "/"}],
        "paths": paths,
        "components": {
            "schemas": schemas.definitions,
            "responses": {_name(status): _problem(status, schemas) for status in _WHEN},
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": _TOKEN,
    }


class _Untitled(GenerateJsonSchema):
    """Schemas without a title a field, which would say its name again."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        """Return that it should not."""
        return False


_Kind = tuple[type[BaseModel], JsonSchemaMode]


@lru_cache(maxsize=4)
def _of_models(wanted: tuple[_Kind, ...]) -> tuple[Mapping[Any, Schema], Mapping[str, Schema]]:
    """Return a reference to each model's schema, and the schemas; a program's models are always the same."""
    references, document = models_json_schema(
        list(wanted), ref_template="#/components/schemas/{model}", schema_generator=_Untitled
    )
    return references, document["$defs"]


class _Schemas:
    """The schemas of everything that endpoints take and answer, one name each."""

    def __init__(self, found: list[Endpoint], queues: Queues) -> None:
        self.queues, job_types = queues, queues.job_types
        wanted: dict[_Kind, None] = {(Problem, "serialization"): None}
        for endpoint in found:
            answers = (each for each in endpoint.answers.values() if not isinstance(each, Text))
            wanted |= {(answer, "serialization"): None for answer in answers}
            wanted |= {(kind, "validation"): None for kind in (endpoint.query, endpoint.body) if kind}
        wanted |= {(job_type.payload, "validation"): None for job_type in job_types.values()}
        self._references, definitions = _of_models(tuple(wanted))
        self.definitions = dict(definitions)
        # Query parameters stand in the document one by one, jobs to add by their type.
        self._queries = {kind: self._taken(kind) for kind in {each.query for each in found if each.query}}
        if job_types:
            self._choose_jobs_by_type(job_types)

    def answer(self, kind: type[BaseModel]) -> Schema:
        """Return a reference to the schema of what is answered."""
        return self._references[(kind, "serialization")]

    def body(self, kind: type[BaseModel]) -> Schema:
        """Return a reference to the schema of a body."""
        return self._references[(kind, "validation")]

    def query(self, kind: type[Query]) -> Schema:
        """Return the schema of query parameters themselves."""
        return self._queries[kind]

    def _taken(self, kind: type[BaseModel]) -> Schema:
        """Return a schema, and leave it out of the document."""
        return self.definitions.pop(self._references[(kind, "validation")]["$ref"].rpartition("/")[2])

    def _choose_jobs_by_type(self, job_types: Mapping[str, JobType]) -> None:
        """Make of the schema of a job to add one for each job type."""
        new_job = self._taken(NewJob)
        jobs = {name: self._job_of(job_type, new_job) for name, job_type in sorted(job_types.items())}
        mapping = {name: reference["$ref"] for name, reference in jobs.items()}
        choice = {"propertyName": "name", "mapping": mapping}
        name = self._references[(NewJob, "validation")]["$ref"].rpartition("/")[2]
        self.definitions[name] = {"oneOf": list(jobs.values()), "discriminator": choice}

    def _job_of(self, job_type: JobType, new_job: Schema) -> Schema:
        """Add the schema of a job of one job type to the definitions; return a reference to it."""
        data = self._references[(job_type.payload, "validation")]
        named = {"const": job_type.name, "type": "string"}
        required = (
            ["name", "data"] if any(f.is_required() for f in job_type.payload.model_fields.values()) else ["name"]
        )
        name = f"{NewJob.__name__}.{job_type.name}"
        self.definitions[name] = {
            **new_job,
            "title": name,
            "description": job_type.description or f"A job for the queue {job_type.queue}.",
            "properties": {**new_job["properties"], "name": named, "data": data},
            "required": required,
        }
        return {"$ref": f"#/components/schemas/{name}"}


def _operation(rule: Rule, method: str, endpoint: Endpoint, schemas: _Schemas) -> Schema:
    summary, _, more = inspect.cleandoc(endpoint.view.__doc__ or "").partition("\n")
    operation: Schema = {
        "operationId": rule.endpoint,
        "tags": [rule.endpoint.partition(".")[0]],
        "summary": summary.rstrip("."),
    }
    if more.strip():
        operation["description"] = more.strip()
    if parameters := [
        *_path_parameters(rule, endpoint, schemas),
        *_query_parameters(endpoint, schemas),
        *_headers(endpoint),
    ]:
        operation["parameters"] = parameters
    if endpoint.body is not None:
        required = any(field.is_required() for field in endpoint.body.model_fields.values())
        content = {"application/json": {"schema": schemas.body(endpoint.body)}}
        operation["requestBody"] = {"required": required, "content": content}
    if endpoint.is_open:
        operation["security"] = []
    elif method == "GET":
        operation["security"] = _TOKEN_OR_THIS_MACHINE
    operation["responses"] = _responses(method, endpoint, schemas)
    return operation


def _path_parameters(rule: Rule, endpoint: Endpoint, schemas: _Schemas) -> Iterator[Schema]:
    for name in re.findall(r"<(?:\w+:)?(\w+)>", rule.rule):
        found = endpoint.path[name]
        told = {"name": to_camel(name), "in": "path", "required": True, "description": found.description}
        schema: Schema = {"type": "string", "minLength": 1}
        if found.choices is not None:
            schema["enum"] = list(found.choices(schemas.queues))
        yield {**told, "schema": schema}


def _query_parameters(endpoint: Endpoint, schemas: _Schemas) -> Iterator[Schema]:
    if endpoint.query is None:
        return
    told = schemas.query(endpoint.query)
    for name, schema in told["properties"].items():
        parameter: Schema = {"name": name, "in": "query", "required": name in told.get("required", ())}
        inner = {key: value for key, value in schema.items() if key not in ("title", "description")}
        if "description" in schema:
            parameter["description"] = schema["description"]
        if inner.get("type") == "array":
            is_repeated = name in repeated_of(endpoint.query)
            parameter |= {"style": "form", "explode": is_repeated}
            if not is_repeated and (default := inner.pop("default", None)):
                inner["default"] = [default]
        yield {**parameter, "schema": inner}


def _headers(endpoint: Endpoint) -> Iterator[Schema]:
    if endpoint.headers is None:
        return
    for name, schema in endpoint.headers.model_json_schema()["properties"].items():
        yield {"name": name, "in": "header", "description": schema["description"], "schema": {"type": "string"}}


def _responses(method: str, endpoint: Endpoint, schemas: _Schemas) -> Schema:
    told: dict[int, Schema] = {}
    for status, answer in endpoint.answers.items():
        if isinstance(answer, Text):
            content: Schema = {kind: {"schema": {"type": "string"}} for kind in answer.content_types}
            told[status] = {"description": HTTPStatus(status).phrase, "content": content}
        else:
            description = inspect.cleandoc(answer.__doc__ or "").partition("\n")[0]
            told[status] = {
                "description": description,
                "content": {"application/json": {"schema": schemas.answer(answer)}},
            }
    for status in endpoint.problems(method):
        if status in told:
            told[status]["content"] |= _problem(status, schemas)["content"]
        else:
            told[status] = {"$ref": f"#/components/responses/{_name(status)}"}
    return {str(status): told[status] for status in sorted(told)}


def _problem(status: int, schemas: _Schemas) -> Schema:
    told: Schema = {
        "description": _WHEN[status],
        "content": {"application/problem+json": {"schema": schemas.answer(Problem)}},
    }
    return {**told, "headers": _RETRY_AFTER} if status in (429, 503) else told


def _name(status: int) -> str:
    return HTTPStatus(status).phrase.replace(" ", "")
