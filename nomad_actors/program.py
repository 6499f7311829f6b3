"""How a program of ours begins: its settings, and an end that says which of them are wrong."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator

from .errors import SettingsError
from .settings import Settings

#: Exit code of every program of ours that was given wrong settings.
EXIT_SETTINGS = 2


@contextlib.contextmanager
def settings_or_exit() -> Iterator[Settings]:
    """Read the settings of this process; a wrong one, now or while it is used, ends it with exit code 2.

    Plain text says which: the log's own settings may be among them.
    """
    try:
        yield Settings.from_env(os.environ)
    except SettingsError as error:
        for problem in error.problems:
            sys.stderr.write(f"wrong setting: {problem}\n")
        sys.exit(EXIT_SETTINGS)
