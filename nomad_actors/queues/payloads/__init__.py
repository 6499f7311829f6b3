"""How a payload travels: checked when its job type is declared, written into a message, and read back from it."""

from .codec import PayloadCodec
from .reasons import MAX_LEVELS

__all__ = ["MAX_LEVELS", "PayloadCodec"]
