"""What is wrong with an installation, and the command that mends it: a list of checks, each with what it found."""

from ..findings import Area, Finding, Severity
from .examine import Report, examine
from .installation import Installation
from .stillness import why_still
from .system import system_health

__all__ = ["Area", "Finding", "Installation", "Report", "Severity", "examine", "system_health", "why_still"]
