"""Follows every link, asset and form of the pages, and tells which lead out of a prefix or nowhere."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from urllib.parse import urljoin, urlsplit

import requests


@dataclass
class Form:
    """A form of a page, with what it would send as it stands."""

    method: str
    action: str
    fields: list[tuple[str, str]] = field(default_factory=list)


class Page(HTMLParser):
    """The addresses and forms of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.forms: list[Form] = []
        self._select = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what leads elsewhere."""
        given = {name: value or "" for name, value in attrs}
        self.links += [given[name] for name in ("href", "src") if name in given]
        if tag == "form":
            self.forms.append(Form(given.get("method", "get").lower(), given.get("action", "")))
        elif self.forms and tag == "input" and given.get("name"):
            self.forms[-1].fields.append((given["name"], given.get("value", "")))
        elif self.forms and tag == "select":
            self._select = given["name"]
        elif self.forms and tag == "option" and self._select:
            self.forms[-1].fields.append((self._select, given.get("value", "")))
            self._select = ""


@dataclass
class Crawler:
    """Looks at pages below `prefix` of `base`."""

    base: str
    prefix: str
    session: requests.Session
    #: What pages may answer.
    allowed: tuple[int, ...] = (200, 422)
    #: How many pages it looks at.
    most: int = 1_000
    seen: set[str] = field(default_factory=set)
    wrong: list[str] = field(default_factory=list)
    posted: set[str] = field(default_factory=set)

    def crawl(self, start: str) -> None:
        """Look at a page and at all that it leads to; then press every button, the way out last."""
        pages = list(self._look(start))
        forms = [(at, form) for at, text in pages for form in Page(text).forms]
        for at, form in forms:
            if form.method == "get":
                self._get(urljoin(at, form.action), at, form.fields)
        posts = [(at, form) for at, form in forms if form.method == "post"]
        for at, form in sorted(posts, key=lambda each: each[1].action.endswith("/logout")):
            self._post(urljoin(at, form.action), at, form)

    def _look(self, start: str) -> Iterator[tuple[str, str]]:
        waiting = [(start, "the start")]
        while waiting and len(self.seen) < self.most:
            url, at = waiting.pop()
            if url.partition("#")[0] in self.seen:
                continue
            self.seen.add(url.partition("#")[0])
            text = self._get(url, at)
            if text:
                yield url, text
                waiting += [(urljoin(url, each), url) for each in Page(text).links]

    def _get(self, url: str, at: str, fields: list[tuple[str, str]] | None = None) -> str:
        if not self._is_inside(url, at):
            return ""
        answer = self.session.get(url, params=fields, timeout=20)
        if not self._is_inside(answer.url, at):
            return ""
        if answer.status_code not in self.allowed and not url.endswith(("/health", "/doctor")):
            self.wrong.append(f"{url} of {at}: {answer.status_code}")
        return answer.text if answer.headers["Content-Type"].startswith("text/html") else ""

    def _post(self, url: str, at: str, form: Form) -> None:
        if not self._is_inside(url, at) or url in self.posted:
            return
        self.posted.add(url)
        headers = {"Origin": self.base, "Sec-Fetch-Site": "same-origin"}
        answer = self.session.post(url, data=form.fields, headers=headers, timeout=20, allow_redirects=False)
        if answer.status_code not in (303, *self.allowed):
            self.wrong.append(f"POST {url} of {at}: {answer.status_code} {answer.text[:300]}")
        elif "Location" in answer.headers:
            self._is_inside(urljoin(url, answer.headers["Location"]), url)

    def _is_inside(self, url: str, at: str) -> bool:
        parts = urlsplit(url)
        inside = url.startswith(f"{self.base}/") and parts.path.startswith(f"{self.prefix}/")
        if not inside:
            self.wrong.append(f"{url} of {at} is not below {self.prefix}")
        return inside
