"""Holds every answer of an admin against the document that it gives of itself."""

from __future__ import annotations

from typing import Any

from flask import Flask, Response, current_app, request
from jsonschema import Draft202012Validator

from admin import openapi
from admin.api.declared import Endpoint
from admin.paths import path_of
from nomad_actors.queues import Queues


class Conforming:
    """Checks answers as they leave; `broken` tells those that the document does not know."""

    def __init__(self, web: Flask, queues: Queues) -> None:
        self.document = openapi.document(web, queues)
        self.broken: list[str] = []
        self.checked = 0
        self._steps = web.after_request_funcs.setdefault(None, [])
        # The first one registered is called last: it sees what the caller gets.
        self._steps.insert(0, self._check)

    def close(self) -> None:
        """Look no more."""
        self._steps.remove(self._check)

    def _check(self, answer: Response) -> Response:
        rule = request.url_rule
        view = current_app.view_functions[rule.endpoint] if rule is not None else None
        if request.method == "OPTIONS" or (rule is not None and not isinstance(view, Endpoint)):
            return answer
        if rule is None:
            found = self.document["components"]["responses"]["NotFound"]
            reason = self._unlike(answer, found) if answer.status_code >= 400 else None
        else:
            method = "get" if request.method == "HEAD" else request.method.lower()
            answers = self.document["paths"][path_of(rule)][method]["responses"]
            reason = self._unlike(answer, self._looked_up(answers.get(str(answer.status_code))))
        self.checked += 1
        if reason is not None:
            self.broken.append(f"{request.method} {request.full_path} answered {answer.status_code}: {reason}")
        return answer

    def _unlike(self, answer: Response, declared: dict[str, Any] | None) -> str | None:
        """Return in what an answer is not what the document says."""
        if declared is None:
            return "this status is not in the document"
        content = declared["content"].get(answer.mimetype)
        if content is None:
            return f"{answer.mimetype} is not in the document (it has {', '.join(declared['content'])})"
        if "Retry-After" in declared.get("headers", ()) and "Retry-After" not in answer.headers:
            return "Retry-After is missing"
        if request.method == "HEAD" or not answer.is_json:
            return None
        schema = {**content["schema"], "components": self.document["components"]}
        wrong = Draft202012Validator(schema).iter_errors(answer.get_json())
        return "; ".join(f"{each.json_path}: {each.message[:300]}" for each in wrong) or None

    def _looked_up(self, declared: dict[str, Any] | None) -> dict[str, Any] | None:
        if declared is not None and "$ref" in declared:
            found: dict[str, Any] = self.document["components"]["responses"][declared["$ref"].rpartition("/")[2]]
            return found
        return declared
