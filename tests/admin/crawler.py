"""Follows every link, asset and form of the pages, and reports those that are broken or outside a prefix."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from urllib.parse import urljoin, urlsplit

import requests


@dataclass
class Form:
    """A form of a page with its default values."""

    method: str
    action: str
    fields: list[tuple[str, str]] = field(default_factory=list)


class Page(HTMLParser):
    """The links and forms of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.forms: list[Form] = []
        self._select = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = {name: value or "" for name, value in attrs}
        self.links += [attributes[name] for name in ("href", "src") if name in attributes]
        if tag == "form":
            self.forms.append(Form(attributes.get("method", "get").lower(), attributes.get("action", "")))
        elif self.forms and tag == "input" and attributes.get("name"):
            self.forms[-1].fields.append((attributes["name"], attributes.get("value", "")))
        elif self.forms and tag == "select":
            self._select = attributes["name"]
        elif self.forms and tag == "option" and self._select:
            self.forms[-1].fields.append((self._select, attributes.get("value", "")))
            self._select = ""


@dataclass
class Crawler:
    """Visits the pages below `prefix` of `base`."""

    base: str
    prefix: str
    session: requests.Session
    #: The statuses that pages may have.
    allowed: tuple[int, ...] = (200, 422)
    #: The most pages to visit.
    max_pages: int = 1_000
    seen: set[str] = field(default_factory=set)
    wrong: list[str] = field(default_factory=list)
    posted: set[str] = field(default_factory=set)

    def crawl(self, start: str) -> None:
        """Visit a page and all pages that it links to, then press every button, logout last."""
        pages = list(self._visit(start))
        forms = [(source, form) for source, text in pages for form in Page(text).forms]
        for source, form in forms:
            if form.method == "get":
                self._get(urljoin(source, form.action), source, form.fields)
        posts = [(source, form) for source, form in forms if form.method == "post"]
        for source, form in sorted(posts, key=lambda each: each[1].action.endswith("/logout")):
            self._post(urljoin(source, form.action), source, form)

    def _visit(self, start: str) -> Iterator[tuple[str, str]]:
        waiting = [(start, "the start")]
        while waiting and len(self.seen) < self.max_pages:
            url, source = waiting.pop()
            if url.partition("#")[0] in self.seen:
                continue
            self.seen.add(url.partition("#")[0])
            text = self._get(url, source)
            if text:
                yield url, text
                waiting += [(urljoin(url, each), url) for each in Page(text).links]

    def _get(self, url: str, source: str, fields: list[tuple[str, str]] | None = None) -> str:
        if not self._is_inside(url, source):
            return ""
        response = self.session.get(url, params=fields, timeout=20)
        if not self._is_inside(response.url, source):
            return ""
        if response.status_code not in self.allowed and not url.endswith(("/health", "/doctor")):
            self.wrong.append(f"{url} of {source}: {response.status_code}")
        return response.text if response.headers["Content-Type"].startswith("text/html") else ""

    def _post(self, url: str, source: str, form: Form) -> None:
        if not self._is_inside(url, source) or url in self.posted:
            return
        self.posted.add(url)
        headers = {"Origin": self.base, "Sec-Fetch-Site": "same-origin"}
        response = self.session.post(url, data=form.fields, headers=headers, timeout=20, allow_redirects=False)
        if response.status_code not in (303, *self.allowed):
            self.wrong.append(f"POST {url} of {source}: {response.status_code} {response.text[:300]}")
        elif "Location" in response.headers:
            self._is_inside(urljoin(url, response.headers["Location"]), url)

    def _is_inside(self, url: str, source: str) -> bool:
        address = urlsplit(url)
        inside = url.startswith(f"{self.base}/") and address.path.startswith(f"{self.prefix}/")
        if not inside:
            self.wrong.append(f"{url} of {source} is not below {self.prefix}")
        return inside
