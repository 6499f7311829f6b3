"""README's table of settings has every variable, with its default."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from nomad_actors.middleware.metrics import WORKERS_PORT
from nomad_actors.scheduler.__main__ import DEFAULT_METRICS_PORT
from nomad_actors.settings import Settings, read_with_origins

README = Path(__file__).parents[2] / "README.md"
TABLE = README.read_text(encoding="utf-8").partition("| variable | default |")[2].partition("\n\n")[0]
#: Each row's variables as written, and its default.
ROWS = [
    (re.findall(r"`(\w+(?:<QUEUE>)?)`", cells[1]), cells[2].strip(" `"))
    for cells in (line.split("|") for line in TABLE.splitlines()[2:])
]
#: Other ways to write `REDIS_URL`.
PARTS = {"REDIS_HOST", "REDIS_PORT", "REDIS_PASSWORD", "REDIS_DB"}
#: Variables whose row describes the default in words.
IN_WORDS = {"REDIS_URL", "REDIS_CACHE_URL", "NOMAD_TOKEN_KEYS", "NOMAD_ADMIN_TOKENS", "EVE_CLIENT_ID"}
#: Shown for a setting that is empty by default.
NONE = "–"


def all_names(written: list[str]) -> set[str]:
    """Return a row's variables: `_<QUEUE>` means that each of the others may end with it."""
    names = [name for name in written if not name.startswith("_")]
    return {*names, *(name + "_<QUEUE>" for name in names if "_<QUEUE>" in written)}


def defaults() -> list[tuple[str, str]]:
    """Return each variable with its default as the table shows it, without the rows that describe theirs in words."""
    found = []
    for written, shown in ROWS:
        names = [name for name in written if not name.endswith("<QUEUE>")]
        if not IN_WORDS & set(names):
            found += zip(names, shown.split(", "), strict=True)
    return found


def test_the_table_has_every_variable() -> None:
    names = [name for written, _ in ROWS for name in all_names(written)]
    assert sorted(names) == sorted({origin.variable for origin in read_with_origins({})[1].values()} | PARTS)


@pytest.mark.parametrize(("variable", "shown"), defaults())
def test_the_table_has_the_default(variable: str, shown: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable with the value that the table shows gives the default."""
    # A directory without the Redis of `make run`.
    monkeypatch.chdir(tmp_path)
    if variable == "NOMAD_METRICS_PORT":
        assert shown == f"{WORKERS_PORT} or {DEFAULT_METRICS_PORT}"
        return
    if shown == NONE:
        (attribute,) = [name for name, origin in read_with_origins({})[1].items() if origin.variable == variable]
        assert not getattr(Settings(), attribute)
    else:
        assert Settings.from_env({variable: shown.removesuffix(" ms")}) == Settings()
