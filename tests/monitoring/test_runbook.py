"""docs/runbook.md has a section for each alert and no other, and every command and query in it exists."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import promql_parser
import pytest
import typer

from nomad_actors.cli import app

from .test_rules import alerts, rules, selectors

PAGE = (Path(__file__).parents[2] / "docs" / "runbook.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^### (\w+)\n(.*?)(?=^##|\Z)", PAGE, re.MULTILINE | re.DOTALL))
QUERIES = re.findall(r"```promql\n(.*?)```", PAGE, re.DOTALL)


def commands() -> list[str]:
    """Return every `nomad` command in the runbook and the alerts."""
    found = re.findall(r"^(nomad .+)$", PAGE, re.MULTILINE)
    found += re.findall(r"`(nomad [^`]+)`", PAGE)
    for alert in alerts():
        text = re.sub(r"\{\{[^}]+\}\}", "NAME", alert["annotations"]["description"])
        found += re.findall(r"\bnomad (?!compares)[a-z]+(?: [\w,-]+)*(?=;|,| compares|$)", text)
    return sorted(set(found))


def test_every_alert_has_its_section_and_no_section_is_left_over() -> None:
    assert set(SECTIONS) == {alert["alert"] for alert in alerts()}


def test_every_section_has_meaning_queries_and_remedy() -> None:
    for name, text in SECTIONS.items():
        assert re.findall(r"^\*\*(\w+)\*\*", text, re.MULTILINE) == ["Means", "Look", "Do"], name


def test_sections_refer_to_alerts_that_exist() -> None:
    assert set(re.findall(r"\bNomad[A-Z]\w+", PAGE)) <= set(SECTIONS)


@pytest.mark.parametrize("line", commands())
def test_every_command_is_valid(line: str) -> None:
    command = typer.main.get_command(app)
    words = shlex.split(line)[1:]
    with click.Context(command) as context:
        while isinstance(command, click.Group) and words:
            name, found, words = command.resolve_command(context, words)
            assert found is not None, f"{line}: no command {name}"
            command = found
        # Parsing runs nothing; a word or option that it does not take is an error.
        command.make_context(line, words)


def test_every_query_is_valid_and_uses_existing_metrics() -> None:
    known = {s.name for rule in rules() for s, _ in selectors(promql_parser.parse(rule["expr"]))}
    known |= {rule["record"] for rule in rules() if "record" in rule}
    metrics = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text(encoding="utf-8")
    for query in QUERIES:
        for line in query.strip().splitlines():
            for selector, _ in selectors(promql_parser.parse(line)):
                plain = selector.name.removesuffix("_bucket")
                named = f"`{plain}`" in metrics or plain.startswith("process_") or plain == "nomad_collector_seconds"
                assert selector.name in known or named, f"{line}: {selector.name}"
