"""Since when and until when a route of a character is not requested because ESI refused it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns; nothing is refused in older rows."""
    with op.batch_alter_table("sync_state") as state:
        state.add_column(sa.Column("refused_until_ms", sa.BigInteger(), nullable=True))
        state.add_column(sa.Column("refusals", sa.BigInteger(), nullable=False, server_default="0"))
