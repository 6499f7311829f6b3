"""How a job's id is found in a path: whatever it holds, as ids are chosen by whoever adds a job."""

from __future__ import annotations

from werkzeug.routing import BaseConverter


class JobIdConverter(BaseConverter):
    """Takes any text, slashes at its beginning and end too, which werkzeug's own `path` does not."""

    regex = ".+?"
    part_isolating = False
    #: Behind what has a name of its own.
    weight = 200
