"""Hostile command lines of `nomad`: every command that ends by itself, with its options and odd values."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from typing import Any

import typer

from nomad_actors.cli import app

from . import job_calls, objects, texts
from .job_types import DATA

#: These run until they are stopped, wait for a browser, or give up logins of the database.
_LEFT_OUT = {"run", "login", "forget-key"}
_ENDLESS = {"--watch", "-w", "--wait", "--timeout"}
_WORDS = (
    DATA.queue,
    DATA.name,
    "hostile-0",
    "hostile-1",
    "retry",
    "failed",
    "waiting,delayed",
    "1",
    "10",
    "30s",
    "2h",
    "text=x",
)


def command_line(draw: random.Random) -> list[str]:
    """Return the arguments of a command, without NUL, which no process accepts."""
    arguments = _enqueue(draw) if draw.random() < 0.3 else _any_command(draw)
    if draw.random() < 0.05:
        arguments.insert(draw.randint(0, len(arguments)), texts.text(draw))
    as_given = [each.replace("\x00", "").encode("utf-8", "surrogatepass") for each in arguments]
    return [each[:100_000].decode("utf-8", "surrogateescape") for each in as_given]


def _any_command(draw: random.Random) -> list[str]:
    path, parameters = draw.choice(_COMMANDS)
    arguments = [*path]
    for parameter in parameters:
        if parameter.param_type_name == "argument":
            arguments += [_word(draw)] if draw.random() < 0.95 else []
        elif draw.random() < 0.3:
            arguments.append(draw.choice(parameter.opts))
            arguments += [] if parameter.is_flag else [_word(draw)]
    return arguments


def _word(draw: random.Random) -> str:
    return texts.word(draw, _WORDS, wrong=0.4)


def _enqueue(draw: random.Random) -> list[str]:
    arguments = ["enqueue", texts.word(draw, (DATA.name, DATA.name, "cache-cleanup", "token-refresh"), wrong=0.1)]
    if draw.random() < 0.7:
        arguments += ["--data", _json(draw)]
    for name in draw.sample(
        ("--priority", "--delay", "--attempts", "--job-id", "--text", "--number", "--ratio", "--day"),
        draw.choice((0, 1, 2)),
    ):
        arguments += [name, texts.word(draw, ("1", "high", "5s", "x"), wrong=0.6)]
    return arguments


def _json(draw: random.Random) -> str:
    if draw.random() < 0.2:
        return draw.choice(
            (
                "",
                "{",
                "[]",
                "null",
                '{"value": NaN}',
                '{"value": 1e999}',
                '{"value": "\\ud800"}',
                "[" * 50_000,
                '{"value":' + "[" * 300 + "]" * 300 + "}",
            )
        )
    fields = {name: objects.json_value(draw) for name in draw.sample(job_calls.FIELDS, draw.choice((1, 2)))}
    try:
        return json.dumps(fields, ensure_ascii=draw.random() < 0.5)
    except (ValueError, RecursionError):
        return "{"


def _walk(command: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Sequence[Any]]]:
    for name, each in command.commands.items():
        if name in _LEFT_OUT or name == "enqueue":
            continue
        if hasattr(each, "commands"):
            yield from _walk(each, (*path, name))
        else:
            yield (*path, name), [p for p in each.params if not _ENDLESS & set(p.opts)]


_COMMANDS = [*_walk(typer.main.get_command(app), ())]
