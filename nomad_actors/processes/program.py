"""The start of our programs: settings, and an exit code that tells a supervisor whether a restart can help.

2 and 78 mean that an operator must change something first.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator

from .. import logs
from ..errors import CannotStart, ExitCode, NomadError, SettingsError
from ..logs.setup import is_program_configured
from ..settings import Settings
from .private_files import in_words, make_files_private, make_private, our_files

#: A restart does not help until an operator acts.
NEEDS_OPERATOR = frozenset({ExitCode.USAGE, ExitCode.CANNOT_START})

logger = logs.get_logger("nomad_actors.processes.program")


class ProgramExit(SystemExit):
    """Raised to end one of our programs after it has logged why; any other `SystemExit` comes from foreign code."""


@contextlib.contextmanager
def settings_or_exit() -> Iterator[Settings]:
    """Yield the settings of this process; if it cannot start, log one line and end it with an exit code.

    The code is 2 for wrong settings, 78 for other problems that a restart does not solve, 1 for temporary ones.
    Also makes all files that this process creates private (see `make_files_private`).
    """
    make_files_private()
    try:
        yield Settings.from_env(os.environ)
    except SettingsError as error:
        for problem in error.problems:
            if is_program_configured():
                logger.critical(f"wrong setting: {problem}")
            else:
                # Plain text: the log's own settings may be wrong.
                sys.stderr.write(f"wrong setting: {problem}\n")
        raise ProgramExit(ExitCode.USAGE) from None
    except CannotStart as error:
        logger.critical(f"cannot start: {error}")
        raise ProgramExit(ExitCode.CANNOT_START) from None
    except OSError as error:
        if error.filename is None:
            raise
        # A file without permission or without disk space: the message of the error says which.
        logger.critical(f"cannot start: {error}; check the permissions of that file and the free space of its disk")
        raise ProgramExit(ExitCode.CANNOT_START) from None
    except NomadError as error:
        logger.critical(f"cannot start now: {error}")
        raise ProgramExit(1) from None


def begin(settings: Settings) -> None:
    """Configure logging, and remove the permissions of others from files that an earlier release left open."""
    logs.configure_program(settings.log_format, settings.log_level)
    changed, still_open = make_private(our_files(settings.var_dir, settings.database_path))
    if changed:
        logger.warning("other users could access these files; now only their owner can", files=in_words(changed))
    if still_open:
        logger.warning("other users can access these files; fix it with chmod go=", files=in_words(still_open))
