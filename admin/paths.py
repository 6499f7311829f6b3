"""Paths as OpenAPI writes them."""

from __future__ import annotations

import re

from pydantic.alias_generators import to_camel
from werkzeug.routing import Rule


def path_of(rule: Rule) -> str:
    """Return a rule's path as OpenAPI writes it: `/admin/jobs/queues/{queue}/jobs/{jobId}`."""
    return re.sub(r"<(?:\w+:)?(\w+)>", lambda found: f"{{{to_camel(found[1])}}}", rule.rule)
