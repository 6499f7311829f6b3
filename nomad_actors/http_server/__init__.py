"""Serves WSGI applications with waitress: the admin, and the metrics of workers and schedulers.

Waitress does all network I/O in one thread and passes a request to a worker thread once it has arrived completely, so a
slow client occupies a connection but no thread. This package adds the limits that waitress has no settings for.
"""

from .server import HttpServer, Limits, listen

__all__ = ["HttpServer", "Limits", "listen"]
