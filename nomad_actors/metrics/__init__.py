"""Prometheus metrics: those of this process, those read from Redis and the database, and the server."""
