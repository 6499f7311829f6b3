"""`nomad config`: show every setting and its source."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..logs.redaction import HIDDEN, redact
from ..settings import RetentionLimit, is_secret, read_with_origins
from ..settings.secret_url import SecretUrl
from .options import Json
from .report import console, duration, print_json, table


def config(json: Json = False) -> None:
    """Show every setting: its value and the environment variable that set it. Secrets are hidden."""
    settings = _described()
    if json:
        print_json({"settings": settings})
        return
    rows = [[setting["variable"], setting["source"], str(setting["value"])] for setting in settings]
    console().print(table(["VARIABLE", "FROM", "VALUE"], rows))


def _described() -> list[dict[str, Any]]:
    from ..store.url import check_options, parse

    settings, origins = read_with_origins(os.environ)
    # Only the driver knows the options of a URL. Check them here, since a wrong one stops a program at its start.
    check_options(parse(settings.database_url))
    described = []
    for each in dataclasses.fields(settings):
        # Without an origin it is not a setting, but the file that one was read from.
        if origin := origins.get(each.name):
            value = _shown(origin.variable, getattr(settings, each.name))
            source = ", ".join(origin.read) or "default"
            described.append({"name": each.name, "variable": origin.variable, "value": value, "source": source})
    return described


def _shown(variable: str, value: Any) -> Any:
    if is_secret(variable):
        return HIDDEN if value else ""
    if isinstance(value, SecretUrl):
        return value.shown
    if isinstance(value, RetentionLimit):
        return f"{value.jobs}/{duration(value.age_ms)}"
    if isinstance(value, Mapping):
        return " ".join(f"{name}={_shown(variable, item)}" for name, item in sorted(value.items()))
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    if isinstance(value, str | Path):
        return redact(str(value))
    return "" if value is None else value
