"""Stored tokens: bound to their character and kind, decrypted by any current key, encrypted by the newest."""

from __future__ import annotations

import logging
import multiprocessing
import re
from pathlib import Path

import pytest

from nomad_actors.errors import SettingsError
from nomad_actors.settings import Settings
from nomad_actors.store import TokenCipher, UndecryptableToken


def test_a_token_can_be_decrypted_and_is_not_visible_in_the_stored_value() -> None:
    cipher = TokenCipher(["key"])
    stored = cipher.encrypt("secret refresh token", character_id=1, kind="refresh")
    assert "secret" not in stored
    assert re.fullmatch(r"v1\.[0-9a-f]{8}\.[A-Za-z0-9+/=]+", stored)
    assert cipher.decrypt(stored, character_id=1, kind="refresh") == "secret refresh token"


def test_the_same_token_is_never_stored_the_same_way_twice() -> None:
    cipher = TokenCipher(["key"])
    assert len({cipher.encrypt("token", character_id=1, kind="refresh") for _ in range(100)}) == 100


@pytest.mark.parametrize(("character_id", "kind"), [(2, "refresh"), (1, "access")])
def test_a_token_moved_to_another_row_or_column_is_rejected(character_id: int, kind: str) -> None:
    cipher = TokenCipher(["key"])
    stored = cipher.encrypt("token", character_id=1, kind="refresh")
    with pytest.raises(UndecryptableToken, match="another row"):
        cipher.decrypt(stored, character_id=character_id, kind=kind)  # type: ignore[arg-type]


def test_an_altered_token_is_rejected() -> None:
    cipher = TokenCipher(["key"])
    stored = cipher.encrypt("token", character_id=1, kind="refresh")
    altered = stored[:-6] + ("A" if stored[-6] != "A" else "B") + stored[-5:]
    with pytest.raises(UndecryptableToken, match="altered"):
        cipher.decrypt(altered, character_id=1, kind="refresh")


def test_after_a_rotation_old_tokens_are_read_and_new_ones_written_with_the_new_key() -> None:
    before = TokenCipher(["old key"])
    after = TokenCipher(["new key", "old key"])
    stored = before.encrypt("token", character_id=1, kind="refresh")
    assert after.decrypt(stored, character_id=1, kind="refresh") == "token"
    rewritten = after.encrypt("token", character_id=1, kind="refresh")
    with pytest.raises(UndecryptableToken, match=f"key {after.current_key_id}.*put the old key back"):
        before.decrypt(rewritten, character_id=1, kind="refresh")


def test_without_keys_one_is_created_for_its_owner_only_and_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = Settings(var_dir=tmp_path / "var")
    with caplog.at_level(logging.WARNING):
        stored = TokenCipher.from_settings(settings).encrypt("token", character_id=1, kind="refresh")
    assert (tmp_path / "var" / "token.key").stat().st_mode & 0o777 == 0o600
    assert "created a key" in caplog.text
    caplog.clear()
    second = TokenCipher.from_settings(settings)
    assert second.decrypt(stored, character_id=1, kind="refresh") == "token"
    assert caplog.text == ""


def test_an_emptied_key_file_stops_the_start_and_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "token.key").write_text("\n")
    with pytest.raises(SettingsError, match=r"token\.key is empty"):
        TokenCipher.from_settings(Settings(var_dir=tmp_path))


def test_the_settings_keys_take_precedence_over_the_key_file(tmp_path: Path) -> None:
    TokenCipher.from_settings(Settings(var_dir=tmp_path, token_keys=("given",)))
    assert not (tmp_path / "token.key").exists()


def test_postgresql_without_keys_is_rejected_because_each_host_would_create_its_own(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="NOMAD_TOKEN_KEYS is not set"):
        TokenCipher.from_settings(Settings(var_dir=tmp_path, database_url="postgresql://db/nomad"))
    assert not (tmp_path / "token.key").exists()


def test_processes_that_start_together_agree_on_one_key(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    with context.Pool(8) as pool:
        ids = pool.map(_current_key_id, [tmp_path / "var"] * 32, chunksize=1)
        pool.close()
        pool.join()
    assert len(set(ids)) == 1
    assert [path.name for path in (tmp_path / "var").iterdir()] == ["token.key"]


def _current_key_id(directory: Path) -> str:
    return TokenCipher.from_settings(Settings(var_dir=directory)).current_key_id
