"""How a program of ours starts: its settings, and an exit code that says whether to start it again.

A supervisor reads the code: 2 and 78 mean that somebody must change something first.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator

from .. import logs
from ..errors import CannotStart, NomadError, SettingsError
from ..settings import Settings
from .private_files import files_of, in_words, make_files_private, tighten

#: Exit code of every program of ours that was given wrong settings.
EXIT_SETTINGS = 2
#: Exit code of a program that cannot start until somebody changes something else: EX_CONFIG of sysexits.h.
EXIT_CANNOT_START = 78
#: Starting again does not help before somebody acts.
NEEDS_OPERATOR = frozenset({EXIT_SETTINGS, EXIT_CANNOT_START})

logger = logs.get_logger("nomad_actors.processes.program")


class ProgramExit(SystemExit):
    """Raised to end a program of ours that has said why; any other `SystemExit` is of somebody else's code."""


@contextlib.contextmanager
def settings_or_exit() -> Iterator[Settings]:
    """Read the settings of this process, and end it with one line and an exit code if it cannot start.

    2 is for wrong settings, 78 for anything else that starting again does not mend, 1 for what may pass by itself.
    From here on, files that this process makes are its owner's alone.
    """
    make_files_private()
    try:
        yield Settings.from_env(os.environ)
    except SettingsError as error:
        for problem in error.problems:
            if logs.is_program_configured():
                logger.critical(f"wrong setting: {problem}")
            else:
                # Plain text: the log's own settings may be wrong.
                sys.stderr.write(f"wrong setting: {problem}\n")
        raise ProgramExit(EXIT_SETTINGS) from None
    except CannotStart as error:
        logger.critical(f"cannot start: {error}")
        raise ProgramExit(EXIT_CANNOT_START) from None
    except OSError as error:
        if error.filename is None:
            raise
        # A file that we may not use, or that has no room: which it is, its words say.
        logger.critical(f"cannot start: {error}; let this process' user use that file, and see that its disk has room")
        raise ProgramExit(EXIT_CANNOT_START) from None
    except NomadError as error:
        logger.critical(f"cannot start now: {error}")
        raise ProgramExit(1) from None


def begin(settings: Settings) -> None:
    """Log as the settings say, and take others' rights from the files that an earlier release left open."""
    logs.configure_program(settings.log_format, settings.log_level)
    changed, still_open = tighten(files_of(settings.var_dir, settings.database_path))
    if changed:
        logger.warning("others could use these files; now their owner alone may", files=in_words(changed))
    if still_open:
        logger.warning("others can use these files, and we may not change it: chmod go=", files=in_words(still_open))
