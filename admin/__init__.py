"""The admin: a JSON API and pages over the queues; speaks to Redis and the database through the application only."""

from .web import create_app

__all__ = ["create_app"]
