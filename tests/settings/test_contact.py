"""Programs that send requests to CCP need a contact in ESI_USER_AGENT."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from nomad_actors.errors import SettingsError
from nomad_actors.settings import Settings
from nomad_actors.settings.contact import require_contact


@pytest.mark.parametrize(
    "text",
    [
        "my-app/1.0 (me@example.com)",
        "my-app/1.0 (+https://github.com/me/my-app)",
        "my-app/1.0 (discord:ada_voss)",
        "my-app/1.0 (eve: Ada Voss)",
        "Plugin/1 (EVE:Ada; +https://example.org) App/1",
    ],
)
def test_a_contact_is_a_mail_address_a_url_or_a_name(text: str) -> None:
    require_contact(Settings(esi_user_agent=text))


@pytest.mark.parametrize(
    "text",
    [
        Settings().esi_user_agent,
        "my-app/1.0",
        "python-requests/2.32.0",
        "my-app (me at example.com)",
        "my-app (me@localhost)",
        "my-app (http://example.com)",
        "my-app (https://)",
        "for EVE Online",
        "my-app (discord:)",
        "my-app (@ada)",
    ],
)
@pytest.mark.parametrize("base_url", ["https://esi.evetech.net", "https://ESI.evetech.net:443/"])
def test_without_one_requests_to_ccp_are_refused_and_to_others_not(text: str, base_url: str) -> None:
    with pytest.raises(SettingsError, match=r"ESI_USER_AGENT='my-app/1\.0 .me@example\.com.'"):
        require_contact(Settings(esi_user_agent=text, esi_base_url=base_url))
    require_contact(Settings(esi_user_agent=text, esi_base_url="http://127.0.0.1:4000"))


@pytest.mark.parametrize("module", [["nomad_actors.cli", "run", "workers"], ["nomad_actors.scheduler"]])
def test_workers_and_scheduler_do_not_start(module: list[str], redis_url: str, tmp_path: Path) -> None:
    environ = {
        "PATH": os.environ["PATH"],
        "REDIS_URL": redis_url,
        "NOMAD_VAR_DIR": str(tmp_path / "var"),
        "DATABASE_URL": f"sqlite:///{tmp_path / 'nomad.db'}",
    }
    done = subprocess.run(
        [sys.executable, "-m", *module], env=environ, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 2, done.stderr
    assert "CCP finds no contact" in done.stderr
    assert "Traceback" not in done.stderr
    # Nothing was created that a later start would find.
    assert not (tmp_path / "nomad.db").exists()


def test_commands_that_send_nothing_need_none(redis_url: str, tmp_path: Path) -> None:
    environ = {"PATH": os.environ["PATH"], "REDIS_URL": redis_url, "NOMAD_VAR_DIR": str(tmp_path)}
    command = [sys.executable, "-m", "nomad_actors.cli", "esi"]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    done = subprocess.run([*command, "check"], env=environ, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, "CCP finds no contact" in done.stderr) == (2, True)
