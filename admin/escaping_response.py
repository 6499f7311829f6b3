"""A response that can carry text that UTF-8 cannot encode."""

from __future__ import annotations

from flask import Response


class EscapingResponse(Response):
    """A response whose text may contain half a surrogate pair, from an error or from a job's data."""

    def set_data(self, value: bytes | str) -> None:
        super().set_data(value.encode("utf-8", "backslashreplace") if isinstance(value, str) else value)
