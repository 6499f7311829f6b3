"""A notice of any text fits into a cookie: browsers drop cookies of more than 4 kB."""

from __future__ import annotations

import pytest
from flask import Flask, Response

from admin.pages import notices


@pytest.mark.parametrize("letter", ["a", "\N{ROCKET}", "\x00", '"', "\ud800", "é"])
def test_a_notice_of_any_characters_fits_into_a_cookie(shared_web: Flask, letter: str) -> None:
    with shared_web.test_request_context():
        response = Response()
        notices.leave(response, f"done {letter * 70_000}", done=True)
    (cookie,) = response.headers.getlist("Set-Cookie")
    assert len(cookie) < 4_000
    with shared_web.test_request_context(headers={"Cookie": cookie.partition(";")[0]}):
        shown = notices.shown()
    assert shown is not None
    assert (shown["done"], shown["text"][:5], len(shown["text"]) > 300) == (True, "done ", True)
