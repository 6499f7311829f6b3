"""The API's OpenAPI 3.1 document, made from the declared endpoints and the registered job types."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from http import HTTPStatus
from typing import Any

from flask import Blueprint, Flask, current_app
from pydantic import BaseModel
from pydantic.alias_generators import to_camel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaMode, models_json_schema
from werkzeug.routing import Rule

from nomad_actors.queues import Queues
from nomad_actors.queues.job_type import JobType
from nomad_actors.version import __version__

from .api.declared import Endpoint, Text, declared
from .api.jobs import NewJob
from .api.models import OpenApi, Problem
from .current_app import all_queues
from .inputs import repeatable_names
from .urls import link, path_of

api = Blueprint("description", __name__, url_prefix="/admin")

Schema = dict[str, Any]

_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
_INTRODUCTION = (
    "Background jobs: queues, jobs, schedules. Durations are in milliseconds and timestamps in milliseconds since the "
    "epoch; only those of schedules are ISO 8601 in UTC. Unknown fields and query parameters are refused."
)
_STATUS_DESCRIPTIONS = {
    400: "Malformed HTTP, or a body that cannot be read; nothing was done.",
    401: "A required token is missing, unknown or revoked.",
    403: "The caller is not allowed to do this.",
    404: "The queue, job, schedule, character or path does not exist.",
    406: "Accept allows none of the content types.",
    409: "The state of the job or the schedule does not allow it.",
    413: "The body is larger than 64 KiB; for a new job 1 MiB, for a batch 8 MiB.",
    422: "An invalid value, an unknown field or query parameter, or a body that is not JSON.",
    429: "A wrong token, after too many wrong ones from this address.",
    503: "Redis or the database does not answer.",
}
_TOKEN: list[Schema] = [{"token": []}]
#: If no tokens are configured, this machine may read without one.
_TOKEN_OR_THIS_MACHINE: list[Schema] = [*_TOKEN, {}]
_RETRY_AFTER = {
    "Retry-After": {"description": "seconds to wait before the next attempt", "schema": {"type": "integer"}}
}


@api.get("/openapi.json")
@declared(OpenApi, problems=())
def description() -> Schema:
    """Return this document."""
    return document(current_app, all_queues(), prefix=link(""))


def endpoints(web: Flask) -> Iterator[tuple[Rule, str, Endpoint]]:
    """Yield the declared endpoints with their rules and methods, in order of registration."""
    for rule in web.url_map.iter_rules():
        view = web.view_functions[rule.endpoint]
        if isinstance(view, Endpoint):
            yield from ((rule, method, view) for method in _METHODS if method in (rule.methods or ()))


def document(web: Flask, queues: Queues, *, prefix: str = "") -> Schema:
    """Return the document of `web`'s endpoints; `prefix` is the path before all of theirs."""
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
            "responses": {_name(status): _problem(status, schemas) for status in _STATUS_DESCRIPTIONS},
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": _TOKEN,
    }


class _UntitledFields(GenerateJsonSchema):
    # A field's title would only repeat its name.
    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


_ModelAndMode = tuple[type[BaseModel], JsonSchemaMode]


@lru_cache(maxsize=4)
def _model_schemas(models: tuple[_ModelAndMode, ...]) -> tuple[Mapping[Any, Schema], Mapping[str, Schema]]:
    """Return a reference to each model's schema, and the schemas."""
    references, document = models_json_schema(
        list(models), ref_template="#/components/schemas/{model}", schema_generator=_UntitledFields
    )
    return references, document["$defs"]


