"""`nomad history` shows what is complete and what to do, and verifies what is stored."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
import sqlalchemy as sa

from nomad_actors.esi import ROUTES
from nomad_actors.store import Store, schema

from .conftest import Nomad

CHARACTER, DAY_MS = 95465499, 86_400_000
SCOPES = sorted({scope for route in ROUTES.values() for scope in route.scopes})
DATA_TYPES = ["wallet_journal", "wallet_transactions", "market_orders", "industry_jobs", "skill_history"]


@pytest.fixture
def now_ms() -> int:
    """The time at which the fixtures of a test were made."""
    return int(time.time() * 1000)


@pytest.fixture(autouse=True)
def collected(store: Store, now_ms: int) -> None:
    """Two characters; one with a journal and orders that are complete apart from two holes."""
    for character_id, name in ((CHARACTER, "Ada Voss"), (CHARACTER + 1, "Bo Lind")):
        store.logins.save(
            character_id=character_id, user_id=7, name=name, owner_hash="o", scopes=SCOPES, refresh_token="r"
        )
    entry = {"character_id": CHARACTER, "ref_type": "bounty_prizes", "description": "", "amount": Decimal(1)}
    rows = [entry | {"id": n, "date_ms": now_ms - (200 - n) * 1000, "balance": Decimal(n)} for n in range(100)]
    covered = {"complete_since_ms": now_ms - 60 * DAY_MS, "complete_until_ms": now_ms, "complete_read_ms": now_ms}
    with store.database.write() as connection:
        connection.execute(sa.insert(schema.wallet_journal), rows)
        for data_type in ("wallet_journal", "market_orders"):
            of = {"character_id": CHARACTER, "data_type": data_type}
            connection.execute(sa.insert(schema.history_coverage).values(of | covered))
            hole = {"from_ms": now_ms - 50 * DAY_MS, "until_ms": now_ms - 40 * DAY_MS, "found_ms": now_ms}
            more = {"cause": "retention", "details": "ESI no longer showed this time"}
            connection.execute(sa.insert(schema.history_holes).values(of | hole | more))


def test_it_shows_what_is_complete_what_is_lost_and_what_to_do(
    nomad: Nomad, nomad_json: Callable[..., Any], now_ms: int
) -> None:
    shown = nomad("history", str(CHARACTER))
    assert shown.exit_code == 0
    assert nomad("history", "show", str(CHARACTER)).stdout.splitlines()[7:] == shown.stdout.splitlines()[7:]
    lines = shown.stdout.splitlines()
    rows = {line.split()[0]: line.split() for line in lines[2:7]}
    assert lines[0] == f"Ada Voss {CHARACTER}"
    assert list(rows) == DATA_TYPES
    assert rows["wallet_journal"][-2:] == ["100", "1"]
    assert rows["skill_history"][1:] == ["never", "-", "-", "0", "0"]
    lost, fillable = (lines.index(line) for line in lines if ": retention" in line)
    assert lines[lost].startswith("wallet_journal ")
    assert "(10d)" in lines[lost]
    assert "the rows are lost" in lines[lost + 2]
    # ESI shows orders for 90 days.
    assert "the next collection reads it" in lines[fillable + 2]
    command = "→ nomad enqueue historical-data-collection --character-id 95465499 --user-id 7 --data-type "
    expected = [f"{command}{each}" for each in DATA_TYPES if each != "wallet_journal"]
    assert [line for line in lines if line.startswith("→")] == expected
    read = nomad_json("history", str(CHARACTER))
    journal = read["dataTypes"]["wallet_journal"]
    assert (read["name"], list(read["dataTypes"])) == ("Ada Voss", DATA_TYPES)
    assert (journal["rows"], journal["completeUntil"], journal["warning"]) == (100, now_ms, None)
    assert [(each["cause"], each["canBeFilled"]) for each in journal["holes"]] == [("retention", False)]
    assert read["dataTypes"]["market_orders"]["holes"][0]["canBeFilled"]
    assert read["dataTypes"]["skill_history"]["warning"] == "never read completely"


def test_it_warns_before_esi_drops_rows_that_nobody_fetched(nomad: Nomad, store: Store, now_ms: int) -> None:
    for days, warning in ((10, None), (20, "; ESI drops rows in 9d 23h"), (31, ": ESI has dropped rows since then")):
        until = {"complete_until_ms": now_ms - days * DAY_MS}
        with store.database.write() as connection:
            connection.execute(sa.update(schema.history_coverage).values(until))
        lines = nomad("history", str(CHARACTER)).stdout.splitlines()
        found = [line for line in lines if line.startswith("wallet_journal: ")]
        expected = [] if warning is None else [f"wallet_journal: not read completely for {days}d{warning}"]
        assert found == expected


def test_the_holes_of_all_characters_begin_with_the_one_that_esi_drops_first(
    nomad: Nomad, nomad_json: Callable[..., Any], store: Store, now_ms: int
) -> None:
    with store.database.write() as connection:
        for data_type, days in (("industry_jobs", 80), ("skill_history", 1)):
            hole = {"from_ms": now_ms - (days + 1) * DAY_MS, "until_ms": now_ms - days * DAY_MS, "found_ms": now_ms}
            of = {"character_id": CHARACTER + 1, "data_type": data_type, "cause": "set_aside", "details": "a \x1b[2J"}
            connection.execute(sa.insert(schema.history_holes).values(of | hole))
    found = nomad_json("history", "holes")
    assert found["total"] == 4
    assert [(each["name"], each["dataType"], each["canBeFilled"]) for each in found["holes"]] == [
        ("Bo Lind", "industry_jobs", True),
        ("Ada Voss", "market_orders", True),
        ("Bo Lind", "skill_history", False),
        ("Ada Voss", "wallet_journal", False),
    ]
    lines = nomad("history", "holes", "--limit", "3").stdout.splitlines()
    assert len(lines) == 5
    assert "\\x1b[2J" in lines[1]
    assert lines[-1] == "1 more: --limit. See what to do: nomad history ID"


def test_verify_exits_with_1_for_a_fault_and_names_it(
    nomad: Nomad, nomad_json: Callable[..., Any], store: Store
) -> None:
    right = nomad("history", "verify")
    assert (right.exit_code, right.stdout.splitlines()[-1]) == (
        0,
        "2 characters, 100 rows checked: no faults, 2 marked as missing.",
    )
    assert nomad("history", "verify", "--strict").exit_code == 1
    assert nomad_json("history", "verify", str(CHARACTER + 1))["problems"] == 0
    with store.database.write() as connection:
        broken = schema.wallet_journal.c.id.in_(range(2, 60, 2))
        connection.execute(sa.delete(schema.wallet_journal).where(broken))
    wrong = nomad("history", "verify", str(CHARACTER), "--type", "wallet_journal")
    assert wrong.exit_code == 1
    listed = [line for line in wrong.stdout.splitlines() if line.startswith("FAULT")]
    assert len(listed) == 10
    assert listed[0].endswith("balance: between the entries 1 and 3, 1.00 ISK are missing")
    assert f"        19 more like this of character {CHARACTER}" in wrong.stdout.splitlines()
    assert wrong.stdout.splitlines()[-1] == "1 character, 71 rows checked: 29 faults, 1 marked as missing."
    read = json.loads(nomad("history", "verify", "--type", "wallet_journal", "--json").stdout)
    assert (read["faults"], read["problems"], len(read["shown"])) == (29, 30, 11)
    first = read["shown"][1]
    assert (first["kind"], first["isFault"], first["ids"]) == ("balance", True, [1, 3])


def test_a_dead_login_is_one_line_and_its_holes_wait_for_it(
    nomad: Nomad, nomad_json: Callable[..., Any], store: Store
) -> None:
    store.logins.require_login(CHARACTER, 1, reason="dead")
    lines = nomad("history", str(CHARACTER)).stdout.splitlines()
    assert [line for line in lines if "→" in line] == ["→ its login no longer works: nomad login --user-id 7"]
    assert "  ESI still shows this time, or its end: after a new login the next collection reads it." in lines
    found = nomad_json("history", "holes")["holes"][0]
    assert (found["dataType"], found["state"], found["canBeFilled"]) == ("market_orders", "needs_login", True)
    assert "has it, needs login" in nomad("history", "holes").stdout.splitlines()[1]
    verified = [line for line in nomad("history", "verify").stdout.splitlines() if "→" in line]
    assert "        → its login no longer works: nomad login --user-id 7" in verified
    assert not [line for line in verified if "nomad enqueue" in line]


def test_a_login_without_the_scope_is_told_which(nomad: Nomad, store: Store) -> None:
    scopes = [each for each in SCOPES if "industry" not in each]
    store.logins.save(character_id=CHARACTER, user_id=7, name="Ada", owner_hash="o", scopes=scopes, refresh_token="r")
    lines = [line for line in nomad("history", str(CHARACTER)).stdout.splitlines() if "→" in line]
    scope = "esi-industry.read_character_jobs.v1"
    assert f"→ its login lacks the scope {scope}: nomad login --user-id 7" in lines
    assert not [line for line in lines if line.endswith("industry_jobs")]
    assert [line for line in lines if line.endswith("--data-type market_orders")]


def test_a_sold_characters_holes_cannot_be_filled(nomad: Nomad, nomad_json: Callable[..., Any], store: Store) -> None:
    store.logins.save(
        character_id=CHARACTER, user_id=8, name="Ada Voss", owner_hash="other", scopes=SCOPES, refresh_token="r"
    )
    found = nomad_json("history", "holes")["holes"]
    assert {(each["state"], each["canBeFilled"]) for each in found} == {("sold", False)}
    sold = found[0]["characterId"]
    assert sold < 0
    assert nomad("history", "holes").stdout.count("not asked: sold") == 2
    shown = nomad("history", str(sold)).stdout
    assert shown.count("The character was sold, and ESI is not asked for its earlier owner: the hole remains.") == 2
    assert ("→" in shown, "never read completely" in shown) == (False, False)
    orders = nomad_json("history", str(sold))["dataTypes"]["market_orders"]
    assert (orders["holes"][0]["canBeFilled"], orders["warning"]) == (False, None)
    (problem, *_) = nomad_json("history", "verify", str(sold), "--type", "market_orders")["shown"]
    assert (problem["kind"], "the character was sold" in problem["remedy"]) == ("lost_hole", True)


def test_what_does_not_exist_is_named(nomad: Nomad) -> None:
    for arguments, code, message in (
        (["5"], 3, "character 5 never logged in; list them: nomad characters"),
        (["verify", "5"], 3, "character 5 never logged in"),
        (["verify", "--type", "journal"], 2, "--type 'journal' does not exist (allowed: wallet_journal, "),
        (["shw"], 2, "shw"),
    ):
        refused = nomad("history", *arguments)
        assert (refused.exit_code, refused.stdout, message in refused.stderr) == (code, "", True), refused.output
