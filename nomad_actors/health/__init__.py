"""What is wrong with an installation, and the command that mends it: a list of checks, each with what it found."""

from .examine import Report, examine
from .findings import Area, Finding, Patient, Status
from .stillness import Stillness, why_still
from .system import system_health

__all__ = ["Area", "Finding", "Patient", "Report", "Status", "Stillness", "examine", "system_health", "why_still"]
