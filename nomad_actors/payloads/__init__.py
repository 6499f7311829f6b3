"""How a payload travels: checked when its job type is declared, written into a message, and read back from it."""

from .codec import PayloadCodec

__all__ = ["PayloadCodec"]
