"""The tests of the containers use a PostgreSQL too."""

from tests.store.conftest import postgres_url

__all__ = ["postgres_url"]
