"""`nomad characters remove` and `import`: delete one character, and take over the logins of another system."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from io import TextIOWrapper
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer

from .. import logs
from ..errors import BadInput
from ..logs.counted import counted
from .audited import audited, existing_database
from .character_refresh import DEFAULT_SPREAD, Spread, add_refreshes, spread_of
from .options import CharacterId, Json, Yes, confirm
from .report import print_line, print_result
from .session import DEADLINE_MS, settings

if TYPE_CHECKING:
    from ..app import App
    from ..characters.login_file import LoginFile
    from ..characters.removal import CharacterRemover, Removal
    from ..store import Handover, NewLogin

DryRun = Annotated[bool, typer.Option("--dry-run", help="Check and count, and change nothing.")]
#: Logins that are saved in one transaction: workers write between two of them.
_BATCH = 100
#: How many invalid lines are printed.
_PRINTED = 20


@contextlib.contextmanager
def opened_application() -> Iterator[App]:
    """Open the application on an existing database for a `with` block; raises `Unavailable`, `SettingsError`."""
    from ..app import create_app

    found = settings()
    logs.configure(found.log_format, found.log_level)
    with existing_database(found):
        pass
    app = create_app(found, caller_deadline_ms=DEADLINE_MS, long_transactions=True)
    with contextlib.closing(app):
        yield app


def remove(character_id: CharacterId, dry_run: DryRun = False, yes: Yes = False, json: Json = False) -> None:
    """Revoke a character's refresh token at SSO, and delete all its rows, cached documents and jobs.

    It may be repeated, also after a crash. If SSO does not answer, everything is deleted here nevertheless.
    """
    with opened_application() as app:
        remover = _remover(app)
        counts = remover.count(character_id)
        if dry_run:
            print_result(counts.as_json(), f"Dry run: {_removed(counts)} Nothing was done.", json=json)
            return
        if not counts.is_empty:
            confirm(f"Revoke the login of character {character_id} and delete {_numbers(counts)}?", yes=yes)
        with audited(app.settings, "DELETE", "characters", str(character_id)):
            removal = remover.remove(character_id)
    print_result(removal.as_json(), _removed(removal), json=json)
    if removal.token_error is not None:
        _warn(
            f"SSO did not revoke the refresh token ({removal.token_error}); it is deleted here, and the player can "
            "revoke it at https://developers.eveonline.com/authorized-apps"
        )
    if removal.running_jobs:
        _warn(f"{counted(removal.running_jobs, 'job')} of it still ends: repeat the command")
        raise typer.Exit(1)


def _remover(app: App) -> CharacterRemover:
    from ..characters.removal import CharacterRemover

    services = app.services
    return CharacterRemover(
        store=app.store,
        queues=app.queues,
        cache=services.cache,
        sso=services.sso,
        limiter=services.limiter,
        unsaved_tokens=services.unsaved_tokens,
    )


def _numbers(removal: Removal) -> str:
    rows, jobs = sum(removal.rows.values()), sum(removal.jobs.values())
    documents = counted(removal.cached_documents, "cached document")
    return f"{counted(rows, 'row')}, {documents} and {counted(jobs, 'job')}"


def _removed(removal: Removal) -> str:
    if removal.is_empty:
        return f"Nothing is kept of character {removal.character_id}."
    deletion = "would be deleted" if removal.dry_run else "deleted"
    token = "Its refresh token is revoked. " if removal.token_revoked else ""
    by_table = ", ".join(f"{name} {count}" for name, count in removal.rows.items())
    return f"Character {removal.character_id}: {_numbers(removal)} {deletion}. {token}Rows: {by_table or 'none'}."


def _warn(text: str) -> None:
    print_line(f"nomad: warning: {' '.join(logs.redact(text).split())}", err=True)


def import_logins(
    file: Annotated[str, typer.Argument(metavar="FILE", help="CSV or JSON; - for standard input.")],
    existing: Annotated[
        str | None, typer.Option("--existing", metavar="WHAT", help="Characters that are known: skip or replace.")
    ] = None,
    refresh: Annotated[
        list[str] | None,
        typer.Option(
            "--refresh", metavar="GROUP", help="Fetch and subscribe to the routes of this group. May be repeated."
        ),
    ] = None,
    spread: Spread = DEFAULT_SPREAD,
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Save logins of another system: character_id, user_id, name, owner_hash, scopes and refresh_token of each.

    Nothing is saved if one line is invalid. Without --refresh, nothing is fetched until somebody requests it.
    """
    from ..characters.login_file import read_logins
    from ..jobs.esi_refresh import routes_of
    from ..jobs.many_refreshes import pairs_of
    from ..store.ownership import owner_hashes

    if existing not in (None, "skip", "replace"):
        raise BadInput(f"--existing {existing!r} is invalid (allowed: skip, replace)", accepted=["skip", "replace"])
    routes, spread_ms = routes_of(refresh or []), spread_of(spread)
    with _text_of(file) as text:
        read = read_logins(text)
    _refuse_problems(file, read)
    with opened_application() as app:
        known = set(owner_hashes(app.store.database, [each.character_id for each in read.logins]))
        if known and existing is None:
            raise BadInput(
                f"{counted(len(known), 'character')} of the file logged in before; nothing was imported (allowed: "
                "--existing skip, or --existing replace)",
                accepted=["--existing skip", "--existing replace"],
            )
        skipped = known if existing == "skip" else set[int]()
        chosen = [each for each in read.logins if each.character_id not in skipped]
        result: dict[str, Any] = {
            "dryRun": dry_run,
            "imported": len(chosen),
            "replaced": len(known - skipped),
            "skipped": len(skipped),
            "handedOver": 0,
            "jobs": 0,
        }
        if not dry_run:
            body = {"characters": len(chosen), "existing": existing, "refresh": refresh or []}
            with audited(app.settings, "POST", "logins", "import", body=body):
                saved = _save(app, chosen)
                imported = {each.character_id for each in chosen}
                characters = [each for each in app.store.logins.all() if each.character_id in imported]
                jobs = add_refreshes(app.queues, pairs_of(characters, routes), spread_ms=spread_ms)
            result["jobs"] = len(jobs)
            result["handedOver"] = sum(each.archive_id is not None for each in saved)
    print_result(result, _imported(result), json=json)


