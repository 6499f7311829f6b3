"""Printed text becomes log lines, and secrets that span several lines stay hidden."""

from __future__ import annotations

import io
import secrets

from nomad_actors.logs.captured_output import LINE_CHARACTERS, PrintedLines
from nomad_actors.logs.redaction import redact

KEY = [secrets.token_urlsafe(48) for _ in range(20)]


def printed(*texts: str | bytes) -> list[str]:
    """Return the log lines for written text."""
    logged: list[str] = []
    lines = PrintedLines(io.StringIO(), lambda line: logged.append(redact(line)))
    for text in texts:
        if isinstance(text, str):
            lines.write(text)
        else:
            assert lines.buffer.write(text) == len(text)
    lines.finish()
    return logged


def test_a_pem_key_is_hidden_on_all_its_lines() -> None:
    pem = "\n".join(("key: -----BEGIN RSA PRIVATE KEY-----", *KEY, "-----END RSA PRIVATE KEY-----", "after\n"))
    assert printed(pem) == ["key: [hidden]", "after"]
    assert printed(*(f"{line}\n" for line in pem.split("\n"))) == ["key: [hidden]", "after"]
    one_line = "-----BEGIN PRIVATE KEY-----abc-----END PRIVATE KEY-----\nafter\n"
    assert printed(one_line) == ["[hidden]", "after"]


def test_a_key_that_never_ends_does_not_silence_a_program_permanently() -> None:
    logged = printed("-----BEGIN PRIVATE KEY-----\n", *(f"line {number}\n" for number in range(1_000)))
    assert logged[0] == "[hidden]"
    assert logged[-1] == "line 999"
    assert len(logged) > 700


def test_bytes_are_redacted_like_text() -> None:
    assert printed(b"refresh_token=gEy-8fP2kq0aT1m4ZsBvXw\n", b"\xff\n") == ["refresh_token=[hidden]", "\\xff"]


def test_a_long_line_is_cut_between_words() -> None:
    secret = "gEy-8fP2kq0aT1m4ZsBvXw" * 3
    for before in range(LINE_CHARACTERS - 100, LINE_CHARACTERS + 20):
        logged = printed("x" * (before - 50), f" y refresh_token={secret}", f"{secret} z", "\n")
        assert not [line for line in logged if "gEy" in line or "BvX" in line], logged[-1]
