"""docs/admin-api.md and the OpenAPI document match the endpoints; the documented thresholds are the real ones."""

from __future__ import annotations

import ast
import inspect
import json
import os
import re
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from openapi_spec_validator import OpenAPIV31SpecValidator

from admin import api, openapi
from admin.api.declared import Endpoint, declared
from admin.api.models import Alive
from chaos.conforming import Conforming
from nomad_actors import thresholds
from nomad_actors.version import __version__

from .conftest import AdminApp

PAGE = (Path(__file__).parents[2] / "docs" / "admin-api.md").read_text()
#: Endpoints for people, not for programs.
PAGES = ("pages", "static")
#: Parameters that the page calls `:id`.
IDS = ("jobId", "characterId")


@pytest.fixture
def document(operator: FlaskClient) -> dict[str, Any]:
    """The OpenAPI document that the admin serves."""
    response = operator.get("/admin/openapi.json")
    assert (response.status_code, response.mimetype) == (200, "application/json")
    found: dict[str, Any] = response.get_json()
    return found


def test_the_page_lists_every_endpoint_and_no_other(web: Flask) -> None:
    documented = set(re.findall(r"^\| (GET|POST|PUT|DELETE) \| `([^`]+)` \|", PAGE, re.MULTILINE))
    names = {"job_id": "id", "character_id": "id", "filename": "file"}

    def written(rule: str) -> str:
        return re.sub(r"<(?:\w+:)?(\w+)>", lambda found: f":{names.get(found[1], found[1])}", rule)

    existing = {
        (method, written(rule.rule))
        for rule in web.url_map.iter_rules()
        for method in (rule.methods or set()) & {"GET", "POST", "DELETE", "PUT", "PATCH"}
    }
    assert documented == existing


def _is_page(path: str) -> bool:
    return path == "/" or re.match("/admin/(?!jobs/|openapi|doctor)", path) is not None


def test_the_document_has_every_endpoint_except_html_pages(document: dict[str, Any]) -> None:
    documented = set(re.findall(r"^\| (GET|POST|PUT|DELETE) \| `([^`]+)` \|", PAGE, re.MULTILINE))
    documented = {(method, path) for method, path in documented if not _is_page(path)}
    declared_paths = {
        (
            method.upper(),
            re.sub(r"{(\w+)}", lambda found: f":{'id' if found[1] in ('jobId', 'characterId') else found[1]}", path),
        )
        for path, operations in document["paths"].items()
        for method in operations
    }
    assert declared_paths == documented


def test_every_view_except_html_pages_is_declared(web: Flask) -> None:
    undeclared = [
        rule.endpoint
        for rule in web.url_map.iter_rules()
        if not rule.endpoint.startswith(PAGES) and not isinstance(web.view_functions[rule.endpoint], Endpoint)
    ]
    assert not undeclared


def test_the_document_is_valid_and_has_the_version(document: dict[str, Any]) -> None:
    OpenAPIV31SpecValidator(document).validate()
    assert document["openapi"].startswith("3.1.")
    assert document["info"]["version"] == __version__
    operations = [each for path in document["paths"].values() for each in path.values()]
    assert len({each["operationId"] for each in operations}) == len(operations)
    assert all(each["summary"] and each["responses"] for each in operations)


