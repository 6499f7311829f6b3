"""Where a reader gets its data from: the settings, as everywhere else, or a database's URL."""

from __future__ import annotations

import atexit
import os
import threading
from typing import TYPE_CHECKING

from ..clock import Clock, SystemClock
from ..errors import NomadError
from ..settings import Settings
from ..store import Store
from .documents import add_refresh
from .reader import Data

if TYPE_CHECKING:
    from ..queues import AddedJob

_default: Data | None = None
_default_lock = threading.Lock()


def connect(settings: Settings | None = None, *, database_url: str | None = None, clock: Clock | None = None) -> Data:
    """Return a reader of the database of `settings` (default: those of the environment), or of `database_url`.

    It connects on first use, and never creates or migrates the database: its methods raise `Unusable` if it does not
    exist, or has another release's schema. It needs neither Redis nor a token key, except that the refresh of a
    document is added to the queues of this process's application, or, if it has none, to those of the settings. Raises
    `SettingsError`.
    """
    if settings is None and database_url is None:
        settings = Settings.from_env(os.environ)
    url = database_url or (settings or Settings()).database_url
    clock = clock or SystemClock()
    return Data(Store(url, cipher=None, clock=clock, migrates=False), clock, _Refreshing(settings))


def default_data() -> Data:
    """Return the reader of this process, with the settings of the environment.

    Raises `SettingsError`.
    """
    global _default
    with _default_lock:
        if _default is None:
            _default = connect()
            atexit.register(_default.close)
        return _default


class _Refreshing:
    """Adds refresh jobs to this process's queues; opens those of the settings if there are none."""

    def __init__(self, settings: Settings | None) -> None:
        self._settings = settings

    def __call__(self, character_id: int, user_id: int, route: str, *, skip_cache: bool) -> AddedJob:
        # Imported here: the queues take long to import, and most readers ask for no refresh.
        from .. import queues
        from ..app import open_queues

        try:
            queues.default_queues()
        except NomadError:
            open_queues(self._settings or Settings.from_env(os.environ))
        return add_refresh(character_id, user_id, route, skip_cache=skip_cache)
