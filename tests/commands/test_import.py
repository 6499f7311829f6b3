"""`nomad characters import` checks a whole file before it saves anything, and prints no value of it."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from nomad_actors.app import QueueAccess
from nomad_actors.characters.login_file import FIELDS
from nomad_actors.store import Store, schema
from nomad_actors.store.database import Database

from .conftest import Nomad

SECRET = "s3cret-refresh-token"
NOTHING = " Nothing is fetched until somebody requests it: nomad characters refresh --group."


@pytest.fixture
def environ(logins_environ: dict[str, str]) -> dict[str, str]:
    """The environment of the command; nobody listens at its SSO."""
    return logins_environ


@pytest.fixture
def imported(nomad: Nomad, tmp_path: Path) -> Callable[..., tuple[int, str, str]]:
    """`imported(text, *options)`: the exit code, output and errors of an import of this file."""

    def run(text: str | bytes, *options: str) -> tuple[int, str, str]:
        path = tmp_path / "logins"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        result = nomad("characters", "import", str(path), *options)
        assert "Traceback" not in result.output
        assert SECRET not in result.output
        return result.exit_code, result.stdout, result.stderr

    return run


def entry(character_id: int = 90000001, **changed: Any) -> dict[str, Any]:
    login = {
        "character_id": character_id,
        "user_id": 7,
        "name": "Ada Voss",
        "owner_hash": "owner+/=",
        "scopes": ["esi-wallet.read_character_wallet.v1", "publicData"],
        "refresh_token": f"{SECRET}-{character_id}",
    }
    return {**login, **changed}


def as_csv(*entries: dict[str, Any]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, FIELDS)
    writer.writeheader()
    writer.writerows({**each, "scopes": " ".join(each["scopes"])} for each in entries)
    return text.getvalue()


def as_array(*entries: dict[str, Any]) -> str:
    return json.dumps(entries, indent=1)


def as_lines(*entries: dict[str, Any]) -> str:
    return "".join(f"{json.dumps(each)}\n" for each in entries)


FORMS = [as_csv, as_array, as_lines]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("before", ["", "\n\n", "\ufeff"])
def test_logins_are_saved_whatever_the_form_of_the_file(
    imported: Callable[..., tuple[int, str, str]], store: Store, form: Callable[..., str], before: str
) -> None:
    text = before + form(entry(1), entry(2, name='Zoë, the "2nd"', owner_hash="", scopes=[]))
    code, output, errors = imported(text)
    assert (code, output, errors) == (0, f"2 logins imported (0 replaced), 0 skipped.{NOTHING}\n", "")
    first, second = (store.logins.get(each) for each in (1, 2))
    assert first is not None
    assert second is not None
    assert (first.refresh_token, first.user_id, first.owner_hash) == (f"{SECRET}-1", 7, "owner+/=")
    assert first.scopes == {"esi-wallet.read_character_wallet.v1", "publicData"}
    assert (second.name, second.scopes, second.access_token) == ('Zoë, the "2nd"', frozenset(), None)


#: Values that no login may have, by field.
WRONG = [
    *(("character_id", each) for each in ("", "0", "-5", "5.5", "x", 2**63, SECRET, None, [5])),
    *(("user_id", each) for each in ("", "x", 2**63, None)),
    *(("name", each) for each in ("", "a\tb", "x" * 101, "\u202e", 5)),
    *(("owner_hash", each) for each in ("a b", "é", 5)),
    *(("scopes", each) for each in (["a b"], ["é"], [5], 5, [""])),
    *(("refresh_token", each) for each in ("", f"{SECRET} x", "é", 5, None)),
]


@pytest.mark.parametrize(("name", "value"), WRONG)
def test_one_bad_line_is_named_and_nothing_is_imported(
    imported: Callable[..., tuple[int, str, str]], store: Store, name: str, value: Any
) -> None:
    code, output, errors = imported(as_lines(entry(1), {**entry(2), name: value}))
    assert (code, output) == (2, "")
    first, last = errors.splitlines()
    assert first.startswith(f"nomad: line 2: {name} is missing or invalid (allowed: ")
    assert last.endswith("logins has 1 invalid line; nothing was imported")
    assert store.logins.characters() == []


def test_every_bad_line_is_named_with_its_own_reason(
    imported: Callable[..., tuple[int, str, str]], store: Store
) -> None:
    good = as_csv(entry(1), entry(2), entry(1)).splitlines()
    text = "\n".join([*good, f"9,7,too few,{SECRET}", "x,y,Ada,owner,a scope,token"])
    _, _, errors = imported(text)
    assert errors.splitlines()[:-1] == [
        "nomad: line 4: character 1 is on line 2 too (allowed: once)",
        "nomad: line 5: it has 4 fields (allowed: 6, as in the first line)",
        "nomad: line 6: character_id is missing or invalid (allowed: a whole number from 1 to 2^63-1); "
        "user_id is missing or invalid (allowed: a whole number of at most 64 bits)",
    ]
    assert store.logins.characters() == []
    _, _, errors = imported(as_lines({**entry(1), SECRET: 5}, entry(2)) + "5\n{\n")
    assert errors.splitlines()[:-1] == [
        f"nomad: line 1: it has other fields (allowed: {', '.join(FIELDS)})",
        "nomad: line 3: it is not a JSON object (allowed: one object a line, or one array)",
        "nomad: line 4: it is not a JSON object (allowed: one object a line, or one array)",
    ]
    assert "20 of them not shown" in imported(as_lines(*[entry(0)] * 40))[2]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "the file is empty"),
        (f"{SECRET},7,Ada,owner,,x\n", "the first line has not the names of the fields"),
        (as_csv(entry(1)).replace("Ada Voss", '"Ada" Voss'), "line 2 is not valid CSV"),
        (as_csv(entry(1)).replace("Ada Voss", "x" * 200_000), "line 2 is not valid CSV"),
        ("[" + json.dumps(entry(1)), "not valid JSON"),
        ("[" * 100_000, "not valid JSON"),
        (b"\xff\xfe\x00", "not text in UTF-8"),
        (as_csv(entry(1)).encode() + b"\xff", "not text in UTF-8"),
    ],
)
def test_a_file_that_is_no_list_of_logins_is_refused(
    imported: Callable[..., tuple[int, str, str]], store: Store, text: str | bytes, reason: str
) -> None:
    code, _, errors = imported(text)
    assert (code, reason in errors) == (2, True), errors
    assert store.logins.characters() == []


def test_known_characters_are_skipped_or_replaced_only_on_request(
    imported: Callable[..., tuple[int, str, str]], store: Store
) -> None:
    imported(as_csv(entry(1)))
    changed = as_csv(entry(1, user_id=8, refresh_token=f"{SECRET}-new"), entry(2))
    code, _, errors = imported(changed)
    assert (code, "1 character of the file logged in before" in errors) == (2, True)
    assert store.logins.character(2) is None
    assert imported(changed, "--existing", "skip")[1] == f"1 login imported (0 replaced), 1 skipped.{NOTHING}\n"
    assert (store.logins.get(1).user_id, store.logins.character(2) is not None) == (7, True)  # type: ignore[union-attr]
    # As after a crash: what is there is skipped.
    assert imported(changed, "--existing", "skip")[1] == "0 logins imported (0 replaced), 2 skipped.\n"
    assert imported(changed, "--existing", "replace")[1] == f"2 logins imported (2 replaced), 0 skipped.{NOTHING}\n"
    assert store.logins.get(1).refresh_token == f"{SECRET}-new"  # type: ignore[union-attr]
    assert imported(changed, "--existing", "both")[0] == 2


def test_another_owner_gets_nothing_of_the_first(imported: Callable[..., tuple[int, str, str]], store: Store) -> None:
    imported(as_csv(entry(1)))
    store.documents.save_requested(1, "/a")
    _, output, _ = imported(as_csv(entry(1, owner_hash="the-buyer")), "--existing", "replace")
    assert "1 character had another owner before, who keeps the old data." in output
    assert store.documents.state(1, "/a") is None


def test_a_dry_run_checks_and_saves_nothing(imported: Callable[..., tuple[int, str, str]], store: Store) -> None:
    code, output, _ = imported(as_csv(entry(1)), "--dry-run", "--json")
    result = {"dryRun": True, "imported": 1, "replaced": 0, "skipped": 0, "handedOver": 0, "jobs": 0}
    assert (code, json.loads(output)) == (0, result)
    assert store.logins.characters() == []


def test_many_logins_are_saved_in_batches_and_none_is_refreshed(
    nomad: Nomad, store: Store, access: QueueAccess, database: Database
) -> None:
    text = as_lines(*(entry(number) for number in range(1, 251)))
    result = nomad("characters", "import", "-", "--json", input=text)
    assert (result.exit_code, json.loads(result.stdout)["imported"]) == (0, 250), result.output
    found = store.logins.characters()
    assert len(found) == 250
    assert all(each.access_expires_ms is None and each.strikes == 0 for each in found)
    assert all(not any(access.queues.get_queue(name).counts().values()) for name in access.queues.names())
    with database.read() as connection:
        rows = [tuple(row) for row in connection.execute(sa.select(schema.audit_log))]
    assert len(rows) == 1
    assert SECRET not in repr(rows)


def test_a_file_that_cannot_be_read_is_named(nomad: Nomad, tmp_path: Path) -> None:
    missing = nomad("characters", "import", str(tmp_path / "none.csv"))
    assert (missing.exit_code, "No such file or directory" in missing.stderr) == (2, True)
    assert nomad("characters", "import", str(tmp_path)).exit_code == 2
    assert nomad("characters", "import", "a\x00b").exit_code == 2


def test_imported_characters_are_refreshed_on_request_spread_over_time(
    imported: Callable[..., tuple[int, str, str]], access: QueueAccess
) -> None:
    text = as_lines(entry(90000001), entry(90000002), entry(90000003, scopes=[]))
    code, _, errors = imported(text, "--refresh", "CHARACTER_WALET")
    assert (code, "did you mean CHARACTER_WALLET" in errors) == (2, True)
    wallet = ["--refresh", "CHARACTER_WALLET"]
    code, _, errors = imported(text, *wallet, "--spread", "25h")
    assert (code, "allowed: up to 24h" in errors) == (2, True)
    assert imported(text, *wallet, "--dry-run")[1] == "3 logins would be imported (0 replaced), 0 skipped.\n"
    code, output, _ = imported(text, *wallet, "--spread", "2h")
    # The scopes of two characters allow three of the group's routes.
    assert (code, output) == (0, "3 logins imported (0 replaced), 0 skipped. 6 refresh jobs added.\n")
    queue = access.queues.get_queue("esi-refresh")
    jobs = [*queue.jobs("delayed"), *queue.jobs("waiting")]
    assert {(job.data["character_id"], job.data["requested_by"]) for job in jobs} == {
        (90000001, "operator"),
        (90000002, "operator"),
    }
    assert sorted(job.opts.delay_ms for job in jobs) == [number * 1_200_000 for number in range(6)]
