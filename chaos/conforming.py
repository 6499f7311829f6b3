"""Checks every response of an admin against its own OpenAPI document."""

from __future__ import annotations

from typing import Any

from flask import Flask, Response, current_app, request
from jsonschema import Draft202012Validator

from admin import openapi
from admin.api.declared import Endpoint
from admin.urls import path_of
from nomad_actors.queues import Queues


class Conforming:
    """Checks responses as they are sent; `broken` lists those that do not match the document."""

    def __init__(self, web: Flask, queues: Queues) -> None:
        self.document = openapi.document(web, queues)
        self.broken: list[str] = []
        self.checked = 0
        self._steps = web.after_request_funcs.setdefault(None, [])
        # The function registered first is called last, so it sees what the caller gets.
        self._steps.insert(0, self._check)

    def close(self) -> None:
        """Stop checking."""
        self._steps.remove(self._check)

    def _check(self, response: Response) -> Response:
        rule = request.url_rule
        view = current_app.view_functions[rule.endpoint] if rule is not None else None
        if request.method == "OPTIONS" or (rule is not None and not isinstance(view, Endpoint)):
            return response
        if rule is None:
            found = self.document["components"]["responses"]["NotFound"]
            reason = self._mismatch(response, found) if response.status_code >= 400 else None
        else:
            method = "get" if request.method == "HEAD" else request.method.lower()
            responses = self.document["paths"][path_of(rule)][method]["responses"]
            reason = self._mismatch(response, self._resolve(responses.get(str(response.status_code))))
        self.checked += 1
        if reason is not None:
            self.broken.append(f"{request.method} {request.full_path} answered {response.status_code}: {reason}")
        return response

    def _mismatch(self, response: Response, declared: dict[str, Any] | None) -> str | None:
        """Return how a response differs from the document, None if it matches."""
        if declared is None:
            return "this status is not in the document"
        if not declared["content"]:
            return "it has a body" if response.content_length else None
        content = declared["content"].get(response.mimetype)
        if content is None:
            return f"{response.mimetype} is not in the document (it has {', '.join(declared['content'])})"
        if "Retry-After" in declared.get("headers", ()) and "Retry-After" not in response.headers:
            return "Retry-After is missing"
        if request.method == "HEAD" or not response.is_json:
            return None
        schema = {**content["schema"], "components": self.document["components"]}
        errors = Draft202012Validator(schema).iter_errors(response.get_json())
        return "; ".join(f"{each.json_path}: {each.message[:300]}" for each in errors) or None

    def _resolve(self, declared: dict[str, Any] | None) -> dict[str, Any] | None:
        if declared is not None and "$ref" in declared:
            found: dict[str, Any] = self.document["components"]["responses"][declared["$ref"].rpartition("/")[2]]
            return found
        return declared
