"""A notice reaches the next page whatever its text is made of: browsers leave cookies of over 4 kB out."""

from __future__ import annotations

import pytest
from flask import Flask, Response

from admin.pages import notices


@pytest.mark.parametrize("letter", ["a", "\N{ROCKET}", "\x00", '"', "\ud800", "é"])
def test_a_notice_of_any_letters_fits_into_a_cookie(shared: Flask, letter: str) -> None:
    with shared.test_request_context():
        answer = Response()
        notices.leave(answer, f"done {letter * 70_000}", done=True)
    (cookie,) = answer.headers.getlist("Set-Cookie")
    assert len(cookie) < 4_000
    with shared.test_request_context(headers={"Cookie": cookie.partition(";")[0]}):
        shown = notices.shown()
    assert shown is not None
    assert (shown["done"], shown["text"][:5], len(shown["text"]) > 300) == (True, "done ", True)
