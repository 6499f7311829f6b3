"""Log lines, redaction of secrets, captured output, and error reports to Sentry."""

from .redaction import HIDDEN, as_text, hide_secrets, redact, shortened
from .setup import (
    JOB_FACTS,
    LINE_BYTES,
    LineHandler,
    configure,
    configure_program,
    finish_lines,
    format_line,
    format_time,
    get_logger,
    is_program_configured,
    logfmt_value,
    restore_streams,
    write_lines,
)

__all__ = [
    "HIDDEN",
    "JOB_FACTS",
    "LINE_BYTES",
    "LineHandler",
    "as_text",
    "configure",
    "configure_program",
    "finish_lines",
    "format_line",
    "format_time",
    "get_logger",
    "hide_secrets",
    "is_program_configured",
    "logfmt_value",
    "redact",
    "restore_streams",
    "shortened",
    "write_lines",
]
