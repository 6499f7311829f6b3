"""Finds a job id in a URL path. Producers choose the ids, so an id may contain any character."""

from __future__ import annotations

from werkzeug.routing import BaseConverter


class JobIdConverter(BaseConverter):
    """Matches any text, also with leading and trailing slashes, which werkzeug's `path` converter does not match."""

    regex = ".+?"
    part_isolating = False
    #: Fixed paths match first.
    weight = 200
