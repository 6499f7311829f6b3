"""Secrets that the process knows literally are hidden in any context and any encoding, at little cost."""

from __future__ import annotations

import html
import json
import secrets
import time
from base64 import b64encode
from collections.abc import Callable
from urllib.parse import quote, quote_plus, urlencode

import pytest

from nomad_actors.logs.known_secrets import KnownSecrets, basic_credentials, is_distinctive

#: The kinds of secrets of a process: a token, a base64 key, passwords with characters that encodings escape.
SECRETS = (
    "gEy-8fP2kq0aT1m4ZsBvXw",
    "c2VjcmV0+of/the/key+=1==",
    "p@ss/w0rd,1;x&y=z",
    "quo\"te's\\and\\\\tail9",
    "pässwörd-ключ-密码",
    "1234567890123/45",
    "hunter22",
    "<b>&amp;</b>",
)
WRITINGS: dict[str, Callable[[str], str]] = {
    "itself": str,
    "repr": repr,
    "repr of a dict": lambda secret: repr({"grant_type": "refresh_token", "x": [secret]}),
    "bytes": lambda secret: repr(secret.encode()),
    "JSON": json.dumps,
    "JSON in UTF-8": lambda secret: json.dumps({"x": secret}, ensure_ascii=False),
    "JSON in JSON": lambda secret: json.dumps({"body": json.dumps({"x": secret})}),
    "URL": lambda secret: f"https://host/{quote(secret)}/",
    "URL's login": lambda secret: f"redis://:{quote(secret, safe='')}@host",
    "URL in lower case": lambda secret: quote(secret, safe="").replace("%2F", "%2f").replace("%3B", "%3b"),
    "form": lambda secret: urlencode({"a": 1, "x": secret}),
    "plus": quote_plus,
    "HTML": html.escape,
    "within a word": lambda secret: f"xyz{secret}abc",
    "three times": lambda secret: f"{secret}{secret} {secret}",
}


@pytest.mark.parametrize("writing", WRITINGS)
@pytest.mark.parametrize("secret", SECRETS)
def test_a_known_secret_is_hidden_in_every_encoding(secret: str, writing: str) -> None:
    known = KnownSecrets()
    known.add(secret)
    written = WRITINGS[writing](secret)
    if writing == "URL in lower case" and "%" in written and written.lower() != written:
        # No encoding changes half of it to lower case.
        written = "".join(quote(c, safe="").lower() if quote(c, safe="") != c else c for c in secret)
    for before in ("", "a", "ab", "abc", "é", "\U0001f600 x"):
        hidden = known.hide(f"{before}{written} and more", "[hidden]")
        assert "[hidden]" in hidden
        assert secret not in hidden
        assert secret[-4:] not in hidden
        assert hidden.startswith(before)
        assert hidden.endswith(" and more")


def test_text_without_secrets_is_unchanged() -> None:
    known = KnownSecrets()
    known.add(*SECRETS)
    text = "job completed queue=token-refresh hunter2 hunter 22 Xw ZsBvXw 密码"
    assert known.hide(text, "[hidden]") == text


@pytest.mark.parametrize("word", ["", "a", "postgres", "password", "12345678", "aaaaaaaaaaaaaaaaaaaa", "nomad", "xy1!"])
def test_an_ordinary_word_as_a_secret_does_not_blank_the_log(word: str) -> None:
    assert not is_distinctive(word)
    known = KnownSecrets()
    known.add(word, None, lasting=True)
    assert known.hide(f"a {word} b", "[hidden]") == f"a {word} b"


def test_recent_and_lasting_secrets_are_remembered() -> None:
    known = KnownSecrets(recent=10)
    lasting = secrets.token_urlsafe(20)
    known.add(lasting, lasting=True)
    tokens = [secrets.token_urlsafe(20) for _ in range(50)]
    for token in tokens:
        known.add(token)
        # Used again and again, like a valid token.
        known.add(tokens[0])
    for number, token in enumerate(tokens):
        assert (known.hide(token, "") == "") is (number == 0 or number > 41)
    assert known.hide(lasting, "") == ""
    assert len(known._by_chunk) <= 10 * 4 * 4


def test_a_secret_within_another_leaves_no_part_of_it() -> None:
    known = KnownSecrets()
    known.add("inner-Secret-1", "outer-inner-Secret-1-outer")
    assert known.hide("x outer-inner-Secret-1-outer x", "[h]") == "x [h] x"


def test_basic_credentials_are_hidden_as_http_and_oauth_encode_them() -> None:
    known = KnownSecrets()
    known.add(*basic_credentials("id", "se/cret+1"), lasting=True)
    for pair in (b"id:se/cret+1", b"id:se%2Fcret%2B1"):
        assert known.hide(f"Basic {b64encode(pair).decode()}", "") == "Basic "


def test_a_thousand_tokens_cost_no_more_per_line_than_one() -> None:
    few, many = KnownSecrets(), KnownSecrets()
    few.add(secrets.token_urlsafe(40))
    for _ in range(1_000):
        # Like access tokens: they all begin alike.
        many.add(f"eyJhbGciOiJSUzI1NiIsImtpZCI6IkpXVCJ9.{secrets.token_urlsafe(700)}")
    line = "level=info module=token-refresh-job event=refreshed job_id=6f1c7c1e-1111-4222-8333-444455556666 " * 3

    def cost(known: KnownSecrets) -> float:
        best = float("inf")
        for _ in range(7):
            began = time.thread_time()
            for _ in range(500):
                known.hide(line, "")
            best = min(best, time.thread_time() - began)
        return best / 500

    assert cost(many) < 3 * cost(few)
    # A log line takes about 60 µs on the same machine.
    assert cost(many) < 60e-6


def test_threads_may_add_and_hide_at_the_same_time() -> None:
    import threading

    known = KnownSecrets(recent=50)
    lasting = secrets.token_urlsafe(20)
    known.add(lasting, lasting=True)
    wrong: list[str] = []
    stop = threading.Event()

    def look() -> None:
        while not stop.is_set():
            if lasting in known.hide(f"a {lasting} b", ""):
                wrong.append("shown")

    threads = [threading.Thread(target=look) for _ in range(2)]
    for thread in threads:
        thread.start()
    for _ in range(2_000):
        known.add(secrets.token_urlsafe(20))
    stop.set()
    for thread in threads:
        thread.join()
    assert not wrong
