"""How large a request may be, and what stands in it."""

from __future__ import annotations

#: A request line and its headers; nginx takes as much by default.
MAX_HEAD_BYTES = 32 * 1024
#: A page's form, the login's too: a token, a reason, a filter.
MAX_FORM_BYTES = 8 * 1024
#: The body of an endpoint that declares nothing else.
MAX_BODY_BYTES = 64 * 1024
#: A new job; its data is small, and lives in Redis.
MAX_JOB_BYTES = 1024 * 1024
#: The body of a batch: 10,000 jobs of our own job types, some of them with all options, 800 bytes each.
MAX_BATCH_BYTES = 8 * 1024 * 1024
#: Of what an operator says of a pause, a cancel or a bulk operation.
MAX_REASON_CHARS = 500
