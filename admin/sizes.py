"""The largest sizes of requests and of texts in them."""

from __future__ import annotations

#: The request line and the headers; the same as nginx's default.
MAX_HEAD_BYTES = 32 * 1024
#: A form of a web page: a token, a reason, a filter.
MAX_FORM_BYTES = 8 * 1024
#: The body of an endpoint that declares no other size.
MAX_BODY_BYTES = 64 * 1024
#: A new job: its data should be small, since Redis keeps it in memory.
MAX_JOB_BYTES = 1024 * 1024
#: A batch: 10,000 jobs of 800 bytes, which is enough for our job types with all options.
MAX_BATCH_BYTES = 8 * 1024 * 1024
#: The reason that an operator gives for a pause, a cancellation or a bulk operation.
MAX_REASON_CHARS = 500