@contextlib.contextmanager
def _text_of(file: str) -> Iterator[TextIO]:
    """Open the file for a `with` block; raises `BadInput` if it cannot be read."""
    try:
        if file == "-":
            yield TextIOWrapper(sys.stdin.buffer, encoding="utf-8-sig", newline="")
            return
        with open(file, encoding="utf-8-sig", newline="") as opened_file:
            yield opened_file
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "its name is not valid"
        raise BadInput(f"{file} cannot be read: {reason} (allowed: a file, or - for standard input)") from None


def _refuse_problems(file: str, read: LoginFile) -> None:
    for problem in read.problems[:_PRINTED]:
        print_line(f"nomad: {problem}", err=True)
    if read.problems:
        more = len(read.problems) - _PRINTED
        rest = f", {more} of them not shown" if more > 0 else ""
        raise BadInput(f"{file} has {counted(len(read.problems), 'invalid line')}{rest}; nothing was imported")


def _save(app: App, logins: list[NewLogin]) -> list[Handover]:
    from ..characters.saving import save_logins

    saved: list[Handover] = []
    for start in range(0, len(logins), _BATCH):
        batch = logins[start : start + _BATCH]
        saved += save_logins(app.store, app.services.cache, app.services.limiter, batch)
    return saved


def _imported(result: dict[str, Any]) -> str:
    verb = "would be imported" if result["dryRun"] else "imported"
    text = (
        f"{counted(result['imported'], 'login')} {verb} ({result['replaced']} replaced), {result['skipped']} skipped."
    )
    if result["jobs"]:
        text += f" {counted(result['jobs'], 'refresh job')} added."
    elif result["imported"] and not result["dryRun"]:
        text += " Nothing is fetched until somebody requests it: nomad characters refresh --group."
    if result["handedOver"]:
        text += f" {counted(result['handedOver'], 'character')} had another owner before, who keeps the old data."
    return text
