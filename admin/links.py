"""Addresses of our own pages as the browser must ask for them: below the prefix, where a proxy gives us one."""

from __future__ import annotations

from urllib.parse import quote

from flask import request


def link(path: str) -> str:
    """Return the address of a path of ours."""
    return request.script_root + path


def queue_path(queue: str) -> str:
    """Return the address of a queue's page."""
    return link(f"/admin/queues/{_part(queue)}")


def job_path(queue: str, job_id: str) -> str:
    """Return the address of a job's page."""
    return f"{queue_path(queue)}/jobs/{_part(job_id)}"


def schedule_path(name: str) -> str:
    """Return the address of a schedule's page."""
    return link(f"/admin/schedules/{_part(name)}")


def _part(text: str) -> str:
    return quote(text, safe="", errors="replace")
