"""The admin: a JSON API and web pages for the queues. It uses Redis and the database only through the application."""

from .web import create_app

__all__ = ["create_app"]
