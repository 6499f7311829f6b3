"""The two services that the sandbox is."""

from __future__ import annotations

from typing import Literal

Service = Literal["esi", "sso"]
