"""The words that must not come back, and what to write instead."""

from __future__ import annotations

import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

from .test_project import ROOT, tracked

#: Identifiers, in any case and without leading underscores.
IDENTIFIERS = {
    "told": "what it is: payload, event, result",
    "tell": "append_event, notify, report",
    "tells": "describes",
    "telling": "reporting, confirmed",
    "untold": "unreported",
    "sought": "filter",
    "wish": "request",
    "wanted": "expected, requested",
    "meant": "filter, selected",
    "place": "QueueState, cursor, directory, rank",
    "places": "slots, positions",
    "standing": "QueueSnapshot, ScheduleState",
    "standings": "snapshots, states",
    "bury": "merge_dead",
    "faults": "failure_groups",
    "fault": "failure_group",
    "leased": "message",
    "answer": "response, reply",
    "answers": "responses, replies",
    "keep": "set_retention, save, get_token",
    "holds": "suspended, pauses",
    "talks_to_esi": "uses_esi",
    "talking_to_esi": "esi_queues",
    "say": "log, warn, describe",
    "says": "describes",
    "said": "output, message",
    "sayer": "logger",
    "whole": "require_int",
    "again": "retry",
}
#: Faults are what the sandbox injects on request; a fault proxy cuts lines.
INJECTED = (
    *("sandbox/", "tests/sandbox/", "tests/esi/", "tests/jobs/", "chaos/", "tests/conformance/", "demo/"),
    "tests/logs/test_secrets_of_the_system.py",
)
PHRASES = re.compile(
    r"\b(that is none|what stands|is told of|such as is|nothing is told|what mends it|stands still|holds no job)\b",
    re.IGNORECASE,
)
#: Fields of the API keep their names.
SHOWN = {
    ("nomad_actors/scheduler/models.py", "holds"),
    ("nomad_actors/scheduler/status.py", "holds"),
    # A parameter of Hypothesis.
    ("tests/test_exact_json.py", "places"),
}
#: The changelog quotes old words, and this file lists them.
EXCEPT = ("CHANGELOG.md", "tests/test_words.py")


def identifiers(path: Path) -> Iterator[tuple[int, str]]:
    for token in tokenize.generate_tokens(io.StringIO(path.read_text(encoding="utf-8")).readline):
        if token.type == tokenize.NAME:
            yield token.start[0], token.string.strip("_").lower()


def test_no_identifier_of_the_old_dialect_comes_back() -> None:
    found = []
    for path in tracked("*.py"):
        where = str(path.relative_to(ROOT))
        for line, name in identifiers(path):
            injected = name in ("fault", "faults") and where.startswith(INJECTED)
            if name in IDENTIFIERS and not injected and (where, name) not in SHOWN:
                found.append(f"{where}:{line}: {name} → {IDENTIFIERS[name]}")
    assert not found, "\n".join(found)


def test_no_module_is_named_in_the_old_dialect() -> None:
    vague = {"parts", "utils", "helpers", "common"}
    found = [path for path in tracked("*.py") if path.stem in {*IDENTIFIERS, *vague}]
    assert [str(path.relative_to(ROOT)) for path in found] == ["sandbox/faults.py"]


def test_no_sentence_of_the_old_dialect_comes_back() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{number}: {match[0]}"
        for path in tracked("*.py", "*.lua", "*.md", "*.html", "*.yml", "Makefile")
        if str(path.relative_to(ROOT)) not in EXCEPT
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        for match in PHRASES.finditer(line)
    ]
    assert not found, "\n".join(found)
