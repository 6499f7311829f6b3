"""docs/sandbox.md names every kind of fault, every field, every step and every reason, and its script works."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

import pytest
import requests

from sandbox.app import create_app
from sandbox.conduct.reasons import REASONS
from sandbox.fault_kinds import KINDS
from sandbox.faults import Fault
from sandbox.script import ACTIONS
from sandbox.serve import SandboxServer

PAGE = (Path(__file__).parents[2] / "docs" / "sandbox.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", [*KINDS, *REASONS, *ACTIONS, *(each.name for each in dataclasses.fields(Fault))])
def test_every_name_is_on_the_page(name: str) -> None:
    assert f"`{name}`" in PAGE


def test_every_address_of_the_control_api_is_on_the_page() -> None:
    paths = {str(rule) for rule in create_app(characters=1).url_map.iter_rules() if str(rule).startswith("/sandbox/")}
    assert len(paths) > 9
    for path in paths:
        assert re.sub(r"<int:\w+>", "<id>", path) in PAGE, path


def test_the_script_of_the_page_is_accepted(sandbox: SandboxServer) -> None:
    [text] = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
    body = json.loads(text)
    for step in body["steps"]:
        if "kill" in step:
            step["kill"] = sandbox.logins()[0]["character_id"]
    response = requests.post(f"{sandbox.base_url}/sandbox/script", json=body, timeout=10)
    assert response.status_code == 200, response.text
    assert len(response.json()["steps"]) == len(body["steps"])
