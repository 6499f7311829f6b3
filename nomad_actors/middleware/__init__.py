"""The middleware around every job: log lines, metrics, error reports and retries."""

from .order import middleware_for

__all__ = ["middleware_for"]
