"""Payloads: their types are checked when a job type is declared, their values are written to messages and read back."""

from .codec import PayloadCodec
from .reasons import MAX_LEVELS

__all__ = ["MAX_LEVELS", "PayloadCodec"]
