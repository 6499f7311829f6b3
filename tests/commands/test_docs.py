"""docs/cli.md names every command and every option, and no others."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from nomad_actors.cli import app
from nomad_actors.commands.enqueue import own_parameters
from nomad_actors.commands.session import opened
from nomad_actors.errors import ExitCode
from nomad_actors.health.examine import ON_REDIS, ON_THE_DATABASE, ON_THE_HOST

PAGE = (Path(__file__).parents[2] / "docs" / "cli.md").read_text(encoding="utf-8")


def commands(group: Any, path: str = "nomad") -> Iterator[tuple[str, Any]]:
    for name, command in group.commands.items():
        yield f"{path} {name}", command
        if hasattr(command, "commands"):
            yield from commands(command, f"{path} {name}")


def section(path: str) -> str:
    """Return the text between a command's heading and the next heading."""
    words = path.split()
    found = re.search(rf"^### `nomad {words[1]}\b.*?(?=^##|\Z)", PAGE, re.MULTILINE | re.DOTALL)
    assert found, f"docs/cli.md has no heading for {path}"
    return found[0]


def test_every_command_and_option_is_on_the_page() -> None:
    found = list(commands(typer.main.get_command(app)))
    assert len(found) > 20
    for path, command in found:
        text = section(path)
        assert path in text, path
        for parameter in command.params:
            for option in parameter.opts:
                if option.startswith("--") and option != "--help":
                    assert option in text, f"{path} {option}"


def test_the_page_names_no_option_that_does_not_exist() -> None:
    # Options of payloads, and how their names are formed.
    exist = {"--help", "--field-", "--no-", "--character"}
    for _, command in commands(typer.main.get_command(app)):
        exist |= {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    exist |= {"--" + each.name.replace("_", "-") for each in own_parameters()}
    with opened() as access:
        payloads = [job_type.payload for job_type in access.queues.job_types.values()]
    used = {"--" + name.replace("_", "-") for payload in payloads for name in payload.model_fields}
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", PAGE)) <= exist | used


def test_the_options_of_every_enqueue_are_on_the_page() -> None:
    text = section("nomad enqueue")
    for name in (each.name for each in own_parameters()):
        assert "--" + name.replace("_", "-") in text


def test_every_exit_code_is_on_the_page() -> None:
    codes = dict(re.findall(r"^\| (\d+) \| (.+) \|$", PAGE, re.MULTILINE))
    assert set(codes) == {str(int(code)) for code in ExitCode}


def test_every_check_of_the_doctor_is_on_the_page() -> None:
    text = section("nomad doctor")
    for name, _, _ in (*ON_REDIS, *ON_THE_HOST, *ON_THE_DATABASE):
        assert f"`{name}" in text, name
