"""What holds for the project as a whole: which part may import which, and what its files promise."""

from __future__ import annotations

import ast
import configparser
import re
import subprocess
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

#: Settings, errors, clocks, what a log line may hold: what any part may import.
GROUND = {
    *(
        "clock",
        "errors",
        "exact_json",
        "findings",
        "http_date",
        "logs",
        "response_model",
        "retention",
        "settings",
        "thresholds",
    ),
    "version",
}
#: What each part may import besides the ground floor. Down only.
ARROWS: dict[str, set[str]] = {
    "broker": set(),
    "http_server": set(),
    "processes": set(),
    "metrics": {"http_server", "processes"},
    "middleware": {"broker", "metrics"},
    "queues": {"broker"},
    "esi": {"metrics"},
    "store": {"metrics", "processes"},
    "jobs": {"broker", "queues", "esi", "store", "metrics"},
    "characters": {"broker", "queues", "esi", "store"},
    "scheduler": {"broker", "queues", "jobs", "metrics"},
    "health": {"broker", "queues", "jobs", "scheduler", "esi", "store", "metrics", "processes"},
    "job_metrics": {"broker", "health", "metrics", "queues", "store"},
    "app": {"broker", "queues", "esi", "store", "jobs", "middleware", "metrics", "scheduler", "health", "processes"},
    "data": {"app", "esi", "jobs", "queues", "store"},
    "export": {"data", "store"},
    "testing": {"broker", "processes"},
    "commands": {
        *("app", "broker", "queues", "esi", "store", "scheduler", "health", "job_metrics", "metrics", "middleware"),
        *("characters", "data", "export", "jobs", "processes"),
    },
    "cli": {"commands", "metrics", "processes"},
    "__init__": {"app", "broker", "jobs", "queues"},
}
#: The broker is for any Dramatiq application: of ours it takes these, and nothing that knows of EVE or of settings.
ONLY = {"broker": {"clock", "errors", "logs", "retention", "version"}}
#: The rooms of the broker, and which of them each may import besides the broker's own ground floor.
BROKER_ROOMS = {"records": set(), "client": {"records", "scripts"}, "worker": {"records", "client"}, "scripts": set()}
#: Programs, which import from every room.
ENTRY_POINTS = {"nomad_actors/scheduler/__main__.py"}


def tracked(*patterns: str) -> list[Path]:
    listed = subprocess.run(["git", "ls-files", *patterns], cwd=ROOT, capture_output=True, text=True, check=True)
    return [ROOT / line for line in listed.stdout.splitlines() if (ROOT / line).exists()]


