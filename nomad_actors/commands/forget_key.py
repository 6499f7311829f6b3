"""`nomad forget-key`: discard the logins that a lost key encrypted."""

from __future__ import annotations

from contextlib import closing
from typing import Annotated

import typer

from ..errors import BadInput
from ..logs.counted import counted, verb_for
from .audited import audited
from .options import Json, Yes, confirm
from .report import print_result
from .session import opened


def forget_key(
    key_id: Annotated[
        str, typer.Argument(metavar="KEY_ID", help="The id of the key, from the error or from nomad doctor.")
    ],
    yes: Yes = False,
    json: Json = False,
) -> None:
    """Discard the logins that a lost key encrypted. Their players must log in again; their collected data stays."""
    from ..store import Store, TokenCipher
    from ..store.login_keys import stored_logins_by_key

    with opened() as access:
        at_hand = TokenCipher.at_hand(access.settings)
        if at_hand is not None and key_id in at_hand.key_ids:
            raise BadInput(f"key {key_id} is not lost: it is in {at_hand.source}")
        with closing(Store(access.settings.database_url, cipher=None, clock=access.clock)) as store:
            logins = stored_logins_by_key(store.database)
            if key_id not in logins:
                allowed = ", ".join(sorted(logins)) or "none"
                raise BadInput(
                    f"no login was encrypted with key {key_id!r} (allowed: {allowed})", accepted=sorted(logins)
                )
            discarded = f"{counted(logins[key_id], 'login')} of key {key_id}"
            confirm(f"Discard {discarded}? {_consequence(logins[key_id]).capitalize()}.", yes=yes)
            with audited(access.settings, "POST", "logins", "keys", key_id, "forget"):
                count = store.logins.forget_key(key_id)
    result = {"success": True, "keyId": key_id, "logins": count}
    print_result(result, f"{counted(count, 'login')} discarded: {_consequence(count)}", json=json)


def _consequence(logins: int) -> str:
    return f"{verb_for(logins, 'its player', 'their players')} must log in again"
