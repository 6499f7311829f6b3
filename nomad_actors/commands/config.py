"""`nomad config`: the settings as they are, and where each comes from."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .options import Json
from .report import console, duration, print_json, table


def config(json: Json = False) -> None:
    """Show every setting: its value, and the environment variable it comes from; secrets are hidden."""
    told = settings_told(os.environ)
    if json:
        print_json({"settings": told})
        return
    rows = [[setting["variable"], setting["source"], str(setting["value"])] for setting in told]
    console().print(table(["VARIABLE", "FROM", "VALUE"], rows))


def settings_told(environ: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return each setting's name, variable, value and source.

    Raises `SettingsError`.
    """
    from ..settings import read_with_origins
    from ..store.url import check_options, parse

    settings, origins = read_with_origins(environ)
    # What stops a start is told here too: only the driver knows the options of a URL.
    check_options(parse(settings.database_url))
    told = []
    for each in dataclasses.fields(settings):
        if each.name not in origins:
            # No setting: a file that one was read from.
            continue
        origin = origins[each.name]
        value = _shown(origin.variable, getattr(settings, each.name))
        source = ", ".join(origin.read) or "default"
        told.append({"name": each.name, "variable": origin.variable, "value": value, "source": source})
    return told


def _shown(variable: str, value: Any) -> Any:
    from ..logs.redaction import HIDDEN, redact
    from ..settings import RetentionLimit, is_secret
    from ..settings.secret_url import SecretUrl

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
