"""Numbers that Python and the Lua scripts share; the loader (`scripts`) inserts them into the scripts that use them."""

from __future__ import annotations

#: A job that lost this many workers fails.
MAX_CRASHES = 3
#: The largest counts that a record's header can store; a job with more shows these.
MAX_ATTEMPTS, MAX_CRASHES_KEPT = 65_535, 255
#: A worker's requests are counted in four bytes; after the last number they restart at 0.
REQUESTS = 2**32
#: How many minutes of statistics a queue stores; the longest window that is shown is a day.
STATS_MINUTES = 1_500
#: How far Redis' TIME and a worker's clock may drift apart between two readings (ms).
CLOCK_TOLERANCE_MS = 2_000
