"""The API and the pages can address a job by every allowed id."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import quote

import pytest
from flask.testing import FlaskClient
from markupsafe import escape

from nomad_actors.errors import BadInput

from .conftest import AdminApp
from .test_pages import form_token

QUEUE = "/queues/token-refresh"
IDS = [
    *(
        "plain",
        "a b",
        " blanks ",
        "-dash",
        "--json",
        "a?b#c&d=e;f",
        "%2F",
        "a%2Fb%",
        "%252F",
        "+",
        "~!$'()*,:@",
        "a\\b",
    ),
    *("/lead", "//two", "trail/", "a//b", "/", "a/../b", "../x", "/..", "./x", "a/.", "retry", "x/retry", "x/remove"),
    *("é" * 199, "\N{PILE OF POO}/\N{HEBREW LETTER ALEF}", "<b>bold</b>", '"quoted"', "null", "0", "x" * 200),
]


@pytest.mark.parametrize("job_id", IDS, ids=lambda each: each[:12])
def test_a_job_with_any_id_can_be_shown_and_changed(operator: FlaskClient, app: AdminApp, job_id: str) -> None:
    body = {"name": "token-refresh-work", "data": {"character_id": 1}, "opts": {"jobId": job_id, "delay": 60_000}}
    assert operator.post(f"/admin/jobs{QUEUE}/jobs", json=body).get_json()["id"] == job_id
    api = f"/admin/jobs{QUEUE}/jobs/{quote(job_id, safe='')}"
    assert operator.get(api).get_json()["id"] == job_id
    listed = operator.get(f"/admin{QUEUE}?status=delayed").text
    found = re.findall(r'href="(/admin/queues/token-refresh/jobs/[^"]+)"', listed)
    assert found == [f"/admin{QUEUE}/jobs/{quote(job_id, safe='')}"]
    page = operator.get(found[0])
    assert f"<code>{escape(job_id)}</code>" in page.text
    actions = re.findall(r'action="([^"]+/promote)"', page.text)
    assert operator.post(actions[0], data={"form_token": form_token(page.text)}).status_code == 303
    assert operator.get(api).get_json()["status"] == "waiting"
    assert operator.post(f"{api}/cancel", json={}).status_code == 200
    assert operator.post(f"{api}/retry").status_code == 200
    assert operator.delete(api).status_code == 200
    assert operator.get(api).status_code == 404


@pytest.mark.parametrize("job_id", ["", "..", "schedule:x", "a\nb", "a\0", "\ud800", "x" * 201, "\u202e", 5, ["a"]])
def test_an_id_that_cannot_be_addressed_is_refused(app: AdminApp, operator: FlaskClient, job_id: Any) -> None:
    with pytest.raises(BadInput, match=r"job id .* is invalid"):
        app.queues.add_job("token-refresh", "token-refresh-work", {"character_id": 1}, job_id=job_id)
    body = {"name": "token-refresh-work", "data": {"character_id": 1}, "opts": {"jobId": job_id}}
    assert operator.post(f"/admin/jobs{QUEUE}/jobs", json=body).status_code == 422
