"""`nomad sandbox`: start the stand-in for ESI and SSO, and show what a client did wrong there."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Annotated, Any

import typer

from ..errors import BadInput, CannotStart
from ..logs.counted import counted
from .options import Json
from .report import console, moment, print_json, print_line, table
from .session import settings

group = typer.Typer(help="Start a stand-in for ESI and SSO, or show its conduct record.", invoke_without_command=True)

#: How many requests are shown; `--json` has all of them.
SHOWN = 20
TIMEOUT_SECONDS = 10


@group.callback()
def sandbox(
    context: typer.Context,
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 chooses a free one.")] = 0,
    seed: Annotated[int, typer.Option(help="Determines the characters, their data and random faults.")] = 7,
    characters: Annotated[int, typer.Option(help="How many characters there are.")] = 25,
    speed: Annotated[float, typer.Option(help="How fast its clock runs: 60 makes a minute of each second.")] = 1.0,
    start: Annotated[str | None, typer.Option(metavar="TIME", help="When its clock starts; default: now.")] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Daily downtime, and SSO's errors under load.")] = False,
    page_rows: Annotated[int, typer.Option(min=1, help="The most rows of a page.")] = 1000,
    grace_ms: Annotated[int, typer.Option(min=0, help="Until a fleet must know what one process has read.")] = 250,
    ready_file: Annotated[Path | None, typer.Option(help="A file to write the URL to, once it answers.")] = None,
) -> None:
    """Start a strict ESI and SSO with invented characters, until Ctrl-C, and print the settings that lead to it."""
    if context.invoked_subcommand is not None:
        return
    given = {name.replace("_", "-"): value for name, value in context.params.items() if name != "strict"}
    arguments = [f"--{name}={value}" for name, value in given.items() if value is not None]
    raise typer.Exit(_serve([*arguments, "--settings", *(["--strict"] if strict else [])]))


def _serve(arguments: list[str]) -> int:
    """Run the sandbox's program; return its exit code. It is no part of this package, and may not be installed."""
    try:
        program: Any = importlib.import_module("sandbox.__main__")
    except ModuleNotFoundError as error:
        if str(error.name).partition(".")[0] != "sandbox":
            raise
        raise CannotStart(
            "the sandbox is not installed here", "install all of nomad-actors, or run it in a checkout"
        ) from None
    try:
        code: int = program.main(arguments, prog="nomad sandbox")
    except SystemExit as error:
        return error.code if isinstance(error.code, int) else 1
    return code


@group.command()
def conduct(
    url: Annotated[str | None, typer.Option(help="The sandbox's address; default: ESI_BASE_URL.")] = None,
    json: Json = False,
) -> None:
    """Show every request to the sandbox that CCP would have frowned on. The exit code is 1 if there is one."""
    base_url = (url or settings().esi_base_url).rstrip("/")
    record = _read(base_url, "conduct")
    if json:
        print_json({**record, "counters": _read(base_url, "counters")})
    elif record["total"]:
        _show(record)
    else:
        print_line("The conduct record is empty.")
    raise typer.Exit(1 if record["total"] else 0)


def _show(record: dict[str, Any]) -> None:
    out = console()
    rows = [[each["reason"], str(each["count"]), each["source"], each["rule"]] for each in record["reasons"]]
    out.print(table(["REASON", "COUNT", "SOURCE", "RULE"], rows, right=("COUNT",)), "")
    latest = record["violations"][-SHOWN:]
    out.print(table(["TIME", "REASON", "STATUS", "REQUEST", "CHARACTER", "DETAIL"], map(_row, latest)))
    if record["total"] > len(latest):
        print_line(
            f"{counted(record['total'] - len(latest), 'more request')}: --json shows {len(record['violations'])}"
        )


def _row(violation: dict[str, Any]) -> list[str]:
    query = "&".join(f"{name}={value}" for name, value in violation["query"].items())
    path = f"{violation['method']} {violation['path']}{'?' if query else ''}{query}"
    character = str(violation["character_id"] or "-")
    at, status = moment(violation["at_ms"]), str(violation["status"])
    return [at, violation["reason"], status, path, character, violation["detail"]]


def _read(base_url: str, what: str) -> dict[str, Any]:
    """Return a document of the sandbox's control API. Raises `BadInput` if no sandbox answers there."""
    import requests

    from ..settings.settings import Settings

    if base_url == Settings().esi_base_url:
        raise BadInput(f"{base_url} is the real ESI: pass the sandbox's address with --url, or set ESI_BASE_URL")
    with requests.Session() as session:
        # Ignore proxies from the environment: the sandbox is on this machine.
        session.trust_env = False
        try:
            response = session.get(f"{base_url}/sandbox/{what}", timeout=TIMEOUT_SECONDS)
            response.raise_for_status()
            document = response.json()
        # Some wrong addresses are other errors: a host name that is too long, for example.
        except (requests.RequestException, ValueError) as error:
            raise BadInput(f"no sandbox answers at {base_url}: {type(error).__name__}") from None
    if not isinstance(document, dict):
        raise BadInput(f"no sandbox answers at {base_url}: it is something else")
    return document
