"""URLs of our own pages, below the path prefix of a proxy if there is one."""

from __future__ import annotations

from urllib.parse import quote

from flask import request


def link(path: str) -> str:
    """Return the URL of one of our paths."""
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
