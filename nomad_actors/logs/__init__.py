"""Log lines, redaction of secrets, captured output, and error reports to Sentry."""

from .redaction import HIDDEN, redact
from .setup import JOB_FACTS, LINE_BYTES, configure, configure_program, get_logger

__all__ = ["HIDDEN", "JOB_FACTS", "LINE_BYTES", "configure", "configure_program", "get_logger", "redact"]
