"""The API's own description."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, current_app

from .. import openapi
from ..current_app import all_queues
from ..links import link
from .declared import declared
from .models.installation import OpenApi

api = Blueprint("description", __name__, url_prefix="/admin")


@api.get("/openapi.json")
@declared(OpenApi, problems=())
def description() -> dict[str, Any]:
    """Return this document."""
    return openapi.document(current_app, all_queues(), prefix=link(""))
