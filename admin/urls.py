"""The URLs of the admin: links to its pages, paths in OpenAPI notation, and job ids in them."""

from __future__ import annotations

import re
from urllib.parse import quote

from flask import request
from pydantic.alias_generators import to_camel
from werkzeug.routing import BaseConverter, Rule

#: The page of the bulk operations.
OPERATIONS = "/admin/bulk"


class JobIdConverter(BaseConverter):
    """Matches any job id: producers choose them. Werkzeug's `path` matches no leading and trailing slashes."""

    regex = ".+?"
    part_isolating = False
    #: Fixed paths match first.
    weight = 200


def path_of(rule: Rule) -> str:
    """Return a rule's path in OpenAPI notation: `/admin/jobs/queues/{queue}/jobs/{jobId}`."""
    return re.sub(r"<(?:\w+:)?(\w+)>", lambda match: f"{{{to_camel(match[1])}}}", rule.rule)


def link(path: str) -> str:
    """Return the URL of one of our paths, below the path prefix of a proxy if there is one."""
    return request.script_root + path


def queue_path(queue: str) -> str:
    """Return the URL of a queue's page."""
    return link(f"/admin/queues/{_quote_segment(queue)}")


def job_path(queue: str, job_id: str) -> str:
    """Return the URL of a job's page."""
    return f"{queue_path(queue)}/jobs/{_quote_segment(job_id)}"


def schedule_path(name: str) -> str:
    """Return the URL of a schedule's page."""
    return link(f"/admin/schedules/{_quote_segment(name)}")


def _quote_segment(text: str) -> str:
    return quote(text, safe="", errors="replace")