def imports(path: Path) -> Iterator[str]:
    """Yield the absolute names of what a module imports, but for type checking only."""
    package = path.relative_to(ROOT).with_suffix("").parts[:-1]
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for_types = {
        id(child)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for child in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in for_types:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            module = ".".join(part for part in (base, node.module or "") if part)
            yield from (f"{module}.{alias.name}" for alias in node.names)


def test_imports_point_down_only() -> None:
    wrong = []
    for path in tracked("nomad_actors/*.py"):
        where = path.relative_to(ROOT)
        if str(where) in ENTRY_POINTS:
            continue
        part = where.parts[1].removesuffix(".py")
        allowed = ONLY.get(part, GROUND | ARROWS.get(part, set())) | {part}
        assert part in GROUND | set(ARROWS), f"{where}: give the new part its place in ARROWS"
        for name in imports(path):
            words = name.split(".")
            if words[0] in ("admin", "sandbox", "demo", "tests", "bench", "chaos", "monitoring"):
                wrong.append(f"{where} imports {name}")
            if words[0] == "nomad_actors" and len(words) > 1 and words[1] not in allowed:
                wrong.append(f"{where} imports {name}")
    assert not wrong, "\n".join(wrong)


def test_the_brokers_rooms_import_down_only() -> None:
    wrong = []
    for path in tracked("nomad_actors/broker/*/*.py"):
        room = path.parent.name
        for name in imports(path):
            words = name.split(".")
            in_a_room = words[:2] == ["nomad_actors", "broker"] and words[2] in BROKER_ROOMS
            if in_a_room and words[2] not in BROKER_ROOMS[room] | {room}:
                wrong.append(f"{path.relative_to(ROOT)} imports {name}")
    assert not wrong, "\n".join(wrong)


def test_no_modules_import_each_other_in_a_circle() -> None:
    modules = {_module_of(path): path for path in tracked("nomad_actors/*.py", "admin/*.py")}
    graph = {}
    for module, path in modules.items():
        names = {name if name in modules else name.rpartition(".")[0] for name in imports(path)}
        graph[module] = (names & set(modules)) - {module}
    TopologicalSorter(graph).prepare()


def _module_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


@pytest.mark.parametrize(("part", "forbidden"), [("sandbox", "nomad_actors"), ("sandbox", "admin")])
def test_the_sandbox_knows_nothing_of_ours(part: str, forbidden: str) -> None:
    assert not [n for path in tracked(f"{part}/*.py") for n in imports(path) if n.split(".")[0] == forbidden]


def test_the_admin_never_speaks_redis_or_sql() -> None:
    found = [n for path in tracked("admin/*.py") for n in imports(path) if n.split(".")[0] in ("redis", "sqlalchemy")]
    assert not found


def test_only_entry_points_read_the_environment() -> None:
    readers = {
        str(path.relative_to(ROOT))
        for path in tracked("nomad_actors/*.py", "admin/*.py", "sandbox/*.py")
        if re.search(r"os\.environ|getenv", path.read_text(encoding="utf-8"))
    }
    commands = {f"nomad_actors/commands/{name}.py" for name in ("running", "session", "config")}
    programs = {f"nomad_actors/{name}.py" for name in ("app", "cli", "data/connection", "processes/program")}
    # The last one passes it on to a process, unread.
    assert readers <= {*programs, *commands, "nomad_actors/testing/workers.py"}


def test_every_target_of_the_makefile_is_fixed_and_documented() -> None:
    shown = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    named = set(re.findall(r"^make ([a-z-]+) ", shown, re.MULTILINE))
    assert named == {
        *("help", "demo", "test", "check", "chaos", "bench", "monitoring", "clean", "lock"),
        *("run", "run-workers", "run-scheduler", "run-admin"),
    }


def _versions(lines: list[str], separator: str) -> dict[str, tuple[int, ...]]:
    found = {}
    for line in lines:
        name, mark, version = line.strip().partition(separator)
        if mark:
            plain = name.partition("[")[0].lower().replace("_", "-")
            found[plain] = tuple(int(n) for n in re.findall(r"\d+", version)[:3])
    return found


def test_the_lock_file_holds_at_least_what_setup_cfg_asks_for() -> None:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    asked = config["options"]["install_requires"].splitlines()
    asked += [line for extra in config["options.extras_require"].values() for line in extra.splitlines()]
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    locked = _versions(lock.splitlines(), "==")
    for name, floor in _versions(asked, ">=").items():
        assert locked[name] >= floor, name
    assert "://" not in lock


def test_the_changelog_and_the_package_name_the_same_release() -> None:
    from nomad_actors import __version__

    assert f"[{__version__}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_every_public_name_can_be_imported() -> None:
    import nomad_actors

    assert all(getattr(nomad_actors, name) is not None for name in nomad_actors.__all__)


def test_no_module_makes_a_logger_that_it_does_not_use() -> None:
    texts = {path: path.read_text(encoding="utf-8") for path in (ROOT / "nomad_actors").rglob("*.py")}
    made = {path: text for path, text in texts.items() if re.search(r"^logger = ", text, re.MULTILINE)}
    assert made
    # A part's logger may be imported from elsewhere.
    imported = "\n".join(re.findall(r"^from .* import .*\blogger\b.*$", "\n".join(texts.values()), re.MULTILINE))
    assert [str(path) for path, text in made.items() if text.count("logger") == 1 and path.stem not in imported] == []