class _Schemas:
    """The schemas of all requests and responses, each with a unique name."""

    def __init__(self, endpoints: list[Endpoint], queues: Queues) -> None:
        self.queues, job_types = queues, queues.job_types
        # A dict, not a set: the document must be the same in every process.
        models: dict[_ModelAndMode, None] = {(Problem, "serialization"): None}
        for endpoint in endpoints:
            responses = (each for each in endpoint.responses.values() if not isinstance(each, Text))
            models |= {(response, "serialization"): None for response in responses}
            models |= {(model, "validation"): None for model in (endpoint.query, endpoint.body) if model}
        models |= {(job_type.payload, "validation"): None for job_type in job_types.values()}
        self._references, definitions = _model_schemas(tuple(models))
        self.definitions = dict(definitions)
        # The document lists each query parameter by itself, and a new job by its job type.
        self.queries = {model: self._pop(model) for model in {each.query for each in endpoints if each.query}}
        if job_types:
            self._split_new_job_by_type(job_types)

    def reference(self, model: type[BaseModel], mode: JsonSchemaMode) -> Schema:
        """Return a reference to the schema of a body (validation) or of a response (serialization)."""
        return self._references[(model, mode)]

    def _pop(self, model: type[BaseModel]) -> Schema:
        return self.definitions.pop(self._references[(model, "validation")]["$ref"].rpartition("/")[2])

    def _split_new_job_by_type(self, job_types: Mapping[str, JobType]) -> None:
        """Replace the schema of a new job with one schema for each job type."""
        new_job = self._pop(NewJob)
        jobs = {name: self._add_new_job(job_type, new_job) for name, job_type in sorted(job_types.items())}
        mapping = {name: reference["$ref"] for name, reference in jobs.items()}
        choice = {"propertyName": "name", "mapping": mapping}
        name = self._references[(NewJob, "validation")]["$ref"].rpartition("/")[2]
        self.definitions[name] = {"oneOf": list(jobs.values()), "discriminator": choice}

    def _add_new_job(self, job_type: JobType, new_job: Schema) -> Schema:
        """Add the schema of a new job of one job type; return a reference to it."""
        data = self._references[(job_type.payload, "validation")]
        type_name = {"const": job_type.name, "type": "string"}
        needs_data = any(field.is_required() for field in job_type.payload.model_fields.values())
        name = f"{NewJob.__name__}.{job_type.name}"
        self.definitions[name] = {
            **new_job,
            "title": name,
            "description": job_type.description or f"A job for the queue {job_type.queue}.",
            "properties": {**new_job["properties"], "name": type_name, "data": data},
            "required": ["name", "data"] if needs_data else ["name"],
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
        *(
            {"name": header.name, "in": "header", "description": header.description, "schema": {"type": "string"}}
            for header in endpoint.headers.values()
        ),
    ]:
        operation["parameters"] = parameters
    if endpoint.body is not None:
        required = any(field.is_required() for field in endpoint.body.model_fields.values())
        content = {"application/json": {"schema": schemas.reference(endpoint.body, "validation")}}
        operation["requestBody"] = {"required": required, "content": content}
    if endpoint.declaration.is_open:
        operation["security"] = []
    elif method == "GET" and not endpoint.declaration.is_data:
        operation["security"] = _TOKEN_OR_THIS_MACHINE
    operation["responses"] = _responses(method, endpoint, schemas)
    return operation


def _path_parameters(rule: Rule, endpoint: Endpoint, schemas: _Schemas) -> Iterator[Schema]:
    for name in re.findall(r"<(?:\w+:)?(\w+)>", rule.rule):
        declared = endpoint.path[name]
        schema: Schema = {"type": "string", "minLength": 1}
        if declared.choices is not None:
            schema["enum"] = list(declared.choices(schemas.queues))
        parameter = {"name": to_camel(name), "in": "path", "required": True, "description": declared.description}
        yield {**parameter, "schema": schema}


def _query_parameters(endpoint: Endpoint, schemas: _Schemas) -> Iterator[Schema]:
    if endpoint.query is None:
        return
    query = schemas.queries[endpoint.query]
    for name, schema in query["properties"].items():
        parameter: Schema = {"name": name, "in": "query", "required": name in query.get("required", ())}
        inner = {key: value for key, value in schema.items() if key not in ("title", "description")}
        if "description" in schema:
            parameter["description"] = schema["description"]
        if inner.get("type") == "array":
            is_repeatable = name in repeatable_names(endpoint.query)
            parameter |= {"style": "form", "explode": is_repeatable}
            if not is_repeatable and (default := inner.pop("default", None)):
                inner["default"] = [default]
        yield {**parameter, "schema": inner}


def _responses(method: str, endpoint: Endpoint, schemas: _Schemas) -> Schema:
    responses: dict[int, Schema] = {}
    others = {name: {"schema": {"type": "string"}} for names in endpoint.accepts.values() for name in names[1:]}
    for status, model in endpoint.responses.items():
        if isinstance(model, Text):
            content: Schema = {content_type: {"schema": {"type": "string"}} for content_type in model.content_types}
            responses[status] = {"description": HTTPStatus(status).phrase, "content": content}
        else:
            responses[status] = {
                "description": inspect.cleandoc(model.__doc__ or "").partition("\n")[0],
                "content": {"application/json": {"schema": schemas.reference(model, "serialization")}} | others,
            }
    for status in endpoint.problems(method):
        if status in responses:
            responses[status]["content"] |= _problem(status, schemas)["content"]
        else:
            responses[status] = {"$ref": f"#/components/responses/{_name(status)}"}
    return {str(status): responses[status] for status in sorted(responses)}


def _problem(status: int, schemas: _Schemas) -> Schema:
    response: Schema = {
        "description": _STATUS_DESCRIPTIONS[status],
        "content": {"application/problem+json": {"schema": schemas.reference(Problem, "serialization")}},
    }
    return {**response, "headers": _RETRY_AFTER} if status in (429, 503) else response


def _name(status: int) -> str:
    return HTTPStatus(status).phrase.replace(" ", "")
