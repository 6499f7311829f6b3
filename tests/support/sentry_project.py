"""A local Sentry project that receives real envelopes over HTTP and stores their content."""

from __future__ import annotations

import gzip
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class SentryProject:
    """What a Sentry project received."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self.text = ""
        project = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                project.receive(body)
                self.send_response(200)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"{}")

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.dsn = f"http://public@127.0.0.1:{self.server.server_address[1]}/1"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def receive(self, envelope: bytes) -> None:
        """Store an envelope: the first line is its header, then two lines per item."""
        self.text += envelope.decode()
        lines = envelope.splitlines()[1:]
        for head, item in zip(lines[::2], lines[1::2], strict=False):
            if json.loads(head).get("type") == "event":
                self.events.append(json.loads(item))

    def close(self) -> None:
        """Stop receiving."""
        self.server.shutdown()
        self.server.server_close()
