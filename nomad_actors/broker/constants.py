"""Numbers that Python and the scripts share; the loader (`scripts`) writes them into the scripts that name them."""

from __future__ import annotations

#: A job that lost so many workers fails.
MAX_CRASHES = 3
#: What a record's header can hold: a job that was tried or lost more often shows these.
MAX_ATTEMPTS, MAX_CRASHES_KEPT = 65_535, 255
#: A worker's requests are counted in four bytes, and begin anew after that.
REQUESTS = 2**32
#: How many minutes of statistics a queue keeps; the longest window that is asked for is a day.
STATS_MINUTES = 1_500
#: Redis' TIME and a worker's clock may differ by this between two looks (ms).
CLOCK_TOLERANCE_MS = 2_000
