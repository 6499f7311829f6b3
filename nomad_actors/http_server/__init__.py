"""Serves WSGI applications with waitress: the admin, and the metrics of workers and schedulers.

Waitress moves all bytes in one thread and gives a request to one of a few others once all of it has arrived, so a slow
client costs a connection and no thread. What its settings cannot bound is bounded here.
"""

from .server import HttpServer, Limits

__all__ = ["HttpServer", "Limits"]
