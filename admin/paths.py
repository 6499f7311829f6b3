"""URL paths in OpenAPI notation."""

from __future__ import annotations

import re

from pydantic.alias_generators import to_camel
from werkzeug.routing import Rule


def path_of(rule: Rule) -> str:
    """Return a rule's path in OpenAPI notation: `/admin/jobs/queues/{queue}/jobs/{jobId}`."""
    return re.sub(r"<(?:\w+:)?(\w+)>", lambda match: f"{{{to_camel(match[1])}}}", rule.rule)
