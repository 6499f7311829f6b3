"""Checks of an installation: each returns findings, with the command that fixes the problem."""

from ..findings import Area, Finding, Severity
from .examine import Report, examine, system_health
from .installation import Installation

__all__ = ["Area", "Finding", "Installation", "Report", "Severity", "examine", "system_health"]
