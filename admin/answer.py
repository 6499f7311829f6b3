"""How a text becomes bytes on its way out."""

from __future__ import annotations

from flask import Response


class Answer(Response):
    """An answer whose text may hold what is no text: half a surrogate pair, from an error or a job's data."""

    def set_data(self, value: bytes | str) -> None:
        """Set the body; what UTF-8 cannot tell is told as an escape."""
        super().set_data(value.encode("utf-8", "backslashreplace") if isinstance(value, str) else value)