def test_the_document_has_the_schema_of_each_job_type(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    body = document["paths"]["/admin/jobs/queues/{queue}/jobs"]["post"]["requestBody"]
    assert body["content"]["application/json"]["schema"]["$ref"].endswith("/NewJob")
    choices = schemas["NewJob"]["discriminator"]["mapping"]
    assert set(choices) == {f"{queue}-work" for queue in ("token-refresh", "esi-refresh", "historical-data")} | {
        "cache-cleanup-work"
    }
    one = schemas[choices["token-refresh-work"].rpartition("/")[2]]
    assert one["properties"]["name"]["const"] == "token-refresh-work"
    data = schemas[one["properties"]["data"]["$ref"].rpartition("/")[2]]
    assert (list(data["properties"]), data["required"]) == (
        ["character_id", "note", "user_id", "fail", "wait"],
        ["character_id"],
    )


def test_the_document_is_the_same_in_every_process(document: dict[str, Any], tmp_path: Path) -> None:
    program = textwrap.dedent("""
        import json, sys
        from pathlib import Path
        from admin import create_app
        from tests.admin.conftest import make_app
        web = create_app(make_app("redis://127.0.0.1:1/0", Path(sys.argv[1])))
        print(web.test_client().get("/admin/openapi.json").text, end="")
    """)
    outputs = {
        subprocess.run(
            [sys.executable, "-c", program, str(tmp_path)],
            env={**os.environ, "PYTHONHASHSEED": seed},
            cwd=Path(__file__).parents[2],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    (text,) = outputs
    assert json.dumps(json.loads(text)) == json.dumps(document)


def test_every_declared_field_is_read(web: Flask) -> None:
    # Every field of a declared query or body is used by its view, so no caller sends one in vain.
    unread = [
        f"{rule.endpoint}: {what}.{field}"
        for rule, _, endpoint in openapi.endpoints(web)
        for what, kind in (("query", endpoint.query), ("body", endpoint.body))
        if kind is not None
        for field in kind.model_fields
        if (what, field) not in _attributes_read(endpoint)
    ]
    assert not unread


def _attributes_read(view: Callable[..., Any]) -> set[tuple[str, str]]:
    """Return the attributes of query and body that a view reads, itself or in functions that it passes them to."""
    view = getattr(view, "view", view)
    tree = ast.parse(textwrap.dedent(inspect.getsource(view)))
    read = {
        (node.value.id, node.attr)
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
    }
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and any(isinstance(argument, ast.Name) and argument.id in ("query", "body") for argument in node.args)
        ):
            read |= _attributes_read(view.__globals__[node.func.id])
    return read


def test_no_view_reads_undeclared_parts_of_a_request() -> None:
    # A view can only read what it declares; /metrics reads the Accept header for content negotiation.
    found = {
        f"{path.name}: request.{node.attr}"
        for path in Path(api.__path__[0]).glob("*.py")
        if path.name != "declared.py"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "request"
    }
    assert found == {"probes.py: request.headers"}


def test_an_undeclared_parameter_is_an_error_at_import() -> None:
    def view(queue: str) -> None:
        """Show a queue."""

    with pytest.raises(
        TypeError, match="'queue', which is not a query or a body, and not annotated with InPath, InHeader or InAccept"
    ):
        declared(Alive)(view)


@pytest.mark.parametrize(
    ("response", "message"),
    [
        ({"status": "ok", "more": 1}, "Additional properties are not allowed"),
        ({}, "'status' is a required property"),
        (({"status": "ok"}, 202), "this status is not in the document"),
        ("ok", "text/html is not in the document"),
    ],
)
def test_an_undeclared_response_is_detected(
    app: AdminApp, unchecked_web: Flask, response: object, message: str
) -> None:
    unchecked_web.add_url_rule("/undeclared", endpoint="undeclared", view_func=declared(Alive)(lambda: response))
    conforming = Conforming(unchecked_web, app.queues)
    unchecked_web.test_client().get("/undeclared")
    (broken,) = conforming.broken
    assert message in broken


def test_the_page_documents_the_real_thresholds() -> None:
    usual, bulk = thresholds.DEFAULT, thresholds.of_queue("historical-data")
    assert (usual.failure_percent, usual.failure_least_ended, usual.failure_window_seconds) == (10, 20, 3600)
    assert (usual.waiting_jobs, bulk.waiting_jobs) == (1000, None)
    assert (usual.oldest_waiting_seconds, bulk.oldest_waiting_seconds) == (3600, 86_400)
    assert usual.beyond_time_limit_seconds == 30
    slots = thresholds.SCHEDULES
    assert (slots.unclaimed_seconds, slots.unstarted_seconds, slots.silent_seconds) == (120, 3600, 60)
    assert "no scheduler has added for 2 minutes" in PAGE
    assert "no scheduler was heard of for 60 s" in PAGE
    for text in ("over 10 %", "at least 20 ended", "over 1000 jobs", "over an hour", "over a day", "30 s beyond"):
        assert text in PAGE
