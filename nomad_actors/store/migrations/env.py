"""Alembic's entry: runs the steps on the connection, and in the transaction, that the caller gives."""

from __future__ import annotations

from alembic import context

from nomad_actors.store.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
)
context.run_migrations()
