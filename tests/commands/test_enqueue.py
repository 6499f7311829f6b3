"""`nomad enqueue`: options made from payloads, and waiting for the job to end."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import field_validator

from nomad_actors.app import QueueAccess
from nomad_actors.queues.job_type import JobType, Payload, Result
from tests.support.foreign_values import RAISED
from tests.support.processes import program

from .conftest import Nomad

NomadJson = Callable[..., Any]


class Hostile(Payload):
    """A payload whose validator raises the chosen exception."""

    kind: int

    @field_validator("kind")
    @classmethod
    def _raises(cls, kind: int) -> int:
        raise RAISED[kind]()


HOSTILE = JobType(name="hostile", queue="shop", payload=Hostile, result=Result, run=lambda _: Result())


def test_the_help_of_a_job_type_lists_its_fields(nomad: Nomad) -> None:
    help_text = nomad("enqueue", "order", "--help").stdout
    for part in (
        "--item TEXT",
        "--count INTEGER",
        "--size small|large",
        "--gift / --no-gift",
        "--due DATE-TIME",
        "--day DATE",
        "--field-priority TEXT",
        "--end done|fail|hang|defer",
        "[required]",
        "[default: 1]",
        "Packs an order.",
        "2 attempts",
    ):
        assert part in help_text
    assert "--character-id, --character_id INTEGER" in nomad("enqueue", "token-refresh", "--help").stdout
    listed = nomad("enqueue", "--help").stdout
    assert "order " in listed
    assert "cache-cleanup" in listed


@pytest.mark.parametrize("kind", range(len(RAISED)), ids=lambda kind: RAISED[kind].__name__)
def test_a_job_whose_payload_code_raises_is_refused(nomad: Nomad, monkeypatch: pytest.MonkeyPatch, kind: int) -> None:
    monkeypatch.setenv("NOMAD_MODULES", __name__)
    refused = nomad("enqueue", "hostile", "--kind", str(kind))
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert "nomad: wrong data for job type 'hostile': " in refused.stderr
    assert refused.stderr.count("\n") == 1


def test_a_field_of_every_kind_reaches_the_job(nomad: Nomad, nomad_json: NomadJson) -> None:
    added = nomad_json(
        *("enqueue", "order", "--item", "12", "--count", "3", "--size", "large", "--tags", "a", "--tags", "b"),
        *("--numbers", "1", "--numbers", "2", "--gift", "--due", "2026-01-02T03:04:05Z", "--day", "2026-01-02"),
        *("--field-priority", "5", "--priority", "high", "--delay", "2h", "--attempts", "7", "--job-id", "mine"),
    )
    assert (added["id"], added["state"], added["priority"]) == ("mine", "delayed", 2)
    found = nomad_json("job", "mine")
    assert found["data"] == {
        "item": "12",
        "count": 3,
        "size": "large",
        "tags": ["a", "b"],
        "numbers": [1, 2],
        "gift": True,
        "due": "2026-01-02T03:04:05Z",
        "day": "2026-01-02",
        "priority": "5",
    }
    assert (found["opts"]["attempts"], found["opts"]["delay"]) == (7, 7_200_000)
    assert found["requestedBy"]


def test_options_override_data(nomad_json: NomadJson) -> None:
    added = nomad_json("enqueue", "order", "--data", '{"item": "rifter", "count": 2}', "--count", "5", "--no-gift")
    assert nomad_json("job", added["id"])["data"] == {"item": "rifter", "count": 5, "gift": False}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "item: Field required"),
        (["--item", "a", "--count", "many"], "count: Input should be a valid integer"),
        (["--item", "a", "--size", "huge"], "size: Input should be 'small' or 'large'"),
        (["--item", "a", "--day", "someday"], "day: "),
        (["--data", "[1]"], "not an object"),
        (["--data", "{"], "not JSON"),
        (["--data", '{"item": "a", "itm": 1}'], "itm: Extra inputs"),
        (["--item", "a", "--priority", "urgent"], "CRITICAL (1)"),
        (["--item", "a", "--itm", "b"], "--item"),
        (["--item", "a", "--timeout", "1s"], "--wait"),
    ],
)
def test_wrong_data_is_refused_and_named(nomad: Nomad, access: QueueAccess, arguments: list[str], message: str) -> None:
    result = nomad("enqueue", "order", *arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert message in result.stderr
    assert result.stderr.count("\n") == 1
    assert access.queues.get_queue("shop").counts()["waiting"] == 0


def test_values_of_types_that_json_lacks_arrive_unchanged(nomad_json: NomadJson) -> None:
    number = "12345678-1234-5678-1234-567812345678"
    added = nomad_json(
        *("enqueue", "parcel", "--weight", "0.10000000000000000001", "--number", number.replace("-", "")),
        *("--label", "[1, 2]", "--street", "12", "--content", '{"a": [0.5]}', "--sizes", "1", "--sizes", "2.5"),
    )
    assert nomad_json("job", added["id"])["data"] == {
        "weight": "0.10000000000000000001",
        "number": number,
        "label": "[1,2]",
        "street": "12",
        "content": {"a": [0.5]},
        "sizes": [1.0, 2.5],
    }


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--content", "NaN"], "content: nan would arrive as None"),
        (["--content", "[1e999]"], "content.0: inf would arrive as None"),
        (["--sizes", "1", "--sizes", "Infinity"], "sizes.1: Input should be a finite number"),
        (["--data", '{"content": [NaN]}'], "content.0: nan would arrive as None"),
        (["--data", f'{{"content": {"[" * 256 + "]" * 256}}}'], "nested too deeply (allowed: up to 190 levels)"),
        (["--content", "[" * 300 + "]" * 300], "nested too deeply (allowed: up to 190 levels)"),
        (["--data", f'{{"content": {"[" * 50_000}'], "nested too deeply"),
        (["--label", "[1"], "label: Invalid JSON"),
        (["--data", '{"content": "\\ud800"}'], "half a surrogate pair"),
        (["--data", f'{{"content": {"9" * 5000}}}'], "--data is not JSON"),
        (["--weight", "NaN"], "weight: "),
    ],
    ids=lambda each: f"{each}"[:30],
)
def test_a_value_that_cannot_be_sent_is_refused_and_named(
    nomad: Nomad, access: QueueAccess, arguments: list[str], message: str
) -> None:
    result = nomad("enqueue", "parcel", *arguments)
    assert (result.exit_code, result.stdout) == (2, ""), result.stderr
    assert message in result.stderr
    assert result.stderr.count("\n") == 1
    assert access.queues.get_queue("shop").counts()["waiting"] == 0


@pytest.mark.parametrize("job_id", ["/lead", "a b", "-dash", "é" * 199, "a/../b", "%2F?#"])
def test_a_job_is_found_by_every_allowed_id(nomad: Nomad, nomad_json: NomadJson, job_id: str) -> None:
    assert nomad_json("enqueue", "parcel", f"--job-id={job_id}")["id"] == job_id
    assert nomad("job", "--", job_id).exit_code == 0
    assert nomad("remove", "--yes", "--", job_id).exit_code == 0, nomad("remove", "--yes", "--", job_id).output


def test_an_unknown_job_type_is_3_with_the_nearest(nomad: Nomad) -> None:
    result = nomad("enqueue", "token-refrsh", "--sweep")
    assert (result.exit_code, "did you mean 'token-refresh'" in result.stderr) == (3, True)


def test_waiting_prints_the_result(nomad: Nomad, working: Any) -> None:
    with working():
        result = nomad("enqueue", "order", "--item", "rifter", "--wait")
        assert result.exit_code == 0
        assert '"item": "rifter"' in result.stdout
        assert "packed rifter" in result.stderr
        as_json = nomad("enqueue", "order", "--item", "rifter", "--wait", "--json")
    assert json.loads(as_json.stdout)["status"] == "completed"


def test_waiting_prints_why_the_job_failed(nomad: Nomad, working: Any) -> None:
    with working():
        result = nomad("enqueue", "order", "--item", "rifter", "--end", "fail", "--wait")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "failed: PermanentError: no rifter in stock; see: nomad job" in result.stderr


def test_stopping_the_wait_says_that_the_job_continues(
    environ: dict[str, str], tmp_path: Path, access: QueueAccess, wait_until: Callable[..., None]
) -> None:
    access.queues.get_queue("shop").pause(reason="stock-taking")
    arguments = ["enqueue", "order", "--item", "rifter", "--wait", "--job-id", "slow"]

    def output() -> str:
        return (tmp_path / "output.log").read_text()

    with program(["nomad_actors.cli", *arguments], environ, tmp_path) as process:
        wait_until(lambda: "nomad resume shop" in output(), timeout_seconds=20, what="the pause on the output")
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=20) == 130
    first, second, last = output().splitlines()
    assert first == "Waiting for job slow of shop. See it: nomad job slow"
    assert second.startswith("shop is paused since 20")
    assert "(stock-taking)" in second
    assert last == "nomad: waiting was stopped; the job continues: nomad job slow"
    assert access.queues.get_queue("shop").counts()["paused"] == 1


def test_waiting_ends_at_its_timeout_and_the_job_continues(nomad: Nomad, access: QueueAccess) -> None:
    result = nomad("enqueue", "order", "--item", "rifter", "--wait", "--timeout", "100ms", "--job-id", "slow")
    assert result.exit_code == 1
    assert "job slow is still waiting after 100ms; it continues: nomad job slow" in result.stderr
    assert access.queues.get_queue("shop").counts()["waiting"] == 1
